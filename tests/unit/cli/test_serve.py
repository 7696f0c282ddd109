"""The parts of ``echosvc serve``, in this process.

tests/integration/server/test_serve.py has it as a program.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from echosvc.cli import serve as serving
from echosvc.cli.serve import LogFile, ServeOptions
from echosvc.cli.standard_descriptors import (
    execute_again,
    reserve_descriptors,
    reused_descriptors,
)
from echosvc.server.factory import EchoFactory
from echosvc.server.service import EchoService


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of signals are put back afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Running(Clock):
    """A reactor whose run ends at once, as it is told."""

    running = True

    def __init__(self, ends: BaseException | None = None) -> None:
        super().__init__()
        self.ends, self.crashed, self.triggers = ends, 0, []

    def callWhenRunning(self, call: Any, *arguments: object) -> None:
        """Never."""

    def addSystemEventTrigger(self, phase: str, event: str, call: Any) -> None:
        self.triggers.append((phase, event, call))

    def run(self) -> None:
        if self.ends is not None:
            raise self.ends

    def crash(self) -> None:
        self.crashed += 1


def run(reactor: Running, failed: bool = False) -> int:
    service = EchoService(EchoFactory(clock=reactor), [], reactor=reactor)
    service.exit_status.failed = failed
    status = serving._run(service, reactor)
    assert reactor.triggers == [("before", "shutdown", service.stopService)]
    return status


@pytest.mark.usefixtures("handlers")
def test_the_exit_status_says_whether_the_service_failed() -> None:
    assert run(Running()) == 0
    assert run(Running(), failed=True) == 1
    assert run(Running(KeyboardInterrupt())) == 128 + signal.SIGINT


@pytest.mark.usefixtures("handlers")
def test_a_main_loop_that_raises_is_ended() -> None:
    reactor = Running(OSError("on purpose"))
    run(reactor)
    assert reactor.crashed == 1
    reactor.running = False
    reactor.triggers.clear()
    run(reactor)
    assert reactor.crashed == 1


@pytest.mark.usefixtures("handlers")
def test_ctrl_c_is_left_to_the_reactor_unless_it_is_ignored() -> None:
    for before, after in (
        (signal.SIG_IGN, signal.SIG_IGN),
        (signal.SIG_DFL, signal.default_int_handler),
    ):
        signal.signal(signal.SIGINT, before)
        serving._exit_at_signals()
        run(Running())
        assert signal.getsignal(signal.SIGINT) == after


@pytest.mark.usefixtures("handlers")
def test_a_signal_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel would not do so to a container's first process."""
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    serving._exit_at_signals()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.raise_signal(number)
    assert statuses == [130, 143]


def test_options_of_its_own_are_no_settings() -> None:
    options = ServeOptions()
    options.parseOptions(["--reactor", "lean", "--logfile", "log", "--prefix", "> "])
    assert (options["reactor"], options["logfile"]) == ("lean", "log")
    assert options.config.prefix == "> "
    assert options.getSynopsis() == "Usage: echosvc serve [options]"
    assert "  echosvc serve --prefix ''" in options.getUsage()


@pytest.mark.parametrize("name", ["no", "kqueue"])
def test_a_reactor_that_is_not_available_is_one_line(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        serving._install_reactor(name)
    assert leaving.value.code == 2
    assert capfd.readouterr().err.startswith("echosvc: --reactor: ")
    serving._install_reactor("default")


def test_help_ends_with_status_0(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        serving._parse(["--help"])
    assert not leaving.value.code
    assert "Usage: echosvc serve" in capfd.readouterr().out


def test_a_log_file_is_appended_to_and_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log"
    log.write_text("before\n")
    file = LogFile("log")
    monkeypatch.chdir("/")
    file.write("one\n")
    file.flush()
    log.rename(tmp_path / "log.1")
    file.reopen()
    file.write("two \udcff\n")
    file.flush()
    assert (tmp_path / "log.1").read_text() == "before\none\n"
    assert log.read_text() == "two \\udcff\n"
    log.unlink()
    log.mkdir()
    file.reopen()  # in vain
    file.write("three\n")
    file.flush()
    file._file.close()


def test_a_closed_descriptor_is_reserved_and_using_it_fails_as_before() -> None:
    for number in (0, 1, 2):
        saved = os.dup(number)
        try:
            os.close(number)
            reserve_descriptors()
            held = os.fstat(number)
            assert os.get_inheritable(number)
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(number, b"x") if number else os.read(number, 1)
        finally:
            os.dup2(saved, number)
            os.close(saved)
        assert os.path.samestat(held, os.stat(os.devnull))
    reserve_descriptors()
    assert reused_descriptors() == []


def test_the_program_is_executed_again_with_the_descriptors_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executed: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *words: executed.append((words, reused_descriptors())))
    saved = os.dup(0)
    try:
        os.close(0)
        assert os.open("/dev/zero", os.O_RDONLY) == 0
        assert reused_descriptors() == [0]
        execute_again({"A": "b"})
        assert os.path.samestat(os.fstat(0), os.stat(os.devnull))
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    ((program, words, environment), taken), = executed  # fmt: skip
    assert (program, words[0], environment, taken) == (words[0], program, {"A": "b"}, [])
