"""The shares of servers as JUnit XML, which CI systems read. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from echosvc.probe.share.result import ServerShare, ShareResult, ShareVerdict
from echosvc.reports.junit import Case, End, junit_xml, run_suite
from echosvc.reports.share_text import share_lines, split, summary

_ENDS: dict[ShareVerdict, End] = {
    "pass": "passed",
    "none": "passed",
    "undecided": "error",
    "fail": "failure",
}


@dataclass(frozen=True)
class ShareRun:
    """A survey as a document needs it.

    :ivar result: what was found.
    :ivar command: the command line that asks the same, or "".
    :ivar host: the host that it ran on.
    """

    result: ShareResult
    command: str
    host: str

    @property
    def started(self) -> datetime:
        """When the first connection began, in UTC."""
        return datetime.fromisoformat(self.result.started.replace("Z", "+00:00"))


def share_junit(run: ShareRun) -> str:
    """Return a document with one test case for each expected share, and one for all of it."""
    result = run.result
    cases = (*(_case(each) for each in result.shares if each.expected), _whole(result))
    return junit_xml(run_suite("share", run, _figures(result), cases, share_lines(result)))


def _figures(result: ShareResult) -> Iterator[tuple[str, str]]:
    """Yield the counts, and what else is known."""
    yield "dialect", result.dialect
    yield "error", f"{result.error:g}"
    yield "connections", str(result.connections)
    for share in result.shares:
        yield f"answered by {share.name}", str(share.count)
    for failure in result.failures:
        yield f"failed: {failure.cause}", str(failure.count)
    for change in result.changes:
        yield f"change at {change.at}", f"from {split(change.before)} to {split(change.after)}"


def _case(share: ServerShare) -> Case:
    words = (
        f"{100 * share.share:.1f} %, surely from {100 * share.low:.1f} to {100 * share.high:.1f} %;"
        f" expected {share.expected}"
    )
    kind = share.verdict
    return Case(f"share of {share.name}", 0.0, _ENDS[share.verdict], words, kind, words)


def _whole(result: ShareResult) -> Case:
    """Return the case of the verdict about everything, which an interrupt makes an error."""
    end = _ENDS[result.verdict]
    if result.interrupted and end == "passed":
        end = "error"
    elif end == "passed" and not result.ok:
        end = "failure"
    words = summary(result)
    return Case("verdict", result.seconds, end, words, result.verdict, words)
