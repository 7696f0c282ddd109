"""All connections of one server: their count, their totals, their common end."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from echosvc import Config, ConfigError, EchoFactory, EchoProtocol, Outcome


class FactoryTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def factory(self, **options: object) -> EchoFactory:
        return EchoFactory(clock=self.clock, **options)

    def connected(self, factory: EchoFactory) -> EchoProtocol:
        connection = factory.buildProtocol(None)
        connection.makeConnection(StringTransport(lenient=True))
        return connection

    def lost(self, connection: EchoProtocol) -> None:
        connection.connectionLost(Failure(ConnectionDone()))


class SettingsTests(FactoryTestCase):
    def test_it_is_a_whole_server(self) -> None:
        reactor = MemoryReactorClock()
        factory = EchoFactory(prefix=b"> ", clock=reactor)
        verifyObject(IProtocolFactory, factory)
        reactor.listenTCP(8107, factory)
        transport = StringTransport()
        connection = reactor.tcpServers[0][1].buildProtocol(None)
        connection.makeConnection(transport)
        connection.dataReceived(b"hi")
        self.assertEqual(transport.value(), b"> hi")

    def test_every_setting_is_a_keyword(self) -> None:
        factory = self.factory(framing="line", linger=3, max_message=7)
        self.assertEqual(factory.config, Config(framing="line", linger=3, max_message=7))

    def test_settings_may_come_as_one_object(self) -> None:
        config = Config(log="quiet")
        self.assertIs(self.factory(config=config).config, config)

    def test_a_wrong_setting_is_told_at_once(self) -> None:
        self.assertRaises(ConfigError, EchoFactory, framing="words")
        self.assertRaises(TypeError, EchoFactory, no_such_setting=1)
        self.assertRaises(TypeError, EchoFactory, b"> ")

    def test_a_configuration_and_settings_together_are_refused(self) -> None:
        """Rather than one of them ignored."""
        self.assertRaises(TypeError, EchoFactory, config=Config(), framing="line")

    def test_a_subclass_of_the_protocol_is_used(self) -> None:
        class Mine(EchoProtocol):
            pass

        factory = self.factory()
        factory.protocol = Mine
        self.assertIsInstance(self.connected(factory), Mine)


class CountTests(FactoryTestCase):
    def test_live_connections_are_counted_and_listed(self) -> None:
        factory = self.factory()
        self.assertEqual((factory.count, factory.connections, factory.accepted), (0, (), 0))
        first, second = self.connected(factory), self.connected(factory)
        self.assertEqual((factory.count, factory.accepted), (2, 2))
        self.assertEqual(set(factory.connections), {first, second})
        self.assertEqual((first.number, second.number), (1, 2))
        self.lost(first)
        self.assertEqual((factory.count, factory.accepted), (1, 2))
        self.assertEqual(factory.connections, (second,))

    def test_totals_include_connections_that_ended(self) -> None:
        factory = self.factory(prefix=b"> ")
        first, second = self.connected(factory), self.connected(factory)
        first.dataReceived(b"abc")
        second.dataReceived(b"de")
        self.assertEqual((factory.bytes_in, factory.bytes_out), (5, 9))
        self.lost(first)
        self.lost(second)
        self.assertEqual((factory.bytes_in, factory.bytes_out), (5, 9))

    def test_who_leaves_is_not_counted_among_those_that_remain(self) -> None:
        factory = self.factory()
        connections = [self.connected(factory) for _ in range(3)]
        with capturedLogs() as events:
            for connection in connections:
                self.lost(connection)
        self.assertEqual([event["remaining"] for event in events], [2, 1, 0])

    def test_on_connect_gets_each_connection_once_it_is_counted(self) -> None:
        seen = []
        factory = self.factory(
            on_connect=lambda connection: seen.append((connection, factory.count))
        )
        first, second = self.connected(factory), self.connected(factory)
        self.assertEqual(seen, [(first, 1), (second, 2)])

    def test_a_connection_cannot_be_lost_twice(self) -> None:
        factory = self.factory()
        connection = self.connected(factory)
        connection.dataReceived(b"abc")
        self.lost(connection)
        self.lost(connection)
        self.assertEqual((factory.count, factory.bytes_in), (0, 3))

    def test_no_timer_is_left_once_all_have_gone(self) -> None:
        factory = self.factory()
        connections = [self.connected(factory) for _ in range(3)]
        self.clock.pump([0.1] * 3)
        for connection in connections:
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
            self.lost(connection)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class WhenIdleTests(FactoryTestCase):
    def test_without_connections_it_fires_at_once(self) -> None:
        self.assertIsNone(self.successResultOf(self.factory().when_idle()))

    def test_it_fires_with_the_last_connections_end(self) -> None:
        factory = self.factory()
        first, second = self.connected(factory), self.connected(factory)
        waiting = [factory.when_idle(), factory.when_idle()]
        self.lost(first)
        for each in waiting:
            self.assertNoResult(each)
        self.lost(second)
        for each in waiting:
            self.assertIsNone(self.successResultOf(each))

    def test_it_fires_after_the_last_connection_was_reported(self) -> None:
        """Or a service would have terminated before its last client had left."""
        told = []

        class Telling(EchoProtocol):
            def ended(self, outcome: Outcome) -> None:
                told.append("ended")

        factory = self.factory()
        factory.protocol = Telling
        connection = self.connected(factory)

        with capturedLogs() as events:
            factory.when_idle().addCallback(
                lambda _: told.extend(["idle", *(formatEvent(each) for each in events)])
            )
            self.lost(connection)
        self.assertEqual(told[:2], ["ended", "idle"])
        self.assertIn("Client disconnected", told[2])

    def test_cancelling_stops_the_waiting_only(self) -> None:
        factory = self.factory()
        connection = self.connected(factory)
        cancelled, other = factory.when_idle(), factory.when_idle()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(factory.count, 1)
        self.lost(connection)
        self.successResultOf(other)

    def test_one_waiter_may_cancel_another_and_wait_again(self) -> None:
        factory = self.factory()
        connection = self.connected(factory)
        first, second, third = factory.when_idle(), factory.when_idle(), factory.when_idle()
        first.addCallback(lambda _: second.cancel())
        again = first.addCallback(lambda _: factory.when_idle())
        self.lost(connection)
        self.successResultOf(again)
        self.failureResultOf(second, CancelledError)
        self.successResultOf(third)


class EndAllTests(FactoryTestCase):
    def test_all_are_ended_politely_as_drained(self) -> None:
        factory = self.factory()
        connections = [self.connected(factory) for _ in range(3)]
        connections[0].finish()
        factory.end_all()
        for connection in connections:
            self.assertTrue(connection.transport.disconnecting)
            self.assertFalse(connection.transport.disconnected)
        words = [connection.outcome for connection in connections]
        self.assertEqual(words, [Outcome.CLOSED, Outcome.DRAINED, Outcome.DRAINED])

    def test_all_are_aborted(self) -> None:
        factory = self.factory()
        connections = [self.connected(factory) for _ in range(3)]
        connections[0].close_with(Outcome.DRAINED)
        factory.abort_all()
        for connection in connections:
            self.assertTrue(connection.transport.disconnected)
        words = [connection.outcome for connection in connections]
        self.assertEqual(words, [Outcome.ABORTED] * 3)

    def test_nobody_to_end_is_nothing_to_do(self) -> None:
        factory = self.factory()
        factory.end_all()
        factory.abort_all()
        self.successResultOf(factory.when_idle())
