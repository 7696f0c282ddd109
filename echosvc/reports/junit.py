"""JUnit XML, which CI systems read: suites and cases as a document. No I/O.

The elements and attributes are those that both the schema of Ant's ``junitreport`` and that of
Jenkins' xUnit plugin know: so figures are properties of the suite, and what was found where nothing
failed is in the output of the suite.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal, Protocol
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from echosvc._text import printable
from echosvc._version import __version__

#: How a case may end. An error says that it could not be found out.
End = Literal["passed", "skipped", "failure", "error"]


@dataclass(frozen=True)
class Case:
    """A test case.

    :ivar name: what was tested.
    :ivar seconds: how long it took.
    :ivar end: how it ended.
    :ivar message: why it ended so, in one line.
    :ivar kind: of a failure or an error, in a word.
    :ivar text: what is known about a failure or an error, in lines.
    """

    name: str
    seconds: float
    end: End = "passed"
    message: str = ""
    kind: str = ""
    text: str = ""


@dataclass(frozen=True)
class Suite:
    """What one command tested.

    :ivar command: its name, such as ``check``.
    :ivar endpoint: the server.
    :ivar command_line: that asks the same, or "".
    :ivar started: with its time zone.
    :ivar seconds: how long it took.
    :ivar host: on which it ran.
    :ivar figures: names and values.
    :ivar cases: in order.
    :ivar output: what the command prints on a terminal.
    """

    command: str
    endpoint: str
    command_line: str
    started: datetime
    seconds: float
    host: str
    figures: tuple[tuple[str, str], ...]
    cases: tuple[Case, ...]
    output: str


class Run(Protocol):
    """A run of a command as a document needs it."""

    @property
    def result(self) -> Result:
        """What was found."""

    @property
    def command(self) -> str:
        """The command line that asks the same, or ""."""

    @property
    def host(self) -> str:
        """The host that it ran on."""

    @property
    def started(self) -> datetime:
        """When it began, with its time zone."""


class Result(Protocol):
    """What a run of a command has found."""

    @property
    def endpoint(self) -> str:
        """The server."""

    @property
    def seconds(self) -> float:
        """How long it took."""


def run_suite(
    command: str,
    run: Run,
    figures: Iterable[tuple[str, str]],
    cases: Iterable[Case],
    output: str,
) -> Suite:
    """Return the suite of a run.

    :param command: its name, such as ``load``.
    """
    result = run.result
    return Suite(
        command, result.endpoint, run.command, run.started, result.seconds, run.host,
        tuple(figures), tuple(cases), output,
    )  # fmt: skip


def junit_xml(suite: Suite) -> str:
    """Return a document with one suite, to be encoded as UTF-8."""
    suites = Element("testsuites")
    made = SubElement(suites, "testsuite", _attributes(suite))
    properties = SubElement(made, "properties")
    asked = [("endpoint", suite.endpoint), ("echosvc", __version__)]
    if suite.command_line:
        asked.append(("command", suite.command_line))
    for name, value in (*asked, *suite.figures):
        SubElement(properties, "property", name=printable(name), value=printable(value))
    for case in suite.cases:
        _add_case(made, suite, case)
    SubElement(made, "system-out").text = _lines(suite.output) + "\n"
    SubElement(made, "system-err").text = ""
    indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suites, encoding="unicode")}\n'


def _attributes(suite: Suite) -> dict[str, str]:
    """Return the attributes of the suite. Its time stamp is in UTC, without a zone, as Ant's is."""
    ends = [case.end for case in suite.cases]
    return {
        "id": "0",
        "package": f"echosvc.{suite.command}",
        "name": printable(f"echosvc {suite.command} {suite.endpoint}"),
        "hostname": printable(suite.host) or "localhost",
        "timestamp": suite.started.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S"),
        "time": f"{suite.seconds:.3f}",
        "tests": str(len(ends)),
        "failures": str(ends.count("failure")),
        "errors": str(ends.count("error")),
        "skipped": str(ends.count("skipped")),
    }


def _add_case(parent: Element, suite: Suite, case: Case) -> None:
    """Add one case. A dot would end the name of a package, so the class name has none."""
    where = printable(suite.endpoint).replace(".", "_")
    attributes = {"classname": f"echosvc.{suite.command}.{where}", "name": printable(case.name)}
    made = SubElement(parent, "testcase", attributes, time=f"{case.seconds:.3f}")
    message = printable(case.message)
    if case.end == "skipped":
        SubElement(made, "skipped", message=message)
    elif case.end != "passed":
        ended = SubElement(made, case.end, type=printable(case.kind), message=message)
        ended.text = _lines(case.text)


def _lines(text: str) -> str:
    """Return lines, each of them printable."""
    return "\n".join(map(printable, text.splitlines()))
