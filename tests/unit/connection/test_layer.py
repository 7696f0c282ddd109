"""A transport over a transport: what it passes on, and whom it tells."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from echosvc.connection.layer import LayerTransport
from tests.support.transports import Below


class Whole(Protocol):
    reason: Failure | None = None

    def connectionLost(self, reason: Failure) -> None:
        self.reason = reason


@implementer(IHalfCloseableProtocol)
class Halving(Whole):
    def __init__(self) -> None:
        self.told: list[str] = []

    def handshakeCompleted(self) -> None:
        self.told.append("ready")

    def readConnectionLost(self) -> None:
        self.told.append("their end")

    def writeConnectionLost(self) -> None:
        self.told.append("our end")


class Thin(LayerTransport):
    """Adds nothing."""

    def connectionMade(self) -> None:
        self.attach()
        self.wrappedProtocol.makeConnection(self)

    def connectionLost(self, reason: Failure) -> None:
        self.lost(reason)


class LayerTests(SynchronousTestCase):
    def made(self, inner: Protocol) -> tuple[Below, Thin]:
        below, layer = Below(), Thin(inner)
        layer.makeConnection(below)
        return below, layer

    def test_bytes_go_through(self) -> None:
        below, layer = self.made(Whole())
        layer.write(b"one ")
        layer.writeSequence([b"two ", b"three"])
        self.assertEqual(below.value(), b"one two three")
        self.assertEqual(layer.getPeer(), below.getPeer())
        self.assertEqual(layer.getHost(), below.getHost())

    def test_so_do_pauses_producers_and_ends(self) -> None:
        below, layer = self.made(Whole())
        layer.pauseProducing()
        self.assertEqual(below.producerState, "paused")
        layer.resumeProducing()
        self.assertEqual(below.producerState, "producing")
        producer = object()
        layer.registerProducer(producer, True)
        self.assertIs(below.producer, producer)
        layer.unregisterProducer()
        self.assertIsNone(below.producer)
        layer.loseWriteConnection()
        layer.loseConnection()
        layer.stopProducing()
        layer.abortConnection()
        self.assertEqual(below.asked, ["half-close", "close", "close", "abort"])

    def test_a_protocol_that_half_closes_is_told_of_each_end(self) -> None:
        inner = Halving()
        below, layer = self.made(inner)
        layer.readConnectionLost()
        layer.writeConnectionLost()
        self.assertEqual(inner.told, ["their end", "our end"])
        self.assertEqual(below.asked, [])

    def test_for_any_other_the_peers_end_is_the_end(self) -> None:
        below, layer = self.made(Whole())
        layer.writeConnectionLost()
        layer.readConnectionLost()
        self.assertEqual(below.asked, ["close"])

    def test_who_waits_for_it_is_told_when_it_is_ready(self) -> None:
        inner = Halving()
        _, layer = self.made(inner)
        early = layer.when_ready()
        self.assertNoResult(early)
        layer.handshake_done()
        self.assertEqual(inner.told, ["ready"])
        self.assertIs(self.successResultOf(early), inner)
        self.assertIs(self.successResultOf(layer.when_ready()), inner)

    def test_or_that_it_never_will_be(self) -> None:
        inner = Whole()
        _, layer = self.made(inner)
        early = layer.when_ready()
        layer.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(early, ConnectionLost)
        self.failureResultOf(layer.when_ready(), ConnectionLost)
        self.assertTrue(inner.reason.check(ConnectionLost))

    def test_who_waits_no_more_ends_the_connection(self) -> None:
        below, layer = self.made(Whole())
        waiting = layer.when_ready()
        waiting.cancel()
        self.assertEqual(below.asked, ["abort"])
        self.failureResultOf(waiting)
        layer.connectionLost(Failure(ConnectionDone()))

    def test_a_protocol_that_asks_for_no_handshake_is_not_told(self) -> None:
        inner = Whole()
        _, layer = self.made(inner)
        layer.handshake_done()
        self.assertTrue(layer.ready)


class CircleTests(SynchronousTestCase):
    def test_once_it_is_over_nothing_waits_for_the_collector(self) -> None:
        """What it holds of OpenSSL's is large, and the collector does not know."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        layer = Thin(Whole())
        layer.makeConnection(Below())
        layer.connectionLost(Failure(ConnectionDone()))
        gone = weakref.ref(layer)
        del layer
        self.assertIsNone(gone())
