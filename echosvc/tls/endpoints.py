"""Endpoints that speak TLS over any other endpoint."""

from __future__ import annotations

import socket
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
from zope.interface import directlyProvides, implementer

from echosvc.net.acceptor import Builder, IAdmittingFactory, Limits
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
        self._admitting: Any = IAdmittingFactory(factory, None)
        if self._admitting is not None:
            directlyProvides(self, IAdmittingFactory)

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

    # -- as IAdmittingFactory, where the wrapped factory is one ----------------

    @property
    def admission(self) -> Limits:
        """As the wrapped factory's."""
        return cast(Limits, self._admitting.admission)

    def tune(self, handle: socket.SocketType) -> None:
        """Set the options that the wrapped factory wants."""
        self._admitting.tune(handle)

    def build_outer(self, addr: IAddress | None, build: Builder) -> Any:
        """As the wrapped factory's."""
        return self._admitting.build_outer(addr, build)

    def build_if_admitted(self, addr: IAddress | None) -> Any:
        """Return TLS around a connection of the wrapped factory; ``None``: it is refused."""
        build = self.wrappedFactory.buildProtocol
        if self._admitting is not None:
            build = self._admitting.build_if_admitted  # which may be TLS again
        inner = build(cast(IPv4Address, addr))
        if inner is None:
            return None
        return TLSTransport(inner, self.begin, self.verify, self.is_client)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return what reads from the socket: TLS, or what reads a PROXY header before it."""
        if self._admitting is None:
            return self.build_if_admitted(addr)
        return self.build_outer(addr, self.build_if_admitted)

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
