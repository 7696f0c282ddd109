"""A check remembers which connections were answered before one was not."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.probe.engine.history import ConnectionHistory


class ConnectionHistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.history = ConnectionHistory(self.clock.seconds)

    def answer(self, count: int, pause: float) -> None:
        for _ in range(count):
            self.history.note_answered()
            self.clock.advance(pause)

    def refuse(self, alive: int = 0, took: float = 0.0) -> None:
        """A connection fails, ``took`` seconds after it was begun."""
        self.history.note_refused(alive, self.clock.seconds() - took)

    def test_nothing_is_remembered_where_nothing_was_answered(self) -> None:
        self.refuse(alive=3)
        self.assertEqual(self.history.answered, 0)
        self.assertEqual(self.history.burst(10.0), (0, 0.0))

    def test_a_burst_ends_with_the_first_connection_that_failed(self) -> None:
        self.answer(20, 0.25)
        self.refuse(alive=2)
        failed = self.clock.seconds()
        self.clock.advance(7)
        self.refuse()
        self.assertEqual(self.history.refused_at, failed)
        self.assertEqual(self.history.alive, 2)
        self.assertEqual(self.history.burst(1.0), (4, 1.0))
        self.assertEqual(self.history.burst(10.0), (20, 5.0))

    def test_a_connection_that_fails_late_counts_from_its_beginning(self) -> None:
        self.answer(20, 0.25)
        began = self.clock.seconds()
        self.clock.advance(30)
        self.refuse(took=30)
        self.assertEqual(self.history.refused_at, began)
        self.assertEqual(self.history.reached, 4)
        self.assertEqual(self.history.burst(10.0), (20, 5.0))

    def test_what_was_answered_meanwhile_counts_too(self) -> None:
        self.answer(20, 0.25)
        self.clock.advance(30)
        self.refuse(took=34)
        self.assertEqual(self.history.burst(10.0), (20, 4.75))
        self.assertEqual(self.history.reached, 5)

    def test_an_answer_ends_the_failure(self) -> None:
        self.answer(3, 1.0)
        self.refuse()
        self.clock.advance(60)
        self.history.note_answered()
        self.assertEqual(self.history.refused_at, self.clock.seconds())
        self.assertEqual(self.history.burst(10.0), (1, 0.0))
        self.assertEqual(self.history.answered, 4)
