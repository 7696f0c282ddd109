"""An endpoint that sends a PROXY header first, as a proxy does.

:mod:`echosvc.wire.proxy_header` makes the header.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer

from echosvc.net.addresses import header_address
from echosvc.wire.proxy_header import build

#: What a protocol may want to hear of besides its bytes.
_LISTENERS = (IHalfCloseableProtocol, IHandshakeListener, IFileDescriptorReceiver)


@implementer(IStreamClientEndpoint)
class ProxyingEndpoint:
    """Connect as another endpoint does, and send a PROXY header before all else.

    It holds the connection's own two addresses: what a proxy sends for a client that has
    the same. On a UNIX socket there are none (UNKNOWN, LOCAL). For a header before TLS,
    put this below TLS: ``TLSConnector(reactor, ProxyingEndpoint(endpoint, 2), creator)``.

    :param version: 1 or 2.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, version: int) -> None:
        if version not in (1, 2):
            raise ValueError(f"the PROXY protocol has versions 1 and 2, not {version!r}")
        self._endpoint = endpoint
        self._version = version

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fails as the endpoint below does."""

        def connected(announcing: Any) -> IProtocol:
            inner: IProtocol = announcing.inner
            return inner

        return self._endpoint.connect(_Announcers(protocolFactory, self._version)).addCallback(
            connected
        )


class _Announcers(ClientFactory):
    """Puts the header before what the protocols of another factory send."""

    noisy = False

    def __init__(self, factory: IProtocolFactory, version: int) -> None:
        self._factory = factory
        self._version = version

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Build the inner protocol, and what sends the header for it."""
        inner = self._factory.buildProtocol(addr)  # type: ignore[arg-type]
        return None if inner is None else _Announcing(inner, self._version)

    def doStart(self) -> None:
        """A connection is attempted."""
        self._factory.doStart()

    def doStop(self) -> None:
        """It is over."""
        self._factory.doStop()


class _Announcing(Protocol):
    """Sends the header. The inner protocol has the transport itself, and hears all."""

    def __init__(self, inner: Any, version: int) -> None:
        self.inner = inner
        self._version = version
        directlyProvides(self, [each for each in _LISTENERS if each.providedBy(inner)])

    def connectionMade(self) -> None:
        """Send it, before the inner protocol can send anything."""
        transport: Any = self.transport
        source, destination = (
            header_address(transport.getHost()),
            header_address(transport.getPeer()),
        )
        transport.write(build(self._version, source, destination))
        self.inner.makeConnection(transport)

    def logPrefix(self) -> str:
        """Be called what the inner protocol is."""
        return str(self.inner.logPrefix() if hasattr(self.inner, "logPrefix") else self.inner)

    def dataReceived(self, data: bytes) -> None:
        """Pass it on."""
        self.inner.dataReceived(data)

    def readConnectionLost(self) -> None:
        """Pass it on."""
        self.inner.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Pass it on."""
        self.inner.writeConnectionLost()

    def handshakeCompleted(self) -> None:
        """Pass it on."""
        if hasattr(self.inner, "handshakeCompleted"):
            self.inner.handshakeCompleted()

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """Pass it on."""
        self.inner.fileDescriptorReceived(descriptor)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass it on."""
        self.inner.connectionLost(reason)
