"""The result of a check as text: one line a probe, and one for all. No I/O."""

from __future__ import annotations

from echosvc._text import printable
from echosvc.probe.result import CheckResult, ProbeResult, Result

_WORDS: dict[Result, str] = {
    "pass": "passed",
    "fail": "failed",
    "info": "for information",
    "skip": "skipped",
}
#: Columns before a finding.
_INDENT = " " * 21


def probe_lines(probe: ProbeResult) -> str:
    """Return the line of one probe, and below it the likely cause where one is known."""
    text = f"{probe.result.upper():<4}  {probe.name:<13}  {printable(probe.finding)}"
    cause = f"\n{_INDENT}likely: {printable(probe.cause)}" if probe.cause else ""
    return f"{text} ({probe.seconds:.2f} s){cause}\n"


def summary_line(result: CheckResult) -> str:
    """Return the last line: the endpoint, whether all is well, how many of each result."""
    return f"{result.endpoint}: {state(result)}: {counts(result)}\n"


def counts(result: CheckResult) -> str:
    """Return how many probes have each result, in words."""
    results = [probe.result for probe in result.probes]
    return ", ".join(
        f"{results.count(kind)} {word}"
        for kind, word in _WORDS.items()
        if kind in ("pass", "fail") or kind in results
    )


def state(result: CheckResult) -> str:
    """Return in words whether all is well."""
    if result.interrupted:
        return "interrupted"
    if all(probe.result == "skip" for probe in result.probes):
        return "nothing was tested"
    return "ok" if result.ok else "NOT OK"
