"""A check as a document needs it: what was asked, when, from where, and what was found. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from echosvc.probe.result import CheckResult, ProbeResult

#: Longest value of a fact that a document shows, characters.
_LONGEST = 2000
#: The fact that names the result that explains a probe that was skipped.
_SEE = "see"


@dataclass(frozen=True)
class CheckRun:
    """A check: what was asked, and what was found.

    :ivar result: what was found.
    :ivar settings: what was asked: names of settings and their values, as text.
    :ivar command: the command line that asks the same, or "".
    :ivar started: when it began, with its time zone.
    :ivar seconds: how long it took.
    :ivar host: the host that it ran on.
    """

    result: CheckResult
    settings: tuple[tuple[str, str], ...]
    command: str
    started: datetime
    seconds: float
    host: str


def fact_texts(probe: ProbeResult) -> list[tuple[str, str]]:
    """Return the figures of a probe as text, by their names."""
    figures = (item for item in probe.facts.items() if item[0] != _SEE and item[1] != "")
    return [(name, _fact_text(value)) for name, value in figures]


def _fact_text(value: Any) -> str:
    """Return one fact as text: as it is, a number without an exponent, or else as JSON has it."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, float):
        text = f"{value:.6f}".rstrip("0").rstrip(".")
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def explained_by(probe: ProbeResult) -> str:
    """Return the name of the result that explains why a probe was skipped, or ""."""
    return str(probe.facts.get(_SEE, "")) if probe.result == "skip" else ""


def in_reading_order(result: CheckResult) -> list[tuple[ProbeResult, list[str]]]:
    """Return the failures in the order in which to look at them, and which probes each explains.

    First those that explain most others, then the others as they were found: a later probe builds
    on what an earlier one has seen.
    """
    explained: dict[str, list[str]] = {}
    for probe in result.probes:
        if cause := explained_by(probe):
            explained.setdefault(cause, []).append(probe.name)
    failures = [probe for probe in result.probes if probe.result == "fail"]
    failures.sort(key=lambda probe: -len(explained.get(probe.name, ())))
    return [(probe, explained.get(probe.name, [])) for probe in failures]
