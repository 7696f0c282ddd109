"""What the tests share works on any machine, busy or not, in a shell's background or not."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, settings

from tests.support.process import Process, environment, with_interrupt
from tests.support.waiting import LIMIT

_READY = "import signal; print('ready', flush=True); signal.pause()"


@pytest.fixture
def deaf():
    """SIGINT is ignored, as in the background of a shell without job control."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_program_heeds_sigint_though_this_process_ignores_it(deaf):
    process = Process([sys.executable, "-c", _READY])
    try:
        process.wait_line("ready")
        process.signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
        assert process.matching("KeyboardInterrupt")
    finally:
        process.close()


@pytest.mark.parametrize("ignored_here", [False, True])
def test_a_program_can_begin_with_sigint_ignored(ignored_here, request):
    if ignored_here:
        request.getfixturevalue("deaf")
    code = "import signal; print(signal.getsignal(signal.SIGINT).name, flush=True)"
    process = Process([sys.executable, "-c", code], ignores_interrupt=True)
    try:
        process.wait_line("SIG_IGN")
    finally:
        process.close()


def test_what_heeds_sigint_has_its_own_words_and_status(deaf):
    command = with_interrupt([sys.executable, "-c", "import sys; sys.exit(sys.argv[1])", "a b"])
    done = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, timeout=LIMIT, env=environment()
    )
    assert (done.returncode, done.stderr) == (1, "a b\n")


def test_no_input_is_judged_by_how_long_it_takes():
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
