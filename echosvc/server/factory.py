"""The factory of a server: it builds the protocols of the connections that are admitted."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from zope.interface import implementer

from echosvc.config.schema import Config, ServerSettings
from echosvc.config.settings import ConfigError
from echosvc.net.acceptor import IAdmittingFactory
from echosvc.net.socket_options import tune
from echosvc.server.gateway_api import GatewayAPIProtocol
from echosvc.server.protocol import EchoProtocol
from echosvc.server.proxy_gate import ProtocolBuilder, ProxyHeaderProtocol
from echosvc.server.state import ServerState

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11

    from echosvc.faults.injector import FaultInjector
    from echosvc.faults.pair import RelaySide


@implementer(IAdmittingFactory)
class EchoFactory(ServerState, Factory):
    """A whole server: ``endpoint.listen(EchoFactory(prefix=b"> "))``.

    :param clock: what the connections' deadlines run on; ``None`` = the reactor that
        is installed when the first connection comes.
    :param on_connect: called with each connection that starts (Node's
        ``connectionListener``).
    :param injector: faults on purpose, for tests of clients.
    :param config: the settings as one object, in place of ``settings``.
    :param settings: the fields of :class:`~echosvc.config.schema.Config`.
    :raises ConfigError: a wrong value.
    :raises TypeError: an unknown setting, or settings and ``config``.
    :ivar protocol: the class of the connections; a subclass of :class:`EchoProtocol`.
    """

    noisy = False
    protocol: type[EchoProtocol] = EchoProtocol  # type: ignore[assignment]

    def __init__(
        self,
        *,
        clock: IReactorTime | None = None,
        on_connect: Callable[[EchoProtocol], object] | None = None,
        injector: FaultInjector | None = None,
        config: Config | None = None,
        **settings: Unpack[ServerSettings],
    ) -> None:
        if config is not None and settings:
            raise TypeError("config and settings exclude each other")
        super().__init__(config or Config(**settings), clock, on_connect)
        self.injector = injector
        if self.config.dialect == "gateway-api":
            self._speak_gateway_api()
        self._no_proxy = self.config.proxy_protocol == "off"

    def _speak_gateway_api(self) -> None:
        if self.protocol is not EchoProtocol:
            raise ConfigError("dialect", "is of no use: the factory has a protocol of its own")
        self.protocol = GatewayAPIProtocol

    @property
    def connections(self) -> tuple[EchoProtocol, ...]:
        """The live connections, the oldest first."""
        return cast(tuple[EchoProtocol, ...], super().connections)

    def startFactory(self) -> None:
        """Note that the first listener has opened."""
        self.stopped = False

    def stopFactory(self) -> None:
        """Note that no listener is left, and flush the log.

        Connections may be left: the last of them leaves no timer.
        """
        self.stopped = True
        self.events.flush()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Build the protocol of a connection right on its socket, if it is admitted."""
        build = self.build_if_admitted
        return build(addr) if self._no_proxy else self.build_outer(addr, build)

    def tune(self, handle: socket.SocketType) -> None:
        """Set the options that every connection's socket is to have."""
        tune(handle, self.config.nagle, self.config.keep_alive, self.config.stall_timeout)

    def build_outer(self, addr: IAddress | None, build: ProtocolBuilder) -> Any:
        """Build what stands right on a socket: what reads a PROXY header, or ``build``'s."""
        if self._no_proxy:
            return build(addr)
        if not self.admission.admits_proxy(addr):
            return None
        return ProxyHeaderProtocol(self.pending_proxy, build)

    def build_if_admitted(self, addr: IAddress | None) -> Any:
        """Build the protocol of a connection, if the client is admitted."""
        if not self.admission.admits(addr):
            return None
        protocol = self.protocol()
        protocol.factory = self
        return protocol if self.injector is None else self._inject(self.injector, addr, protocol)

    def _inject(
        self, injector: FaultInjector, addr: IAddress | None, protocol: EchoProtocol
    ) -> RelaySide | None:
        from echosvc.server.injection import inject

        return None if injector.is_own(addr) else inject(injector, addr, protocol)
