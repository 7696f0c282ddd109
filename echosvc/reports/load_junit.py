"""The verdict on a load as JUnit XML, which CI systems read. No I/O.

A run that is INVALID is an error, and no failure: whether the path is good is not known.
"""

from __future__ import annotations

from collections.abc import Iterator

from echosvc.probe.traffic.load_result import LoadResult
from echosvc.reports.junit import Case, End, junit_xml, run_suite
from echosvc.reports.load_figures import load_figures
from echosvc.reports.load_run import LoadRun
from echosvc.reports.load_text import load_text, remarks, state

_ENDS: dict[str, End] = {"OK": "passed", "FAIL": "failure", "INVALID": "error"}


def load_junit(run: LoadRun) -> str:
    """Return a document with one test case, to be encoded as UTF-8.

    A run that was interrupted has one test case more, which has failed.
    """
    result = run.result
    return junit_xml(run_suite("load", run, _figures(result), _cases(result), load_text(result)))


def _cases(result: LoadResult) -> Iterator[Case]:
    verdict = result.verdict
    lines = "\n".join([*verdict.reasons, *remarks(result)])
    end = _ENDS[verdict.word]
    yield Case("every message is answered", result.seconds, end, verdict.why, verdict.word, lines)
    if result.interrupted:
        message = "the run was ended before its time"
        yield Case("the run is complete", 0.0, "failure", message, "interrupted", state(result))


def _figures(result: LoadResult) -> Iterator[tuple[str, str]]:
    """Yield what was asked, and each figure."""
    for name, value in result.run.options.items():
        if value is not None:
            yield name, f"{value:g}" if isinstance(value, float) else str(value)
    yield from ((f"load.{name}", str(figure)) for name, figure in load_figures(result).items())
