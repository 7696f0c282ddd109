"""A connection's phases follow their table, and each way through it is taken."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from echosvc import EchoFactory, EchoProtocol, Outcome
from echosvc.connection.blocks import APPLICATION, BACK_PRESSURE, EOF, IDLE, REPLY, describe
from echosvc.connection.layer import LayerTransport
from echosvc.connection.phase import CLOSED, CLOSING, HANDSHAKE, OPEN, TRANSITIONS, Phase
from tests.support.transports import Line

LOST, DONE = Failure(ConnectionLost()), Failure(ConnectionDone())


class Recording(EchoProtocol):
    """Keeps its phases."""

    def __init__(self) -> None:
        self.phases: list[Phase] = [CLOSED]

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "phase":
            self.phases.append(self.phase)


class Layer(LayerTransport):
    """Its handshake is done when the test says so."""

    def connectionMade(self) -> None:
        self.attach()
        self.wrappedProtocol.makeConnection(self)

    def abortConnection(self) -> None:
        self.lost(LOST)


class PhaseTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def connection(self, **settings: Any) -> Recording:
        factory = EchoFactory(clock=self.clock, log="quiet", **settings)
        factory.protocol = Recording
        connection: Recording = factory.buildProtocol(None)
        return connection

    def line(self, **settings: Any) -> tuple[Recording, Line]:
        connection = self.connection(**settings)
        line = Line(connection, self.clock)
        self.addCleanup(line.close)
        return connection, line

    def layered(self, **settings: Any) -> tuple[Recording, Layer]:
        connection = self.connection(**settings)
        layer = Layer(connection)
        layer.makeConnection(StringTransport())
        return connection, layer


def _finished_by_peer(test: PhaseTestCase) -> Recording:
    connection, line = test.line()
    line.send(b"x")
    line.finish()
    return connection


def _lost(test: PhaseTestCase) -> Recording:
    connection, line = test.line()
    line.transport.connectionLost(LOST)
    return connection


def _closed(test: PhaseTestCase) -> Recording:
    connection, line = test.line()
    connection.finish()
    line.turn(2)
    line.finish()
    line.turn(2)
    return connection


def _aborted(test: PhaseTestCase) -> Recording:
    connection, line = test.line()
    connection.abort()
    line.turn(2)
    return connection


def _reset(test: PhaseTestCase) -> Recording:
    connection, line = test.line()
    connection.close_with(Outcome.FAILED, resets=True)
    line.turn(2)
    return connection


def _handshake_lost(test: PhaseTestCase) -> Recording:
    connection, layer = test.layered()
    layer.lost(LOST)
    return connection


def _handshake_aborted(test: PhaseTestCase) -> Recording:
    connection, _ = test.layered()
    connection.finish()
    return connection


def _handshake_too_long(test: PhaseTestCase) -> Recording:
    connection, _ = test.layered(handshake_timeout=5.0)
    for _ in range(60):
        test.clock.advance(0.1)
    return connection


def _handshake_done(test: PhaseTestCase) -> Recording:
    connection, layer = test.layered()
    layer.handshake_done()
    layer.lost(DONE)
    return connection


WAYS: dict[Callable[[PhaseTestCase], Recording], list[Phase]] = {
    _finished_by_peer: [CLOSED, OPEN, CLOSED],
    _lost: [CLOSED, OPEN, CLOSED],
    _closed: [CLOSED, OPEN, CLOSING, CLOSED],
    _aborted: [CLOSED, OPEN, CLOSING, CLOSED],
    _reset: [CLOSED, OPEN, CLOSING, CLOSED],
    _handshake_lost: [CLOSED, HANDSHAKE, CLOSED],
    _handshake_aborted: [CLOSED, HANDSHAKE, CLOSED],
    _handshake_too_long: [CLOSED, HANDSHAKE, CLOSED],
    _handshake_done: [CLOSED, HANDSHAKE, OPEN, CLOSED],
}


class TransitionTests(PhaseTestCase):
    def test_each_way_leads_through_its_phases(self) -> None:
        for way, phases in WAYS.items():
            self.assertEqual(way(self).phases, phases, way.__name__)

    def test_the_ways_take_every_transition_of_the_table_and_no_other(self) -> None:
        taken: dict[Phase, set[Phase]] = {phase: set() for phase in Phase}
        for way in WAYS:
            phases = way(self).phases
            for before, after in pairwise(phases):
                taken[before].add(after)
        self.assertEqual(taken, TRANSITIONS)

    def test_a_connection_that_closes_has_an_outcome_that_stays(self) -> None:
        for way in WAYS:
            connection = way(self)
            outcome = connection.outcome
            self.assertIsNotNone(outcome, way.__name__)
            connection.finish()
            connection.abort()
            connection.connectionLost(LOST)
            self.assertIs(connection.outcome, outcome, way.__name__)


class BlockTests(PhaseTestCase):
    def test_repr_shows_the_phase_and_what_blocks(self) -> None:
        connection, line = self.line(idle_timeout=0.0)
        self.assertIn(": open>", repr(connection))
        connection.pause()
        self.assertIn(": open, blocked by application>", repr(connection))
        connection.pauseProducing()
        self.assertIn(": open, blocked by back-pressure, application>", repr(connection))
        connection.abort()
        self.assertIn(": closing", repr(connection))
        line.turn(2)
        self.assertIn(": closed", repr(connection))

    def test_the_fast_path_is_on_while_the_connection_is_open_and_nothing_blocks(self) -> None:
        connection, line = self.line(idle_timeout=0.0)
        self.assertTrue(self.is_fast(connection, line))
        for act, bit in (
            (connection.pause, APPLICATION),
            (connection.pauseProducing, BACK_PRESSURE),
        ):
            act()
            self.assertEqual(connection.blocks, bit)
            self.assertIsNone(connection._fast_prefix)
            connection.resume()
            connection.resumeProducing()
            self.assertTrue(self.is_fast(connection, line))
        connection.finish()
        self.assertIsNone(connection._fast_prefix)

    def is_fast(self, connection: Recording, line: Line) -> bool:
        before = connection.fast_messages
        line.send(b"x")
        return connection.fast_messages == before + 1

    def test_an_idle_connection_is_off_the_fast_path_until_its_next_read(self) -> None:
        connection, line = self.line(idle_timeout=0.5)
        line.wait(2.0)
        self.assertEqual(connection.blocks, IDLE)
        line.send(b"x")
        self.assertEqual(connection.blocks, 0)
        self.assertTrue(self.is_fast(connection, line))

    def test_each_bit_has_a_name(self) -> None:
        with capturedLogs():
            for bit in (BACK_PRESSURE, APPLICATION, REPLY, EOF, IDLE):
                self.assertIn("blocked by ", describe(bit))
            self.assertEqual(describe(0), "")
