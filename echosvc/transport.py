"""What this package asks of a transport."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IAddress, IProducer


class Transport(Protocol):
    """What this package uses of a Twisted stream transport."""

    def write(self, data: bytes) -> None:
        """Queue ``data``."""

    def loseConnection(self) -> None:
        """Flush, then close both directions."""

    def loseWriteConnection(self) -> None:
        """Flush, then close our direction; not on Twisted's own TLS."""

    def abortConnection(self) -> None:
        """Reset."""

    def pauseProducing(self) -> None:
        """Read no more."""

    def resumeProducing(self) -> None:
        """Read again."""

    def getHost(self) -> IAddress:
        """Our address."""

    def getPeer(self) -> IAddress:
        """The peer's address."""

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Ask for back-pressure."""

    def unregisterProducer(self) -> None:
        """Ask for none."""


class Layer:
    """A transport over another one, such as TLS, that half-closes and sends at once.

    :ivar ready: bytes can be exchanged. ``handshakeCompleted`` of its protocol is
        called when that becomes so.
    :ivar cut: the peer's end of the stream may be somebody else's doing.
    :ivar holding: it may have read what it has not delivered, because of a pause.
    """

    ready = False
    cut = False
    holding = False

    def deliver(self) -> None:
        """Deliver what was read already, and read no more."""

    def send(self, data: bytes, later: bool = False) -> bool:
        """As :meth:`echosvc.flow.Sender.send`."""
        raise NotImplementedError
