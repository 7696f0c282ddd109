"""The result of a load as a document of JSON, and back from one. No I/O.

The document has each figure for programs, and under ``result`` everything that an exact merge
needs. Only that is read back; the figures follow from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from echosvc.probe.traffic.checked import check_format, checked_member
from echosvc.probe.traffic.load_result import LoadResult
from echosvc.probe.traffic.sweep import SweepResult
from echosvc.probe.traffic.tally import Tally
from echosvc.reports.load_figures import ERRORS, MESSAGES

#: The version of the format.
SCHEMA = 1
_BLANKS = re.compile(r"[ \t\n\r\ufeff]*")


class DocumentError(ValueError):
    """A text is no document of results; says why in one line."""


def load_document(result: LoadResult, sweep: SweepResult | None = None) -> dict[str, Any]:
    """Return the document. Times end with their unit; ``series`` has Unix time in seconds.

    :param sweep: of which the result is a part. The document then has one key more.
    """
    tally, verdict = result.tally, result.verdict
    return {
        "schema": SCHEMA,
        "endpoint": result.run.endpoint,
        "options": result.run.options,
        "verdict": verdict.word,
        "why": verdict.why,
        "seconds": result.seconds,
        "messages": {name: getattr(tally, name) for name in MESSAGES},
        "messages_per_second": round(result.messages_per_second, 3),
        "bytes_per_second": round(result.bytes_per_second, 3),
        "latency_us": _latency(tally),
        "connect_us": tally.connect.summary(),
        "first_byte_us": tally.first_byte.summary(),
        "send_lag_us": tally.send_lag.summary(),
        "errors": dict.fromkeys(ERRORS, 0) | dict(sorted(tally.errors.items())),
        "servers": dict(tally.servers.most_common()),
        "series": list(_series(tally)),
        "ok": result.ok,
        "result": result.dump(),
        **({} if sweep is None else {"sweep": _sweep(sweep)}),
    }


def _latency(tally: Tally) -> dict[str, dict[str, int]]:
    return {name: getattr(tally, name).summary() for name in ("corrected", "uncorrected")}


def _series(tally: Tally) -> Iterator[dict[str, int]]:
    for number, second in sorted(tally.series.items()):
        yield {
            "time": number,
            "sent": second.sent,
            "answered": second.answered,
            "wrong": second.wrong,
            "failed": second.failed,
            "p50_us": second.percentile(50),
            "p99_us": second.percentile(99),
            "max_us": second.largest,
        }


def _sweep(sweep: SweepResult) -> dict[str, Any]:
    steps = (
        {"rate": step.rate, "latency_us": _latency(step.result.tally), "kept": step.kept}
        | {"verdict": step.result.verdict.word, "why": step.result.verdict.why}
        for step in sweep.steps
    )
    return {
        "objective": str(sweep.objective),
        "why": sweep.why,
        "best_rate": None if sweep.best is None else sweep.best.rate,
        "complete": sweep.is_complete,
        "steps": list(steps),
    }


def load_json(result: LoadResult, sweep: SweepResult | None = None) -> str:
    """Return the document as one line of text: several of them are JSON lines."""
    document = load_document(result, sweep)
    return json.dumps(document, allow_nan=False, separators=(",", ":")) + "\n"


def read_loads(text: str) -> Iterator[LoadResult]:
    """Yield the results in a text: documents one behind the other, or in a list.

    :raises DocumentError: something in it is no document; says which, if there are several.
    """
    values = list(_values(text))
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    if not values:
        raise DocumentError("there is no result in it")
    for number, value in enumerate(values, 1):
        try:
            yield _read(value)
        except ValueError as error:
            place = f"result {number} of {len(values)}: " if len(values) > 1 else ""
            raise DocumentError(f"{place}{error}") from None


def _read(value: Any) -> LoadResult:
    if not isinstance(value, dict) or "result" not in value:
        raise DocumentError("no result of echosvc load")
    check_format(value, SCHEMA)
    try:
        return checked_member(value, "result", LoadResult.load)
    except ValueError as error:
        raise DocumentError(f"the result is damaged: {error}") from None


def _values(text: str) -> Iterator[Any]:
    """Yield the values of JSON in a text."""
    decoder, position = json.JSONDecoder(parse_constant=_refuse), _skip_blanks(text, 0)
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise DocumentError(_describe(error)) from None
        except RecursionError:
            raise DocumentError("no result of echosvc load: it is nested too deeply") from None
        except DocumentError:
            raise
        except ValueError as error:  # a number has too many digits
            raise DocumentError(f"no JSON: {error}") from None
        yield value
        position = _skip_blanks(text, position)


def _skip_blanks(text: str, position: int) -> int:
    found = _BLANKS.match(text, position)
    return found.end() if found else position


def _describe(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
        return f"the JSON is cut short: it ends in line {error.doc.count(chr(10)) + 1}"
    return f"no JSON: {error.msg} at line {error.lineno}, column {error.colno}"


def _refuse(constant: str) -> NoReturn:
    raise DocumentError(f"{constant} is no number of JSON")
