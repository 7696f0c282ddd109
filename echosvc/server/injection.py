"""A server with faults on purpose: a relay of faults in its own process, before each connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from echosvc.connection.pipe import connect_pipe
from echosvc.faults.engine import FaultEvent
from echosvc.faults.injector import FaultInjector
from echosvc.faults.observer import RelayObserver
from echosvc.faults.pair import RelaySide
from echosvc.server.events import EventLog


@implementer(IStreamClientEndpoint)
class _OwnServer:
    """Connects the relay to a protocol of this process.

    :ivar client: the relay's connection of the client.
    """

    client: RelaySide

    def __init__(self, reactor: Any, protocol: IProtocol) -> None:
        self._reactor, self._protocol = reactor, protocol

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect at once."""
        side: Any = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        connect_pipe(self._reactor, side, self._protocol, self.client.transport)
        return succeed(side)


def inject(injector: FaultInjector, addr: IAddress | None, protocol: IProtocol) -> RelaySide:
    """Return the protocol of a client that is served by another one, through the faults."""
    server = _OwnServer(injector.reactor, protocol)
    server.client = injector.build(addr, server)
    return server.client


class FaultLog(RelayObserver):
    """Logs the faults of a server.

    :param events: its log.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events

    def happened(self, event: FaultEvent) -> None:
        """Log a fault that has happened."""
        if self._events.connections:
            self._events.fault(event)
