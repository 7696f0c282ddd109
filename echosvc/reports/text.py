"""The result of a check as text: one line a probe, and one for all. No I/O."""

from __future__ import annotations

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
    text = f"{probe.result.upper():<4}  {probe.name:<13}  {probe.finding}"
    cause = f"\n{_INDENT}likely: {probe.cause}" if probe.cause else ""
    return f"{text} ({probe.seconds:.2f} s){cause}\n"


def summary_line(result: CheckResult) -> str:
    """Return the last line: the endpoint, whether all is well, how many of each result."""
    results = [probe.result for probe in result.probes]
    counts = [
        f"{results.count(kind)} {word}"
        for kind, word in _WORDS.items()
        if kind in ("pass", "fail") or kind in results
    ]
    return f"{result.endpoint}: {_state(result)}: {', '.join(counts)}\n"


def _state(result: CheckResult) -> str:
    if result.interrupted:
        return "interrupted"
    if all(probe.result == "skip" for probe in result.probes):
        return "nothing was tested"
    return "ok" if result.ok else "NOT OK"
