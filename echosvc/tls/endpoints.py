"""Endpoints that speak TLS over any other endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ClientFactory
from zope.interface import implementer

from echosvc.tls.context import ServerTLS
from echosvc.tls.identity import verify_readable, verifying
from echosvc.tls.transport import TLSTransport


class TLSFactory(ClientFactory):
    """Puts TLS around the protocols of another factory.

    :param creator: makes OpenSSL's side of each connection, for instance
        ``CertificateOptions`` or what ``optionsForClientTLS`` gives.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory, creator: object, is_client: bool) -> None:
        self.wrappedFactory = factory
        self.is_client = is_client
        self._creator: Any = verifying(creator) if is_client else creator

    def begin(self, transport: TLSTransport) -> SSL.Connection:
        """Make OpenSSL's side of one connection."""
        if self.is_client:
            connection: SSL.Connection = self._creator.clientConnectionForTLS(transport)
            connection.set_connect_state()
        else:
            connection = self._creator.serverConnectionForTLS(transport)
            connection.set_accept_state()
        return connection

    def verify(self, connection: SSL.Connection) -> None:
        """Return if the other end of a completed handshake is who it should be.

        A client's creator may decide by a method ``verify_server(connection)``. A server's
        demands were met in the handshake.

        :raises Exception: it is not.
        """
        if self.is_client:
            getattr(self._creator, "verify_server", verify_readable)(connection)

    @property
    def home(self) -> Any:
        """The factory whose limits hold; ``None`` where it is none of ours."""
        return getattr(self.wrappedFactory, "home", None)

    def admitted(self, addr: IAddress | None) -> Any:
        """Build what comes behind the PROXY header, if the client may come in."""
        return self._build(addr)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Build what stands on the socket: TLS, or what reads the PROXY header before it."""
        return self._build(addr) if self.home is None else self.home.first(addr, self._build)

    def _build(self, addr: IAddress | None) -> Any:
        """Build the inner protocol and its transport."""
        # Of one of ours, what comes behind the PROXY header; that may be TLS again.
        factory = self.wrappedFactory
        inner = getattr(factory, "admitted", factory.buildProtocol)(cast(IPv4Address, addr))
        if inner is None:
            return None
        return TLSTransport(inner, self.begin, self.verify, self.is_client)

    def doStart(self) -> None:
        """A listener has opened."""
        self.wrappedFactory.doStart()

    def doStop(self) -> None:
        """A listener has closed."""
        self.wrappedFactory.doStop()


@implementer(IStreamServerEndpoint)
class TLSListener:
    """Listen for TLS over any other endpoint, which may speak TLS itself.

    :param creator: the certificate, e.g. ``twisted.internet.ssl.CertificateOptions``.
    """

    def __init__(
        self, endpoint: IStreamServerEndpoint, creator: IOpenSSLServerConnectionCreator
    ) -> None:
        self._endpoint = endpoint
        self._creator = creator

    def __str__(self) -> str:
        return str(self._endpoint)

    @property
    def creator(self) -> Any:
        """What it was made with."""
        return self._creator

    @property
    def reloads(self) -> tuple[Callable[[], None], ...]:
        """What reads the certificates anew, also those of TLS below this one.

        Each raises ``OSError`` or :class:`~echosvc.net.errors.ReloadError`.
        """
        own = (self._creator.reload,) if isinstance(self._creator, ServerTLS) else ()
        return (*own, *getattr(self._endpoint, "reloads", ()))

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; fails as the endpoint below does."""
        return self._endpoint.listen(TLSFactory(protocolFactory, self._creator, is_client=False))


@implementer(IStreamClientEndpoint)
class TLSConnector:
    """Connect by TLS over any other endpoint, which may speak TLS itself.

    Whatever ``creator`` is, the name that it was made for is verified before a byte of the
    application is exchanged. A creator that wraps one of Twisted's may say whom it believes
    by a method ``verify_server(connection)``, which raises to refuse.

    :param creator: whom to trust, e.g. ``optionsForClientTLS("example.com")``.
    :param timeout: seconds that the handshake may take.
    :raises ValueError: it is for a host that no certificate can be for.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        creator: IOpenSSLClientConnectionCreator,
        timeout: float = 30.0,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._creator = verifying(creator)
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect and shake hands; fails with :class:`TLSError` where that fails."""

        def connected(transport: IProtocol) -> Deferred[IProtocol]:
            return (
                cast(TLSTransport, transport).when_ready().addTimeout(self._timeout, self._reactor)
            )

        factory = TLSFactory(protocolFactory, self._creator, is_client=True)
        return self._endpoint.connect(factory).addCallback(connected)
