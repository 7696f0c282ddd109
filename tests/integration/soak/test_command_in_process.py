"""``echosvc soak`` on a reactor that runs: what it prints and writes, and how it ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from echosvc.cli import soak as command
from echosvc.cli.commands import parser
from echosvc.endpoints import client_endpoint
from tests.integration.soak.soaking import echoing
from tests.support.html import read
from tests.support.junit import accepted
from tests.support.reactor import until, within

FAST = ("--connections", "2", "--interval", "0.02", "--silence", "2", "--max-wait", "0.1")


@pytest.fixture(autouse=True)
def _signal() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


class BorrowedReactor:
    """The reactor of this process, but what is to be done before it ends."""

    def __init__(self) -> None:
        self.before_shutdown: list[partial[Any]] = []

    def addSystemEventTrigger(self, phase: str, event: str, function: Any, *values: Any) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.before_shutdown.append(partial(function, *values))

    def interrupt(self) -> Any:
        """Begin to end, as after Ctrl-C."""
        (call,) = self.before_shutdown
        return call()

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class Running:
    """The command, in this process, with a file of events."""

    def __init__(self, port: int, directory: Path, *words: str) -> None:
        self.reactor, self.log = BorrowedReactor(), directory / "events"
        endpoint = f"tcp:127.0.0.1:{port}"
        args = parser().parse_args(["soak", endpoint, *FAST, "--jsonl", str(self.log), *words])
        args.command_line = "echosvc soak"
        args.validate(args)
        running = command.run(args, self.reactor, client_endpoint(self.reactor, endpoint))
        self.ended = Deferred.fromCoroutine(running)

    def events(self, name: str) -> list[dict[str, Any]]:
        facts = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [each for each in facts if each["event"] == name]

    async def wait_for(self, name: str, count: int = 1) -> None:
        await until(lambda: len(self.events(name)) >= count)

    async def status(self) -> int:
        return int(await within(self.ended))


@pytest_twisted.ensureDeferred
async def test_lines_marks_and_reports(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    marks, done = tmp_path / "marks", tmp_path / "done"
    page, junit = tmp_path / "page.html", tmp_path / "junit.xml"
    words = "--marks", marks, "--until-file", done, "--report", page, "--junit", junit
    async with echoing() as server:
        running = Running(server.number, tmp_path, *map(str, words), "--max-breaks", "2")
        await running.wait_for("open", 2)
        os.kill(os.getpid(), signal.SIGUSR1)
        await running.wait_for("mark")
        marks.write_text("the upgrade begins\n")
        await running.wait_for("mark", 2)
        server.reset_all()
        await running.wait_for("gap", 2)
        marks.write_text("the upgrade ends")
        done.touch()
        assert await running.status() == 0
    out, err = capfd.readouterr()
    assert err == ""
    for part in (
        "  start   2 connections to", "mark    1\n", "mark    2: the upgrade begins\n",
        "is not answered: RST", "mark    3: the upgrade ends", "ok after", "within the limits",
        "gaps: 2 (RST 2)",
    ):  # fmt: skip
        assert part in out
    assert accepted(junit.read_text()).get("failures") == "0"
    assert "the upgrade begins" in read(page.read_text()).text
    assert running.reactor.interrupt() is None  # the reactor stops as usual


@pytest_twisted.ensureDeferred
async def test_an_end_before_the_time_is_an_interruption(tmp_path: Path, capfd):
    async with echoing() as server:
        running = Running(server.number, tmp_path, "--duration", "600", "--json")
        await running.wait_for("open", 2)
        waiting = running.reactor.interrupt()
        assert await running.status() == 130
        await within(waiting)
    result = json.loads(capfd.readouterr().out)
    assert (result["ok"], result["complete"], result["gaps"]) == (True, False, [])


@pytest_twisted.ensureDeferred
async def test_the_usual_end_has_the_status_of_the_verdict(tmp_path: Path, capfd):
    async with echoing() as server:
        running = Running(server.number, tmp_path, "--marks", str(tmp_path / "marks"))
        await running.wait_for("open", 2)
        server.finish_all()
        await running.wait_for("gap", 2)
        (tmp_path / "marks").write_text("last\n")
        waiting = running.reactor.interrupt()
        assert await running.status() == 1
        await within(waiting)
    out = capfd.readouterr().out
    assert "NOT OK after" in out
    assert "mark    1: last" in out


@pytest_twisted.ensureDeferred
async def test_events_that_cannot_be_written_fail_the_command_at_its_end(tmp_path: Path, capfd):
    async with echoing() as server:
        words = "--duration", "0.2", "--jsonl", "/dev/full"
        assert await Running(server.number, tmp_path, *words).status() == 1
    out, err = capfd.readouterr()
    first, last = err.splitlines()
    assert "ENOSPC" in first
    assert last.endswith("events missing")
    assert "no gap" in out


@pytest_twisted.ensureDeferred
async def test_a_marks_file_that_becomes_unreadable_is_said_once(tmp_path: Path, capfd):
    marks, done, shown = tmp_path / "marks", tmp_path / "done", list[str]()

    def is_said() -> bool:
        shown.append(capfd.readouterr().err)
        return "--marks: " in "".join(shown)

    async with echoing() as server:
        words = "--marks", str(marks), "--until-file", str(done)
        running = Running(server.number, tmp_path, *words)
        await running.wait_for("open", 2)
        marks.mkdir()
        await until(is_said)
        done.touch()
        assert await running.status() == 0
    assert "".join(shown).count("--marks: ") == 1


@pytest_twisted.ensureDeferred
async def test_a_server_that_cannot_be_verified_is_an_error(tmp_path: Path, capfd):
    async with echoing() as server:
        server.counts = True
        assert await Running(server.number, tmp_path).status() == 1
    assert "--prefix" in capfd.readouterr().err
