"""TLS endpoints over any other endpoint."""

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
from echosvc.tls.context import ServerTLSContext
from echosvc.tls.identity import verify_names_readable, with_verification
from echosvc.tls.transport import TLSTransport


class TLSFactory(ClientFactory):
    """Builds TLS transports for the protocols of another factory.

    :param creator: makes OpenSSL's side of each connection, for instance
        ``CertificateOptions`` or the result of ``optionsForClientTLS``.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory, creator: object, is_client: bool) -> None:
        self.wrappedFactory = factory
        self.is_client = is_client
        self._creator: Any = with_verification(creator) if is_client else creator
        self._admitting: Any = IAdmittingFactory(factory, None)
        if self._admitting is not None:
            directlyProvides(self, IAdmittingFactory)

    def begin(self, transport: TLSTransport) -> SSL.Connection:
        """Return OpenSSL's side of one connection."""
        if self.is_client:
            connection: SSL.Connection = self._creator.clientConnectionForTLS(transport)
            connection.set_connect_state()
        else:
            connection = self._creator.serverConnectionForTLS(transport)
            connection.set_accept_state()
        return connection

    def verify(self, connection: SSL.Connection) -> None:
        """Verify the peer of a completed handshake.

        A client's creator may do so by a method ``verify_server(connection)``. A server has
        verified its client in the handshake.

        :raises Exception: the peer is refused.
        """
        if self.is_client:
            getattr(self._creator, "verify_server", verify_names_readable)(connection)

    # -- as IAdmittingFactory, where the wrapped factory is one ----------------

    @property
    def admission(self) -> Limits:
        """As the wrapped factory's."""
        return cast(Limits, self._admitting.admission)

    def tune(self, handle: socket.SocketType) -> None:
        """Set the options of the wrapped factory."""
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
        transport = TLSTransport(inner, self.begin, self.verify, self.is_client)
        transport.factory = self  # Twisted's creators look there for protocols to offer by ALPN
        return transport

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return what reads from the socket: TLS, or what reads a PROXY header before it."""
        if self._admitting is None:
            return self.build_if_admitted(addr)
        return self.build_outer(addr, self.build_if_admitted)

    def doStart(self) -> None:
        """Notify the wrapped factory that a listener has opened."""
        self.wrappedFactory.doStart()

    def doStop(self) -> None:
        """Notify the wrapped factory that a listener has closed."""
        self.wrappedFactory.doStop()


@implementer(IStreamServerEndpoint)
class TLSListener:
    """A TLS listener over any other endpoint, which may be a TLS listener itself.

    :param creator: makes OpenSSL's side of each connection, for instance the result of
        ``server_certificate`` or Twisted's ``CertificateOptions``.
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
        """The creator that it was made with."""
        return self._creator

    @property
    def below(self) -> IStreamServerEndpoint:
        """The endpoint that it was made over."""
        return self._endpoint

    @property
    def reloads(self) -> tuple[Callable[[], None], ...]:
        """The functions that reload the certificates, of TLS endpoints below this one too.

        Each raises ``OSError`` or :class:`~echosvc.net.errors.ReloadError`.
        """
        own = (self._creator.reload,) if isinstance(self._creator, ServerTLSContext) else ()
        return (*own, *getattr(self._endpoint, "reloads", ()))

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; the Deferred fails as the endpoint below does."""
        return self._endpoint.listen(TLSFactory(protocolFactory, self._creator, is_client=False))


@implementer(IStreamClientEndpoint)
class TLSConnector:
    """A TLS client endpoint over any other endpoint, which may use TLS itself.

    Whatever ``creator`` is, the name that it was made for is verified before a byte of the
    application is exchanged. A creator that wraps one of Twisted's may verify by a method
    ``verify_server(connection)``, which raises to refuse the server.

    :param creator: makes OpenSSL's side of each connection, for instance the result of
        ``optionsForClientTLS("example.com")``.
    :param timeout: seconds that the handshake may take.
    :ivar endpoint: the endpoint below.
    :raises ValueError: no certificate can be for the host of ``creator``.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        creator: IOpenSSLClientConnectionCreator,
        timeout: float = 30.0,
    ) -> None:
        self._reactor = reactor
        self.endpoint = endpoint
        self._creator = with_verification(creator)
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect and complete the handshake; fails with :class:`TLSError` if that fails."""

        def connected(transport: IProtocol) -> Deferred[IProtocol]:
            return (
                cast(TLSTransport, transport).when_ready().addTimeout(self._timeout, self._reactor)
            )

        factory = TLSFactory(protocolFactory, self._creator, is_client=True)
        return self.endpoint.connect(factory).addCallback(connected)
