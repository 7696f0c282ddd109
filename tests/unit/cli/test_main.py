"""The entry point of the console script, in this process; test_cli runs it as a program."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from echosvc import __main__
from echosvc.cli import main as cli
from tests.support.commands import one_line
from tests.support.process import environment
from tests.support.waiting import LIMIT


def test_ctrl_c_is_handled_unless_it_is_ignored(monkeypatch):
    monkeypatch.setattr(cli, "main", lambda: 3)
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert __main__.main() == 3
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.signal(signal.SIGINT, signal.default_int_handler)
        assert __main__.main() == 3
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["--version"], 0, ""),
        ([], 2, "required: COMMAND"),
        (["--bogus"], 2, "--bogus"),
        (["send"], 2, "MESSAGE"),
        (["send", "--timeout", "soon", "x"], 2, "'soon'"),
        (["send", "--deadline", "-1", "x"], 2, "not '-1'"),
        (["send", "--timeout", "nan", "x"], 2, "not 'nan'"),
        (["send", "--prefix", "{nope}", "x"], 2, "unknown field"),
    ],
)
def test_arguments_and_exit_statuses(words, status, complaint, capfd):
    assert cli.main(words) == status
    error = capfd.readouterr().err
    assert complaint in (one_line(error.encode()) if complaint else error)


#: Runs a command as far as its reactor; the exit status is 0 where that has a monotonic clock.
_WITHOUT_RUNNING = """
import sys
from echosvc.cli import main
from twisted.python.runtime import seconds
main.run_coroutines = lambda reactor, start: int(reactor.seconds is seconds)
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", [["send", "x"], ["check"]], ids=" ".join)
def test_a_command_sets_a_monotonic_clock_on_its_reactor(words):
    command = [sys.executable, "-c", _WITHOUT_RUNNING, *words]
    done = subprocess.run(command, env=environment(), timeout=LIMIT, check=False)
    assert done.returncode == 0


def test_a_stream_must_come_last():
    with pytest.raises(SystemExit) as leaving:
        cli.main(["send", "-", "x"])
    assert leaving.value.code == 2
