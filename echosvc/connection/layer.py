"""What every transport over another transport is: its protocol's in most things."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.connection.sending import make_sender
from echosvc.connection.transport import Layer, Transport

_GONE = Protocol()


@implementer(IHalfCloseableProtocol, ITransport)
class LayerTransport(Protocol, Layer):
    """Between a stream transport and the protocol that is to use this one instead.

    That protocol's ``connectionMade`` is called at once, its ``handshakeCompleted``, if
    it has one, when bytes can be exchanged.
    """

    def __init__(self, inner: IProtocol) -> None:
        self.wrappedProtocol = inner
        self._waiting: list[Deferred[IProtocol]] = []
        self._ended: Failure | None = None

    def when_ready(self) -> Deferred[IProtocol]:
        """Fire with the inner protocol once bytes can be exchanged; fail if never.

        Cancelling it ends the connection.
        """
        waiting: Deferred[IProtocol] = Deferred(lambda _: self.abortConnection())
        self._waiting.append(waiting)
        if self._ended is not None:
            self._answer(self._ended)
        elif self.ready:
            self._answer(self.wrappedProtocol)
        return waiting

    # -- for subclasses -------------------------------------------------------

    def _begin(self) -> None:
        self._below = cast(Transport, self.transport)
        self._sender = make_sender(self._below)

    def _completed(self) -> None:
        """Tell the inner protocol that bytes can be exchanged."""
        self.ready = True
        completed: Callable[[], None] | None
        completed = getattr(self.wrappedProtocol, "handshakeCompleted", None)
        if completed is not None:
            completed()
        self._answer(self.wrappedProtocol)

    def _over(self, reason: Failure) -> None:
        inner = self.wrappedProtocol
        # It has us for its transport: a circle that only the collector would find, in time
        # for some megabytes of OpenSSL's, of which the collector knows nothing.
        self.wrappedProtocol = _GONE
        inner.connectionLost(reason)
        self._ended = reason
        self._answer(reason)

    def _answer(self, result: IProtocol | Failure) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(cast(IProtocol, result))

    def _tell(self, what: str) -> bool:
        """Tell of the end of one direction; give whether the inner protocol listens."""
        if not IHalfCloseableProtocol.providedBy(self.wrappedProtocol):
            return False
        getattr(self.wrappedProtocol, what)()
        return True

    # -- from below -----------------------------------------------------------

    def readConnectionLost(self) -> None:
        """The peer's FIN came."""
        if not self._tell("readConnectionLost"):
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Everything that we sent is out, the FIN too."""
        self._tell("writeConnectionLost")

    # -- from above -----------------------------------------------------------

    def send(self, data: bytes, later: bool = False) -> bool:
        """Send ``data``; give whether the kernel has taken it all."""
        return self._sender.send(data, later)

    def write(self, data: bytes) -> None:
        """Send ``data``; dropped once our side has ended."""
        self.send(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces."""
        self.send(b"".join(data))

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Ask for back-pressure."""
        self._below.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Ask for none."""
        self._below.unregisterProducer()

    def pauseProducing(self) -> None:
        """Read no more."""
        self._below.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._below.resumeProducing()

    def stopProducing(self) -> None:
        """End."""
        self.loseConnection()

    def loseWriteConnection(self) -> None:
        """Flush, then close our direction."""
        self._below.loseWriteConnection()

    def loseConnection(self) -> None:
        """Flush, then close both directions."""
        self._below.loseConnection()

    def abortConnection(self) -> None:
        """Reset."""
        self._below.abortConnection()

    def getHost(self) -> IAddress:
        """Our address."""
        return cast(ITransport, self.transport).getHost()

    def getPeer(self) -> IAddress:
        """The peer's address."""
        return cast(ITransport, self.transport).getPeer()
