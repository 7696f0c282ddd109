"""A client without progress is noticed by the clock that was passed, and no other."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.cli.stall_timer import StallTimer


class StallTimerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.progress: tuple[int, int] | None = (0, 0)
        self.stalls: list[float] = []

    def start(self, deadline: float) -> StallTimer:
        timer = StallTimer(
            self.clock,
            deadline,
            lambda: self.progress,
            lambda: self.stalls.append(self.clock.seconds()),
        )
        timer.start()
        self.addCleanup(timer.stop)
        return timer

    def run_until(self, end: float) -> None:
        while self.clock.seconds() < end:
            self.clock.advance(0.125)

    def test_no_progress_for_the_deadline_is_a_stall(self) -> None:
        self.start(2.0)
        self.run_until(1.75)
        self.assertEqual(self.stalls, [])
        self.run_until(2.5)
        self.assertAlmostEqual(self.stalls[0], 2.0, delta=0.26)

    def test_progress_begins_the_time_anew(self) -> None:
        self.start(2.0)
        self.run_until(1.5)
        self.progress = (1, 0)
        self.run_until(3.25)
        self.assertEqual(self.stalls, [])
        self.run_until(4.25)
        self.assertTrue(self.stalls)

    def test_while_nothing_is_due_there_is_no_stall(self) -> None:
        self.start(1.0)
        self.progress = None
        self.run_until(60.0)
        self.assertEqual(self.stalls, [])
        self.progress = (0, 0)
        self.run_until(62.0)
        self.assertTrue(self.stalls)

    def test_a_deadline_of_zero_is_never_over(self) -> None:
        self.start(0.0)
        self.run_until(600.0)
        self.assertEqual(self.stalls, [])

    def test_after_stop_no_call_is_left(self) -> None:
        timer = StallTimer(self.clock, 1.0, lambda: self.progress, lambda: None)
        timer.start()
        timer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
