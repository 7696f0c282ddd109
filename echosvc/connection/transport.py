"""What this package asks of a transport, and what it does where one lacks it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.error import ConnectionAborted, ProcessExitedAlready
from twisted.internet.interfaces import IAddress, IProducer
from twisted.python.failure import Failure


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

    def abortConnection(self) -> None:
        """Reset the connection below."""
        raise NotImplementedError

    def send(self, data: bytes, later: bool = False) -> bool:
        """As :meth:`echosvc.connection.flow.Sender.send`."""
        raise NotImplementedError


#: What ``ITransport`` does not ask for, and can be left out where it is missing.
_OPTIONAL = ("pauseProducing", "resumeProducing", "registerProducer", "unregisterProducer")


class _CompletedTransport:
    """A transport that lacks some of the methods that :class:`Transport` lists.

    Without them there is no flow control: the methods do nothing.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        if name in _OPTIONAL:
            return getattr(self._transport, name, _do_nothing)
        return getattr(self._transport, name)


def _do_nothing(*_: object) -> None:
    """Stand for a method that a transport lacks."""


def completed(transport: Any) -> Any:
    """Return ``transport``, with methods for flow control where it has none."""
    has_all = all(hasattr(transport, name) for name in _OPTIONAL)
    return transport if has_all else _CompletedTransport(transport)


def abort_transport(transport: Any) -> bool:
    """End any transport now.

    Only TCP, UNIX and TLS transports have ``abortConnection`` (``ITCPTransport``). Of others
    what is queued is dropped where that is possible: a process is killed, and standard input
    and output are neither read nor written any more. Twisted leaves their descriptors open.

    :return: whether the transport will tell its protocol that the connection is lost. Where
        not, it may have done so already, or never do it: the caller counts it as lost.
    """
    if hasattr(transport, "abortConnection"):
        transport.abortConnection()
        return True
    if hasattr(transport, "unregisterProducer"):  # one that is paused would keep it open
        transport.unregisterProducer()
    transport.loseConnection()
    if hasattr(transport, "signalProcess"):
        with suppress(ProcessExitedAlready):
            transport.signalProcess("KILL")
    elif hasattr(transport, "childConnectionLost"):  # StandardIO
        transport.connectionLost(Failure(ConnectionAborted()))
    return False
