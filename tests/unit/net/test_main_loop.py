"""When the end of a process is a failure."""

from __future__ import annotations

import subprocess
import sys

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from echosvc.net.main_loop import ExitStatus
from tests.support.process import environment
from tests.support.waiting import LIMIT

_END = """
import sys, atexit
from echosvc.net.main_loop import ExitStatus
class Reactor:
    def callWhenRunning(self, call): self.begin = call
    def addSystemEventTrigger(self, *names): self.end = names[2]
reactor, fate = Reactor(), ExitStatus()
fate.watch(reactor)
for word in sys.argv[1:]:
    if word == "failed": fate.failed = True
    else: getattr(reactor, word)()
print("last words")
"""


class Crashing(Clock):
    """A main loop of which all is known that is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.crashed = 0

    def crash(self) -> None:
        self.crashed += 1


class FateTests(SynchronousTestCase):
    def status(self, *words: str) -> int:
        """The exit status of a process whose reactor has done so."""
        done = subprocess.run(
            [sys.executable, "-c", _END, *words],
            capture_output=True, text=True, timeout=LIMIT, env=environment(),
        )  # fmt: skip
        self.assertEqual((done.stdout, done.stderr), ("last words\n", ""))
        return done.returncode

    def test_a_process_that_stops_as_it_should_has_not_failed(self) -> None:
        self.assertEqual(self.status("begin", "end"), 0)
        self.assertEqual(self.status(), 0)  # it never ran

    def test_one_whose_service_could_not_go_on_has(self) -> None:
        self.assertEqual(self.status("begin", "failed", "end"), 1)

    def test_one_whose_main_loop_just_ended_has(self) -> None:
        self.assertEqual(self.status("begin"), 1)

    def watched(self, seconds: float) -> tuple[ExitStatus, Crashing]:
        """A main loop that has failed three times within so many seconds."""
        fate, reactor = ExitStatus(), Crashing()
        now = iter((0.0, seconds / 2, seconds))
        self.patch(sys.modules["echosvc.net.main_loop"].time, "monotonic", lambda: next(now))
        self.patch(sys.modules["echosvc.net.main_loop"].threading, "Timer", _Never)
        fate._reactor = reactor
        failure = Failure(OSError("on purpose"))
        for _ in range(3):
            fate._count_errors({"log_format": "Something else"})
            fate._count_errors(
                {"log_format": "Unexpected error in main loop", "log_failure": failure}
            )
        return fate, reactor

    def test_a_main_loop_that_fails_again_and_again_is_ended(self) -> None:
        fate, reactor = self.watched(0.9)
        self.assertEqual((fate.failed, reactor.crashed), (True, 1))

    def test_one_that_fails_now_and_then_goes_on(self) -> None:
        fate, reactor = self.watched(1.1)
        self.assertEqual((fate.failed, reactor.crashed), (False, 0))

    def test_nothing_is_observed_before_it_is_asked_for(self) -> None:
        before = list(globalLogPublisher._observers)
        ExitStatus()
        self.assertEqual(list(globalLogPublisher._observers), before)


class _Never:
    """A timer that is not needed."""

    daemon = False

    def __init__(self, *arguments: object) -> None:
        pass

    def start(self) -> None:
        pass
