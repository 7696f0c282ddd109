"""``echosvc check`` on a reactor that runs: what it prints and writes, also when it is stopped."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from echosvc import EchoFactory
from echosvc.cli import check as command
from echosvc.cli.commands import parser
from echosvc.endpoints import client_endpoint
from tests.support.junit import accepted
from tests.support.reactor import serving, within


class BorrowedReactor:
    """The reactor of this process, but its clock, and what is to be done before it ends."""

    def __init__(self) -> None:
        self.seconds, self.before_shutdown = reactor.seconds, []

    def addSystemEventTrigger(self, phase: str, event: str, function: Any, *values: Any) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.before_shutdown.append(partial(function, *values))

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


def checking(borrowed: BorrowedReactor, endpoint: str, *words: str) -> Deferred[int]:
    """Begin a check; fires with its exit status."""
    args = parser().parse_args(["check", endpoint, *words])
    args.command_line = "echosvc check"
    running = command.run(args, borrowed, client_endpoint(borrowed, endpoint))
    return within(Deferred.fromCoroutine(running))


@pytest_twisted.ensureDeferred
async def test_lines_and_reports_are_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    borrowed, junit = BorrowedReactor(), tmp_path / "a.xml"
    async with serving(EchoFactory(log="quiet")) as (host, port):
        words = "--only", "connect,echo", "--junit", str(junit)
        assert await checking(borrowed, f"tcp:{host}:{port}", *words) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert [line.split()[:2] for line in lines[:2]] == [["PASS", "connect"], ["PASS", "echo"]]
    assert lines[2] == f"tcp:{host}:{port}: ok: 2 passed, 0 failed"
    assert accepted(junit.read_text("utf-8")).attrib["tests"] == "2"


@pytest_twisted.ensureDeferred
async def test_a_failure_is_status_1(capfd: pytest.CaptureFixture[str]):
    assert await checking(BorrowedReactor(), "tcp:127.0.0.1:1", "--only", "echo") == 1
    out, _ = capfd.readouterr()
    assert out.splitlines()[-1].startswith("tcp:127.0.0.1:1: NOT OK: 0 passed, 1 failed")


@pytest_twisted.ensureDeferred
async def test_what_was_found_until_a_stop_is_printed_and_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    borrowed, junit = BorrowedReactor(), tmp_path / "a.xml"
    async with serving(EchoFactory(log="quiet")) as (host, port):
        words = "--only", "idle", "--idle", "0.2", "--junit", str(junit)
        done = checking(borrowed, f"tcp:{host}:{port}", *words)
        (finish_early,) = borrowed.before_shutdown
        finish_early()
        out, _ = capfd.readouterr()
        assert out == f"tcp:{host}:{port}: interrupted: 0 passed, 0 failed\n"
        cases = accepted(junit.read_text("utf-8")).iter("testcase")
        assert [case.attrib["name"] for case in cases] == ["interrupted"]
        assert await done == 0  # in a process that has ended by then
    assert capfd.readouterr().out == ""
