"""How late a process is, is measured while something goes on, and not before or after."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.probe.engine.lateness import Lateness


class LatenessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_a_process_that_is_in_time_is_not_late(self) -> None:
        with Lateness(self.clock) as late:
            self.clock.pump([0.001] * 1000)
        self.assertLess(late.seconds, 0.06)

    def test_all_times_in_which_nothing_was_done_are_added(self) -> None:
        with Lateness(self.clock) as late:
            self.clock.pump([0.6, 0.001, 0.001, 0.3])
        self.assertTrue(0.85 < late.seconds <= 0.9, late.seconds)
        self.assertTrue(0.55 < late.longest <= 0.6, late.longest)

    def test_what_is_late_at_the_end_counts(self) -> None:
        with Lateness(self.clock) as late:
            self.clock.rightNow += 0.5  # type: ignore[attr-defined]
        self.assertTrue(0.45 < late.seconds <= 0.5, late.seconds)

    def test_nothing_is_measured_afterwards(self) -> None:
        with Lateness(self.clock) as late:
            pass
        self.clock.advance(1.0)
        self.assertEqual(late.seconds, 0.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
