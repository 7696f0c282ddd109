"""A connection is opened when its turn comes, and not before."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.probe.engine.context import ProbeContext
from echosvc.probe.engine.turns import LimitReached, Turns
from echosvc.probe.settings import CheckSettings


class Connection:
    """What a turn needs of a connection; it is its own client."""

    def __init__(self) -> None:
        self.client, self.rtt = self, 0.0
        self.closing = self.is_gone = False
        self._closed: Deferred[None] = Deferred()

    def when_closed(self) -> Deferred[None]:
        return succeed(None) if self.is_gone else self._closed

    def end(self) -> None:
        self.is_gone = True
        self._closed.callback(None)


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.connections: list[Connection] = []

    def turns(self, limit: int | None = None, **settings: Any) -> Turns:
        context = ProbeContext(self.clock, CheckSettings(timeout=10.0, **settings))
        context.knowledge.connection_limit = limit
        return Turns(context)

    def open(self, turns: Turns) -> Deferred[float]:
        """Open a connection; fires with the time at which it was opened."""

        async def take() -> float:
            async with turns.turn() as opened:
                connection: Any = Connection()
                self.connections.append(connection)
                opened(connection)
            return self.clock.seconds()

        return Deferred.fromCoroutine(take())

    def test_without_a_pace_and_a_limit_nothing_waits(self) -> None:
        turns = self.turns()
        for _ in range(20):
            self.successResultOf(self.open(turns))
        self.assertEqual(turns.count_open(), 20)
        self.assertEqual(turns.most_open, 20)

    def test_no_more_are_opened_a_second_than_the_pace(self) -> None:
        turns = self.turns(pace=4.0)
        opening = [self.open(turns) for _ in range(5)]
        self.clock.pump([0.01] * 110)
        times = [self.successResultOf(each) for each in opening]
        for number, seconds in enumerate(times):
            self.assertAlmostEqual(seconds, number / 4, delta=0.02)

    def test_the_next_one_waits_until_those_that_were_closed_are_gone(self) -> None:
        turns = self.turns()
        self.successResultOf(self.open(turns))
        first = self.connections[0]
        first.closing = True
        second = self.open(turns)
        self.clock.advance(0.5)
        self.assertNoResult(second)
        first.end()
        self.assertEqual(self.successResultOf(second), 0.5)

    def test_it_does_not_wait_for_ever_for_an_end_that_does_not_come(self) -> None:
        turns = self.turns()
        self.successResultOf(self.open(turns))
        self.connections[0].closing = True
        second = self.open(turns)
        self.clock.advance(3)
        self.successResultOf(second)

    def test_no_more_are_open_at_once_than_the_path_is_known_to_allow(self) -> None:
        turns = self.turns(limit=2)
        opening = [self.open(turns) for _ in range(3)]
        self.clock.pump([0.02] * 10)
        self.assertEqual(turns.count_open(), 2)
        self.assertNoResult(opening[2])
        self.connections[0].end()
        self.clock.pump([0.02] * 10)
        self.successResultOf(opening[2])
        self.assertEqual(turns.most_open, 2)

    def test_a_probe_that_needs_more_than_that_is_told_so_after_the_time_out(self) -> None:
        turns = self.turns(limit=1)
        self.successResultOf(self.open(turns))
        second = self.open(turns)
        self.clock.pump([0.1] * 99)
        self.assertNoResult(second)
        self.clock.pump([0.1] * 3)
        failure = self.failureResultOf(second, LimitReached)
        self.assertEqual(str(failure.value), "it needs more than 1 connection at once")

    def test_what_waited_for_room_waits_for_the_ends_of_those_that_made_it(self) -> None:
        turns = self.turns(connections=2)
        turns.beside = 1
        for _ in range(2):
            self.successResultOf(self.open(turns))
        third = self.open(turns)
        self.clock.pump([0.02] * 10)
        self.assertNoResult(third)
        turns.beside = 0  # a probe beside is done: its connection is closed, and not gone yet
        first = self.connections[0]
        first.closing = True
        self.clock.pump([0.02] * 10)
        self.assertNoResult(third)
        first.end()
        self.clock.pump([0.02] * 10)
        self.successResultOf(third)
        self.assertEqual(turns.most_open, 2)
