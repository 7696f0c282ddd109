"""A relay that injects faults, for tests of clients and of checks.

It passes bytes, FINs and resets from clients to servers and back as they are, but for the faults
of a :class:`~echosvc.faults.spec.FaultSpec`. What it delays, or buffers, it keeps without bound: it
is for tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.faults.spec import FaultSpec, StreamMutator

#: Seconds that connecting to a server may take.
_CONNECT_TIMEOUT = 10


@implementer(IHalfCloseableProtocol)
class _Side(Protocol):
    """One of the two connections of a pair. What it receives is sent by the other one.

    :ivar peer: the other connection, once both are connected.
    :ivar closed: the connection is lost.
    :ivar eof_received: its FIN was received, and passed on or dropped.
    """

    def __init__(self, relay: Relay, pair: _Pair) -> None:
        self._relay, self.pair = relay, pair
        self.peer: _Side | None = None
        self.mutator, self.limit = StreamMutator(FaultSpec()), sys.maxsize
        self.closed = self.eof_received = False
        self._forwarded = 0

    def connectionMade(self) -> None:
        """Read nothing until the other one is connected too."""
        self._relay.connections.add(self)
        transport = cast(Any, self.transport)
        transport.setTcpNoDelay(True)
        transport.pauseProducing()
        self.pair.connected(self)

    def dataReceived(self, data: bytes) -> None:
        """Forward the data, with its faults."""
        if not self.pair.silenced:
            self.pair.restart_idle_timer()
            self.pair.delay(lambda: self._forward(self.mutator.feed(data)))

    def _forward(self, data: bytes) -> None:
        faults, peer = self.pair.faults, self.peer
        if peer is None or peer.closed or self.pair.silenced:
            return
        data = data[: max(0, self.limit - self._forwarded)]
        self._forwarded += len(data)
        if faults.chunk_size:
            self.pair.send_chunked(peer, data, faults.chunk_size)
        else:
            cast(Any, peer.transport).write(data)
        if self._forwarded >= self.limit:
            self.pair.close()

    def readConnectionLost(self) -> None:
        """Forward the FIN, or what the faults make of it."""
        if not self.pair.silenced:
            self.pair.delay(self._forward_eof)

    def _forward_eof(self) -> None:
        on_fin = self.pair.faults.on_fin
        self.eof_received = True
        self._forward(self.mutator.flush())
        if on_fin == "close":
            self.pair.close()
        elif on_fin == "pass":
            self.pair.send_fin(self)

    def writeConnectionLost(self) -> None:
        """Ignore that our own FIN was sent."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the other connection too."""
        self._relay.connections.discard(self)
        self.closed = True
        if not self.pair.silenced:
            self.pair.delay(lambda: self.pair.lost(self, reason))


class _Pair:
    """A connection of a client and the one to the server.

    :ivar faults: what the relay had when the client connected.
    :ivar silenced: nothing is forwarded any more.
    """

    def __init__(self, relay: Relay, target: tuple[str, int]) -> None:
        self.faults, self._reactor = relay.faults, relay.reactor
        self.silenced = False
        self._idle_timer: Any = None
        self.client, self.server = _Side(relay, self), _Side(relay, self)
        faulty = self.client if self.faults.upstream else self.server
        faulty.mutator = StreamMutator(self.faults)
        if self.faults.cut is not None:
            faulty.limit = self.faults.cut
        self._target = target

    def connected(self, side: _Side) -> None:
        """Connect to the server once the client is connected; begin once both are."""
        if side is self.client:
            self._reactor.connectTCP(*self._target, _ServerFactory(self), _CONNECT_TIMEOUT)
            return
        self.client.peer, self.server.peer = self.server, self.client
        for one in (self.client, self.server):
            transport = cast(Any, one.transport)
            if not self.faults.unbounded and not one.closed:
                cast(Any, one.peer).transport.registerProducer(_Backpressure(transport), True)
            transport.resumeProducing()
        self.restart_idle_timer()

    def delay(self, call: Callable[[], None]) -> None:
        """Make the call after the delay of the faults; calls keep their order."""
        if self.faults.delay:
            self._reactor.callLater(self.faults.delay, call)
        else:
            call()

    def send_chunked(self, side: _Side, data: bytes, size: int) -> None:
        """Send chunk by chunk, each in a segment of its own."""
        transport = cast(Any, side.transport)
        for start in range(0, len(data), size):
            chunk = data[start : start + size]
            if transport.dataBuffer or transport._tempDataLen:  # Twisted has no public name for it
                transport.write(chunk)
            elif (sent := transport.writeSomeData(chunk)) != len(chunk):
                transport.write(chunk[sent:] if isinstance(sent, int) else chunk)

    def restart_idle_timer(self) -> None:
        """Start the idle time anew."""
        if not self.faults.idle_timeout:
            return
        if self._idle_timer is not None and self._idle_timer.active():
            self._idle_timer.reset(self.faults.idle_timeout)
        else:
            self._idle_timer = self._reactor.callLater(
                self.faults.idle_timeout, self._idle_timed_out
            )

    def _idle_timed_out(self) -> None:
        on_idle = self.faults.on_idle
        if on_idle == "silence":
            self.silenced = True
        elif on_idle == "rst":
            self.abort()
        else:
            self.close()

    def send_fin(self, side: _Side) -> None:
        """Send a FIN that one side has received on the other side."""
        peer = cast(_Side, side.peer)
        if peer.closed:
            return
        transport = cast(Any, peer.transport)
        transport.unregisterProducer()
        if peer.eof_received:
            transport.loseConnection()
            self._close(side)
        else:
            transport.loseWriteConnection()

    def _close(self, side: _Side) -> None:
        if not side.closed:
            transport = cast(Any, side.transport)
            transport.unregisterProducer()
            transport.loseConnection()

    def lost(self, side: _Side, reason: Failure) -> None:
        """When one side was reset, end the other as ``on_reset`` says."""
        peer = side.peer
        if self._idle_timer is not None and self._idle_timer.active():
            self._idle_timer.cancel()
        if peer is None or peer.closed or reason.check(ConnectionDone):
            return
        on_reset = self.faults.on_reset
        if on_reset == "rst":
            cast(Any, peer.transport).abortConnection()
        elif on_reset == "fin":
            self._close(peer)

    def close(self) -> None:
        """Close both, with FIN."""
        for side in (self.client, self.server):
            self._close(side)

    def abort(self) -> None:
        """Reset both."""
        for side in (self.client, self.server):
            if not side.closed:
                cast(Any, side.transport).abortConnection()


@implementer(IPushProducer)
class _Backpressure:
    """Pauses the reading of one side while the queue of the other one is full."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def pauseProducing(self) -> None:
        """Stop reading."""
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """Do nothing: ``connectionLost`` handles the end."""


class _ServerFactory(ClientFactory):
    """Connects to the server of a pair."""

    noisy = False

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair

    def buildProtocol(self, addr: object) -> _Side:  # noqa: ARG002
        """Return the pair's connection to the server."""
        return self._pair.server

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:  # noqa: ARG002
        """Reset the client."""
        cast(Any, self._pair.client.transport).abortConnection()


class Relay(Factory):
    """Accepts connections on 127.0.0.1 and relays them to servers, in turn.

    :param reactor: the reactor to run on.
    :param targets: host and port of each server.
    :ivar faults: the faults of connections that are accepted from now on.
    :ivar port: where it listens, once it does.
    """

    noisy = False

    def __init__(
        self, reactor: Any, targets: Sequence[tuple[str, int]], faults: FaultSpec | None = None
    ) -> None:
        self.reactor = reactor
        self.faults = faults or FaultSpec()
        self._targets = list(targets)
        self._accepted = 0
        self.connections: set[_Side] = set()
        self._listening: Any = None

    def buildProtocol(self, addr: object) -> _Side:  # noqa: ARG002
        """Return the protocol of a client, with a server chosen."""
        target = self._targets[self._accepted % len(self._targets)]
        self._accepted += 1
        return _Pair(self, target).client

    def listen(self) -> int:
        """Listen on a free port; return it."""
        self._listening = self.reactor.listenTCP(0, self, interface="127.0.0.1")
        self.port = int(self._listening.getHost().port)
        return self.port

    def stop(self) -> Deferred[None]:
        """Stop listening, and reset every connection."""
        stopped: Deferred[None] = maybeDeferred(self._listening.stopListening)
        for side in tuple(self.connections):
            side.pair.silenced = True
            cast(Any, side.transport).abortConnection()
        return stopped
