"""The result of a check as JUnit XML, which CI systems read. No I/O.

The elements and attributes are those that both the schema of Ant's ``junitreport`` and that of
Jenkins' xUnit plugin know: so the figures of probes are properties of the suite, and what was found
where nothing failed is in the output of the suite.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timezone
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from echosvc._text import printable
from echosvc._version import __version__
from echosvc.probe.result import ProbeResult
from echosvc.reports.check_run import CheckRun, fact_texts
from echosvc.reports.text import probe_lines, summary_line


def junit_xml(run: CheckRun) -> str:
    """Return a document with one test case for each result, to be encoded as UTF-8.

    A check that was interrupted has one test case more, which has failed.
    """
    suites = Element("testsuites")
    suite = SubElement(suites, "testsuite", _suite_attributes(run))
    properties = SubElement(suite, "properties")
    for name, value in _properties(run):
        SubElement(properties, "property", name=printable(name), value=printable(value))
    for probe in run.result.probes:
        _add_case(suite, run, probe)
    if run.result.interrupted:
        _add_case(suite, run, _INTERRUPTED)
    SubElement(suite, "system-out").text = _output(run)
    SubElement(suite, "system-err").text = ""
    indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suites, encoding="unicode")}\n'


_INTERRUPTED = ProbeResult(
    "interrupted", "fail", "the check was interrupted: what it has not found yet is unknown", 0.0
)


def _suite_attributes(run: CheckRun) -> dict[str, str]:
    """Return the attributes of the suite. Its time stamp is in UTC, without a zone, as Ant's is."""
    results = [probe.result for probe in run.result.probes]
    interrupted = int(run.result.interrupted)
    return {
        "id": "0",
        "package": "echosvc.check",
        "name": printable(f"echosvc check {run.result.endpoint}"),
        "hostname": printable(run.host) or "localhost",
        "timestamp": run.started.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S"),
        "time": f"{run.seconds:.3f}",
        "tests": str(len(results) + interrupted),
        "failures": str(results.count("fail") + interrupted),
        "errors": "0",
        "skipped": str(results.count("skip")),
    }


def _properties(run: CheckRun) -> Iterator[tuple[str, str]]:
    """Yield what was asked, and the figures of each probe under its name."""
    yield "endpoint", run.result.endpoint
    yield "echosvc", __version__
    if run.command:
        yield "command", run.command
    yield from run.settings
    for probe in run.result.probes:
        for name, value in fact_texts(probe):
            yield f"{probe.name}.{name}", value


def _add_case(suite: Element, run: CheckRun, probe: ProbeResult) -> None:
    """Add one result. A dot would end the name of a package, so the class name has none."""
    where = printable(run.result.endpoint).replace(".", "_")
    attributes = {"classname": f"echosvc.check.{where}", "name": printable(probe.name)}
    case = SubElement(suite, "testcase", attributes, time=f"{probe.seconds:.3f}")
    message = printable(probe.finding)
    if probe.result == "skip":
        SubElement(case, "skipped", message=message)
    elif probe.result == "fail":
        kind = printable(str(probe.facts.get("fault", probe.name)))
        failure = SubElement(case, "failure", type=kind, message=message)
        failure.text = "\n".join(map(printable, _failure_lines(probe)))


def _failure_lines(probe: ProbeResult) -> Iterator[str]:
    """Yield what is known about a failure."""
    yield probe.finding
    if probe.cause:
        yield f"likely: {probe.cause}"
    yield from (f"{name}: {value}" for name, value in fact_texts(probe))


def _output(run: CheckRun) -> str:
    """Return what the command prints on a terminal."""
    lines = [*map(probe_lines, run.result.probes), summary_line(run.result)]
    return "\n".join(map(printable, "".join(lines).splitlines())) + "\n"
