"""A relay that breaks what it carries, in one way at a time: for tests of clients and checks.

Between a client and its servers it passes bytes and ends on as they are; a
:class:`~echosvc.faults.spec.Mischief` says what it does besides.
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

from echosvc.faults.spec import Edit, Mischief


@implementer(IHalfCloseableProtocol)
class _Side(Protocol):
    """One of a relay's two connections; what comes from it goes to the other."""

    def __init__(self, relay: Relay, pair: _Pair) -> None:
        self._relay, self.pair = relay, pair
        self.other: _Side | None = None
        self.edit, self.cut = Edit(Mischief()), sys.maxsize
        self.ended = self.finished = False
        self.passed = 0

    def connectionMade(self) -> None:
        """Wait for the other one."""
        self._relay.live.add(self)
        transport = cast(Any, self.transport)
        transport.setTcpNoDelay(True)
        transport.pauseProducing()
        self.pair.made(self)

    def dataReceived(self, data: bytes) -> None:
        """Pass on, as the mischief has it."""
        if not self.pair.dead:
            self.pair.stir()
            self.pair.later(lambda: self._pass_on(self.edit.feed(data)))

    def _pass_on(self, data: bytes) -> None:
        do, other = self.pair.do, self.other
        if other is None or other.ended or self.pair.dead:
            return
        data = data[: max(0, self.cut - self.passed)]
        over = self.passed + len(data) >= self.cut
        self.passed += len(data)
        if do.piece:
            self.pair.drip(other, data, do.piece)
        else:
            cast(Any, other.transport).write(data)
        if over:
            self.pair.close()

    def readConnectionLost(self) -> None:
        """A FIN came."""
        if not self.pair.dead:
            self.pair.later(self._pass_fin)

    def _pass_fin(self) -> None:
        how = self.pair.do.at_fin
        self.finished = True
        self._pass_on(self.edit.rest())
        if how == "close":
            self.pair.close()
        elif how == "pass":
            self.pair.finish(self)

    def writeConnectionLost(self) -> None:
        """Ours is out."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone; so is the other, soon."""
        self._relay.live.discard(self)
        self.ended = True
        if not self.pair.dead:
            self.pair.later(lambda: self.pair.lost(self, reason))


class _Pair:
    """Two connections that belong together.

    :ivar do: what is done to them, whatever the relay does to later ones.
    """

    def __init__(self, relay: Relay, target: tuple[str, int]) -> None:
        self.do, self._reactor = relay.mischief, relay.reactor
        self.dead = False  # nothing is passed on any more
        self._idle: Any = None
        self.client, self.server = _Side(relay, self), _Side(relay, self)
        chosen = self.client if self.do.upstream else self.server
        chosen.edit = Edit(self.do)
        if self.do.cut is not None:
            chosen.cut = self.do.cut
        self._target = target

    def made(self, side: _Side) -> None:
        """One is connected; with both, begin."""
        if side is self.client:
            factory = _Dialling(self)
            self._reactor.connectTCP(*self._target, factory, 10)
            return
        self.client.other, self.server.other = self.server, self.client
        for one in (self.client, self.server):
            transport = cast(Any, one.transport)
            if not self.do.unbounded and not one.ended:
                cast(Any, one.other).transport.registerProducer(_Valve(transport), True)
            transport.resumeProducing()
        self.stir()

    def later(self, do: Callable[[], None]) -> None:
        """Do it after the delay; in order."""
        if self.do.delay:
            self._reactor.callLater(self.do.delay, do)
        else:
            do()

    def drip(self, side: _Side, data: bytes, size: int) -> None:
        """Send piece by piece, each in a segment of its own."""
        transport = cast(Any, side.transport)
        for place in range(0, len(data), size):
            piece = data[place : place + size]
            if transport.dataBuffer or transport._tempDataLen:
                transport.write(piece)
            elif (taken := transport.writeSomeData(piece)) != len(piece):
                transport.write(piece[taken:] if isinstance(taken, int) else piece)

    def stir(self) -> None:
        """Something came: the idle time begins anew."""
        if not self.do.idle:
            return
        if self._idle is not None and self._idle.active():
            self._idle.reset(self.do.idle)
        else:
            self._idle = self._reactor.callLater(self.do.idle, self._rested)

    def _rested(self) -> None:
        how = self.do.idle_end
        if how == "silence":
            self.dead = True
        elif how == "rst":
            self.abort()
        else:
            self.close()

    def finish(self, side: _Side) -> None:
        """Pass a FIN on."""
        other = cast(_Side, side.other)
        if other.ended:
            return
        transport = cast(Any, other.transport)
        transport.unregisterProducer()
        if other.finished:
            transport.loseConnection()
            self._end(side)
        else:
            transport.loseWriteConnection()

    def _end(self, side: _Side) -> None:
        if not side.ended:
            transport = cast(Any, side.transport)
            transport.unregisterProducer()
            transport.loseConnection()

    def lost(self, side: _Side, reason: Failure) -> None:
        """One has gone."""
        other = side.other
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        if other is None or other.ended or reason.check(ConnectionDone):
            return
        how = self.do.reset
        if how == "rst":
            cast(Any, other.transport).abortConnection()
        elif how == "fin":
            self._end(other)

    def close(self) -> None:
        """Close both, with FIN."""
        for side in (self.client, self.server):
            self._end(side)

    def abort(self) -> None:
        """Reset both."""
        for side in (self.client, self.server):
            if not side.ended:
                cast(Any, side.transport).abortConnection()


@implementer(IPushProducer)
class _Valve:
    """Stops the reading of one side while the other one's queue is full."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def pauseProducing(self) -> None:
        """Read no more."""
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """Nothing: the end is told otherwise."""


class _Dialling(ClientFactory):
    """The way to the server."""

    noisy = False

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair

    def buildProtocol(self, addr: object) -> _Side:  # noqa: ARG002
        """Give the pair's other side."""
        return self._pair.server

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:  # noqa: ARG002
        """No server, no client."""
        cast(Any, self._pair.client.transport).abortConnection()


class Relay(Factory):
    """Takes connections and passes them on to servers, each in its turn.

    :param reactor: what to run on.
    :param targets: host and port of each server.
    :ivar mischief: what is done to the connections that come from now on.
    :ivar port: where it listens, on 127.0.0.1, once it does.
    """

    noisy = False

    def __init__(
        self, reactor: Any, targets: Sequence[tuple[str, int]], mischief: Mischief | None = None
    ) -> None:
        self.reactor = reactor
        self.mischief = mischief or Mischief()
        self._targets = list(targets)
        self._made = 0
        self.live: set[_Side] = set()
        self._listening: Any = None

    def buildProtocol(self, addr: object) -> _Side:  # noqa: ARG002
        """Begin with one client."""
        target = self._targets[self._made % len(self._targets)]
        self._made += 1
        return _Pair(self, target).client

    def listen(self) -> int:
        """Listen on a free port; give it."""
        self._listening = self.reactor.listenTCP(0, self, interface="127.0.0.1")
        self.port = int(self._listening.getHost().port)
        return self.port

    def stop(self) -> Deferred[None]:
        """Listen no more, and end everything."""
        stopped: Deferred[None] = maybeDeferred(self._listening.stopListening)
        for side in tuple(self.live):
            side.pair.dead = True
            cast(Any, side.transport).abortConnection()
        return stopped
