"""The phases of a drain, on a clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs

from echosvc import EchoFactory, Outcome
from echosvc.server.drain import Drain
from tests.support.server import ServerTestCase, lines_of
from tests.support.transports import Line


class DrainTests(ServerTestCase):
    def setUp(self) -> None:
        self.closed: list[float] = []
        self.lines: list[Line] = []
        self.accept_last: Callable[[], object] = lambda: None

    def start(self, connections: int = 1, accepting: bool = True, **options: object) -> Drain:
        """Start the drain of a server with so many connections; its time is now 0."""
        self.server = factory = self.factory(idle_timeout=0, **options)
        factory.ready = True
        self.clock = factory.timers._clock
        self.connections = [self.add_connection(factory) for _ in range(connections)]
        drain = Drain(factory, self.clock, self.close_listeners, accepting)
        self.done = Deferred.fromCoroutine(drain.run())
        return drain

    def add_connection(self, factory: EchoFactory) -> Any:
        connection = factory.buildProtocol(None)
        line = Line(connection, self.clock)
        self.addCleanup(line.close)
        self.lines.append(line)
        return connection

    def close_listeners(self) -> Deferred[Any]:
        self.accept_last()
        self.closed.append(self.clock.seconds())
        return succeed(None)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)
            for line in self.lines:
                line.turn()

    def ended(self) -> int:
        return sum(each.outcome is not None for each in self.connections)

    def test_without_delays_the_listeners_close_at_once(self) -> None:
        self.start()
        self.assertEqual(self.closed, [0])
        self.assertFalse(self.server.ready)

    def test_it_is_ready_for_one_delay_and_accepts_for_both(self) -> None:
        with capturedLogs() as events:
            self.start(drain_delay=5.0, unready_delay=10.0)
            self.pass_time(4.9)
            self.assertTrue(self.server.ready)
            self.pass_time(0.2)
            self.assertFalse(self.server.ready)
            self.pass_time(9.8)
            self.assertEqual(self.closed, [])
            self.pass_time(0.2)
        self.assertEqual(len(self.closed), 1)
        self.assertLess(abs(self.closed[0] - 15.0), 0.11)
        self.assertEqual(lines_of(events).count("Server not ready: it drains"), 1)

    def test_the_delays_do_not_end_early_though_no_connection_lives(self) -> None:
        """A client that comes meanwhile is served: that is what they are for."""
        self.start(connections=0, drain_delay=1.0)
        self.pass_time(0.9)
        self.assertEqual(self.closed, [])
        self.pass_time(0.2)
        self.assertEqual(len(self.closed), 1)
        self.successResultOf(self.done)

    def test_without_a_listener_nothing_is_delayed(self) -> None:
        self.start(accepting=False, drain_delay=5.0, unready_delay=5.0)
        self.assertEqual(len(self.closed), 1)

    def test_connections_end_one_after_the_other_evenly(self) -> None:
        self.start(connections=10, drain_spread=10.0, drain=60.0)
        for second in range(1, 10):
            self.pass_time(1.0)
            self.assertLessEqual(abs(self.ended() - second), 1)
        self.pass_time(1.2)
        self.assertEqual(self.ended(), 10)
        self.assertEqual({each.outcome for each in self.connections}, {Outcome.DRAINED})

    def test_the_oldest_ends_first(self) -> None:
        self.start(connections=3, drain_spread=3.0)
        self.pass_time(1.2)
        self.assertEqual([each.outcome for each in self.connections], [Outcome.DRAINED, None, None])

    def test_many_connections_need_no_timer_each(self) -> None:
        self.start(connections=50, drain_spread=0.1)
        self.assertLessEqual(len(self.clock.getDelayedCalls()), 2)
        self.pass_time(0.2)
        self.assertEqual(self.ended(), 50)

    def test_a_spread_that_nobody_is_left_for_is_over(self) -> None:
        self.start(connections=2, drain_spread=3600.0, drain=3600.0)
        for line in self.lines:
            line.peer.close()
        self.pass_time(0.2)
        self.successResultOf(self.done)

    def test_after_the_spread_replies_may_be_taken_for_the_drain(self) -> None:
        self.start(connections=1, drain_spread=1.0, drain=5.0, linger=30.0)
        self.pass_time(1.5)
        self.assertEqual(self.ended(), 1)
        self.assertNoResult(self.done)  # it waits for the client's FIN
        self.lines[0].peer.close()
        self.pass_time(0.2)
        self.successResultOf(self.done)

    def test_the_rest_ends_politely_after_the_drain(self) -> None:
        self.start(drain=2.0)
        self.pass_time(1.9)
        self.assertEqual(self.ended(), 0)
        self.pass_time(0.2)
        self.assertIs(self.connections[0].outcome, Outcome.DRAINED)

    def test_a_client_that_never_ends_is_aborted_in_the_end(self) -> None:
        self.start(drain=1.0, linger=1.0)
        self.pass_time(4.0)
        self.successResultOf(self.done)

    def test_it_can_be_ended_in_every_phase(self) -> None:
        phases = {"drain_delay": 9.0}, {"unready_delay": 9.0}, {"drain_spread": 9.0}, {"drain": 9.0}
        for options in phases:
            drain = self.start(connections=2, **options)
            self.pass_time(0.5)
            self.assertNoResult(self.done)
            drain.end_now()
            self.pass_time(0.1)
            self.successResultOf(self.done)
            self.assertEqual({each.outcome for each in self.connections}, {Outcome.ABORTED})

    def test_a_client_of_the_queue_is_ended_too_once_all_is_to_end(self) -> None:
        def accept() -> None:
            self.connections.append(self.add_connection(self.server))

        def accept_two() -> None:  # one at once, one in the reactor's next turn, as a listener does
            accept()
            self.clock.callLater(0, accept)

        drain = self.start(drain_delay=9.0, drain=9.0)
        self.accept_last = accept_two
        drain.end_now()
        self.pass_time(0.2)
        self.successResultOf(self.done)
        self.assertEqual(self.ended(), 3)
