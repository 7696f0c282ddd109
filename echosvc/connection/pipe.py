"""A connection between two protocols of one process, which keeps what a socket promises.

Each end is the transport of its protocol. It half-closes, resets, and holds bytes that its protocol
does not read, so that the other side's producer has to wait. What is sent arrives in a later turn
of the reactor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocol, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.connection.sender import HIGH_WATER, Sender

#: Bytes that are delivered at once, as one read of a socket.
_READ = 1 << 16


@implementer(ITransport)
class PipeEnd(Sender):
    """One end: the transport and the sender of its protocol.

    :param reactor: what turns the reactor.
    :param protocol: its protocol.
    :param outer: a transport whose addresses and TLS it has: that of the client which the
        connection is for.
    :ivar tls_version: as of a TLS transport; ``-`` where there is none.
    :ivar tls_peer: the same.
    """

    half_closes = True
    other: PipeEnd

    def __init__(self, reactor: Any, protocol: IProtocol, outer: Any) -> None:
        super().__init__(None)
        self._reactor, self.protocol = reactor, protocol
        # Values, not the transport: it would be kept, with its descriptors, after its end.
        self._addresses: tuple[IAddress, IAddress] = outer.getHost(), outer.getPeer()
        self.tls_version = str(getattr(outer, "tls_version", "-"))
        self.tls_peer = str(getattr(outer, "tls_peer", "-"))
        self._received: deque[bytes] = deque()
        self._held = 0  # bytes of it
        self._eof = self._eof_delivered = False  # of the other end
        self._finished = self._lost = False
        self._reading = True
        self._producer: Any = None
        self._producer_waits = False
        self._call: Any = None

    # -- sending --------------------------------------------------------------

    def send(self, data: bytes, defer: bool = False) -> bool:  # noqa: ARG002
        """Send; return whether the other end has not much to read yet."""
        if data and not self._finished:
            if self.other._lost:
                self._later(self._lose, ConnectionLost())
            else:
                self.other._take(data)
        if self.queued() > HIGH_WATER and self._producer is not None and not self._producer_waits:
            self._producer_waits = True
            self._producer.pauseProducing()
        return self.queued() <= HIGH_WATER

    def write(self, data: bytes) -> None:
        """Send."""
        self.send(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces."""
        self.send(b"".join(data))

    def queued(self) -> int:
        """Return the bytes that the other side has not read."""
        return self.other._held

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: ARG002
        """Ask for back-pressure."""
        self._producer, self._producer_waits = producer, False

    def unregisterProducer(self) -> None:
        """Ask for back-pressure no more."""
        self._producer = None

    def _taken(self) -> None:
        """The other side has read everything."""
        if self._producer is not None and self._producer_waits:
            self._producer_waits = False
            self._producer.resumeProducing()

    # -- receiving ------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Read no more."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Read again."""
        self._reading = True
        self._deliver_soon()

    def _take(self, data: bytes) -> None:
        self._received.append(data)
        self._held += len(data)
        self._deliver_soon()

    def _deliver_soon(self) -> None:
        if self._call is None and self._reading and not self._lost:
            self._call = self._later(self._deliver)

    def _deliver(self) -> None:
        """Deliver one read, or the end; then arrange the next."""
        self._call = None
        if not self._reading or self._lost:
            return
        if self._received:
            data = self._received.popleft()
            if len(data) > _READ:
                self._received.appendleft(data[_READ:])
                data = data[:_READ]
            self._held -= len(data)
            self.protocol.dataReceived(data)
            if not self._held:
                self.other._taken()
        elif self._eof and not self._eof_delivered:
            self._eof_delivered = True
            cast(Any, self.protocol).readConnectionLost()
        if self._received or (self._eof and not self._eof_delivered):
            self._deliver_soon()

    # -- ending ---------------------------------------------------------------

    def loseWriteConnection(self) -> None:
        """End our direction, behind what was sent."""
        if not self._finished:
            self._finish()
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self._later(cast(Any, self.protocol).writeConnectionLost)

    def _finish(self) -> None:
        self._finished = True
        self.other._eof = True
        self.other._deliver_soon()

    def loseConnection(self) -> None:
        """End both directions, once the other side has read what was sent."""
        if not self._finished:
            self._finish()
        self._later(self._lose, ConnectionDone())

    def abortConnection(self) -> None:
        """End at once; the other side has a reset."""
        self._finished = True
        self._later(self._lose, ConnectionAborted())
        self._later(self.other._lose, ConnectionLost())

    def abort(self) -> bool:
        """Reset."""
        self.abortConnection()
        return True

    def _lose(self, why: Exception) -> None:
        if not self._lost:
            self._lost = self._finished = True
            self._received.clear()
            self._held, self._producer = 0, None
            self.protocol.connectionLost(Failure(why))
            self.other._taken()

    def _later(self, call: Callable[..., None], *arguments: object) -> Any:
        return self._reactor.callLater(0, call, *arguments)

    # -- facts ----------------------------------------------------------------

    def getHost(self) -> IAddress:
        """Return the address that the client has connected to."""
        return self._addresses[0]

    def getPeer(self) -> IAddress:
        """Return the address of the client."""
        return self._addresses[1]


def connect_pipe(reactor: Any, first: IProtocol, second: IProtocol, outer: Any) -> None:
    """Connect two protocols, which both half-close.

    :param outer: a transport whose addresses both ends have.
    """
    ends = PipeEnd(reactor, first, outer), PipeEnd(reactor, second, outer)
    ends[0].other, ends[1].other = ends[1], ends[0]
    for end in ends:
        end.protocol.makeConnection(cast(Any, end))
