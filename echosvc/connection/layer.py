"""The base of a transport that stands over another transport, such as TLS."""

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

from echosvc.connection.sender import Sender, Transport, find_socket_transport, make_sender

_GONE = Protocol()


@implementer(IHalfCloseableProtocol, ITransport)
class LayerTransport(Protocol, Sender):
    """A protocol on one transport, and the transport of another protocol, which half-closes.

    It is the :class:`~echosvc.connection.sender.Sender` of its inner protocol, so that what that
    sends reaches the kernel at once. The inner protocol's ``connectionMade`` is called at once,
    its ``handshakeCompleted``, if it has one, when bytes can be exchanged.

    A subclass calls :meth:`attach` first in its ``connectionMade``, then
    :meth:`handshake_done`, and :meth:`lost` in its ``connectionLost``.

    :ivar ready: bytes can be exchanged.
    :ivar unclean_eof: the stream ended without the peer's authentic end.
    :ivar undelivered: this layer has read bytes that a pause keeps from being delivered.
    :ivar below: the transport below.
    """

    half_closes = True
    ready = False
    unclean_eof = False
    undelivered = False

    below: Transport
    below_sender: Sender

    def __init__(self, inner: IProtocol) -> None:
        super().__init__(None)
        self.wrappedProtocol = inner
        self._waiters: list[Deferred[IProtocol]] = []
        self._lost_reason: Failure | None = None

    def when_ready(self) -> Deferred[IProtocol]:
        """Fire with the inner protocol once bytes can be exchanged; fail if never.

        Cancelling it ends the connection.
        """
        waiter: Deferred[IProtocol] = Deferred(lambda _: self.abortConnection())
        self._waiters.append(waiter)
        if self._lost_reason is not None:
            self._fire_waiters(self._lost_reason)
        elif self.ready:
            self._fire_waiters(self.wrappedProtocol)
        return waiter

    # -- for subclasses -------------------------------------------------------

    def attach(self) -> None:
        """Take the transport below."""
        self.below = cast(Transport, self.transport)
        self.below_sender = make_sender(self.below)
        self._socket_transport = find_socket_transport(self.below)

    def handshake_done(self) -> None:
        """Let the inner protocol exchange bytes."""
        self.ready = True
        completed: Callable[[], None] | None
        completed = getattr(self.wrappedProtocol, "handshakeCompleted", None)
        if completed is not None:
            completed()
        self._fire_waiters(self.wrappedProtocol)

    def lost(self, reason: Failure) -> None:
        """Pass on that the connection is gone."""
        inner = self.wrappedProtocol
        # Its transport is this layer: a reference cycle that only the collector would find, in
        # time for megabytes of OpenSSL's memory, of which the collector knows nothing.
        self.wrappedProtocol = _GONE
        inner.connectionLost(reason)
        self._lost_reason = reason
        self._fire_waiters(reason)

    def notify_half_close(self, method: str) -> bool:
        """Pass on the end of one direction; return whether the inner protocol is interested.

        :param method: of ``IHalfCloseableProtocol``.
        """
        if not IHalfCloseableProtocol.providedBy(self.wrappedProtocol):
            return False
        getattr(self.wrappedProtocol, method)()
        return True

    def _fire_waiters(self, result: IProtocol | Failure) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(cast(IProtocol, result))

    # -- as the sender of the inner protocol ----------------------------------

    @property
    def has_undelivered(self) -> bool:
        """Whether this layer, or one below it, has read what is not delivered yet."""
        return self.undelivered or self.below_sender.has_undelivered

    def send(self, data: bytes, defer: bool = False) -> bool:
        """Send ``data``; return whether the kernel has taken it all."""
        return self.below_sender.send(data, defer)

    def is_disconnecting(self) -> bool:
        """Return ``False``: a layer reports the peer's end."""
        return False

    def abort(self) -> bool:
        """Reset the connection below."""
        self.abortConnection()
        return True

    # -- called by the transport below -----------------------------------------------------------

    def readConnectionLost(self) -> None:
        """Pass the peer's FIN on; close where the inner protocol is not half-closeable."""
        if not self.notify_half_close("readConnectionLost"):
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Notify the inner protocol that everything was sent, our FIN too."""
        self.notify_half_close("writeConnectionLost")

    # -- as the transport of the inner protocol -----------------------------------

    def write(self, data: bytes) -> None:
        """Send ``data``; dropped once our side has ended."""
        self.send(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces."""
        self.send(b"".join(data))

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Ask for back-pressure: ``producer`` is paused while much is queued."""
        self.below.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Ask for back-pressure no more."""
        self.below.unregisterProducer()

    def pauseProducing(self) -> None:
        """Read no more."""
        self.below.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self.below.resumeProducing()

    def stopProducing(self) -> None:
        """End."""
        self.loseConnection()

    def loseWriteConnection(self) -> None:
        """Flush, then close our direction."""
        self.below.loseWriteConnection()

    def loseConnection(self) -> None:
        """Flush, then close both directions."""
        self.below.loseConnection()

    def abortConnection(self) -> None:
        """Reset."""
        self.below.abortConnection()

    def getHost(self) -> IAddress:
        """Return our address."""
        return cast(ITransport, self.transport).getHost()

    def getPeer(self) -> IAddress:
        """Return the peer's address."""
        return cast(ITransport, self.transport).getPeer()
