"""The result of a check as JUnit XML, which CI systems read. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from echosvc.probe.result import ProbeResult, Result
from echosvc.reports.check_run import CheckRun, fact_texts
from echosvc.reports.junit import Case, End, Suite, junit_xml
from echosvc.reports.text import probe_lines, summary_line

_ENDS: dict[Result, End] = {
    "pass": "passed",
    "info": "passed",
    "skip": "skipped",
    "fail": "failure",
}
_INTERRUPTED = ProbeResult(
    "interrupted", "fail", "the check was interrupted: what it has not found yet is unknown", 0.0
)


def check_junit(run: CheckRun) -> str:
    """Return a document with one test case for each result, to be encoded as UTF-8.

    A check that was interrupted has one test case more, which has failed.
    """
    result = run.result
    probes = (*result.probes, *([_INTERRUPTED] if result.interrupted else ()))
    suite = Suite(
        "check",
        result.endpoint,
        run.command,
        run.started,
        run.seconds,
        run.host,
        figures=tuple(_figures(run)),
        cases=tuple(map(_case, probes)),
        output="".join([*map(probe_lines, result.probes), summary_line(result)]),
    )
    return junit_xml(suite)


def _figures(run: CheckRun) -> Iterator[tuple[str, str]]:
    """Yield what was asked, and the figures of each probe under its name."""
    yield from run.settings
    for probe in run.result.probes:
        for name, value in fact_texts(probe):
            yield f"{probe.name}.{name}", value


def _case(probe: ProbeResult) -> Case:
    kind = str(probe.facts.get("fault", probe.name))
    text = "\n".join(_failure_lines(probe))
    return Case(probe.name, probe.seconds, _ENDS[probe.result], probe.finding, kind, text)


def _failure_lines(probe: ProbeResult) -> Iterator[str]:
    """Yield what is known about a failure."""
    yield probe.finding
    if probe.cause:
        yield f"likely: {probe.cause}"
    yield from (f"{name}: {value}" for name, value in fact_texts(probe))
