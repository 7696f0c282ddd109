"""A client endpoint that sends a PROXY header first, as a proxy does.

:mod:`echosvc.wire.proxy_header` encodes the header.
"""

from __future__ import annotations

from contextvars import ContextVar
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

from echosvc.net.addresses import address_to_header
from echosvc.wire.proxy_header import encode_header

#: Interfaces of protocols that are notified of more than bytes.
_PROTOCOL_INTERFACES = (IHalfCloseableProtocol, IHandshakeListener, IFileDescriptorReceiver)

_Addresses = tuple[IAddress, IAddress]
#: Of a relay that connects to a server: the address of its client, and the one that the client has
#: connected to. Read when ``connect`` is called.
PROXIED: ContextVar[_Addresses | None] = ContextVar("PROXIED", default=None)


@implementer(IStreamClientEndpoint)
class ProxyingEndpoint:
    """Connect by another endpoint, and send a PROXY header before anything else.

    The header holds the addresses in :data:`PROXIED`, or else the connection's own two, as if a
    proxy had them from its client.
    On a UNIX socket there are none (``UNKNOWN``, ``LOCAL``). To send the header before the TLS
    handshake, put this below TLS:
    ``TLSConnector(reactor, ProxyingEndpoint(endpoint, 2), creator)``.

    :param version: 1 or 2.
    :ivar endpoint: the endpoint below.
    :raises ValueError: another version.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, version: int) -> None:
        if version not in (1, 2):
            raise ValueError(f"the PROXY protocol has versions 1 and 2, not {version!r}")
        self.endpoint = endpoint
        self._version = version

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; the Deferred fails as the other endpoint's does."""

        def connected(header_protocol: Any) -> IProtocol:
            inner: IProtocol = header_protocol.inner
            return inner

        return self.endpoint.connect(
            _HeaderFactory(protocolFactory, self._version, PROXIED.get())
        ).addCallback(connected)


class _HeaderFactory(ClientFactory):
    """Builds the protocols that send the header for those of another factory."""

    noisy = False

    def __init__(self, factory: IProtocolFactory, version: int, proxied: _Addresses | None) -> None:
        self._factory = factory
        self._version, self._proxied = version, proxied

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return a :class:`_HeaderProtocol` for the inner factory's protocol."""
        inner = self._factory.buildProtocol(addr)  # type: ignore[arg-type]
        return None if inner is None else _HeaderProtocol(inner, self._version, self._proxied)

    def doStart(self) -> None:
        """Pass the start of an attempt on."""
        self._factory.doStart()

    def doStop(self) -> None:
        """Pass the end of an attempt on."""
        self._factory.doStop()


class _HeaderProtocol(Protocol):
    """Sends the header, and passes every event on. The inner protocol has the real transport."""

    def __init__(self, inner: Any, version: int, proxied: _Addresses | None) -> None:
        self.inner = inner
        self._version, self._proxied = version, proxied
        directlyProvides(self, [each for each in _PROTOCOL_INTERFACES if each.providedBy(inner)])

    def connectionMade(self) -> None:
        """Send the header before the inner protocol can send anything."""
        transport: Any = self.transport
        ends = self._proxied or (transport.getHost(), transport.getPeer())
        source, destination = map(address_to_header, ends)
        transport.write(encode_header(self._version, source, destination))
        self.inner.makeConnection(transport)

    def logPrefix(self) -> str:
        """Return the inner protocol's name for Twisted's log."""
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
