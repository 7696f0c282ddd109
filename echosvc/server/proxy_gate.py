"""Connections from a proxy, until their PROXY header has named the client."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from echosvc.connection.scheduler import DeadlineScheduler
from echosvc.connection.sender import abort_transport
from echosvc.net.addresses import address_from_header, address_of
from echosvc.net.stream import Stream
from echosvc.server.admission import Admission
from echosvc.wire.proxy_header import Header, HeaderParser, ProxyError

#: Builds the protocol that comes next, for a client with this address; ``None`` = the client is
#: refused.
ProtocolBuilder = Callable[[IAddress | None], IProtocol | None]


class PendingProxyConnections:
    """The connections whose header is not there yet. They count in the limit of connections.

    :param admission: counts and refuses them.
    :param clock: what their deadlines run on; ``None`` = the global reactor.
    :param timeout: seconds that a header may take; 0 = any time.
    :param on_change: called when one is gone without a client.
    """

    def __init__(
        self,
        admission: Admission,
        clock: IReactorTime | None,
        timeout: float,
        on_change: Callable[[], None],
    ) -> None:
        self.timeout = timeout
        self._admission = admission
        self._on_change = on_change
        self._timers: DeadlineScheduler[ProxyHeaderProtocol] = DeadlineScheduler(clock, [timeout])

    def __len__(self) -> int:
        return len(self._timers.items)

    def add(self, connection: ProxyHeaderProtocol) -> None:
        """Count one, and set its deadline."""
        if self.timeout:
            connection.due = self._timers.now() + self.timeout
        self._timers.schedule(connection)
        self._admission.open += 1

    def discard(self, connection: ProxyHeaderProtocol) -> None:
        """Count it no more, if it is counted. Waiters are not notified."""
        if connection in self._timers.items:
            self._timers.cancel(connection)
            self._admission.open -= 1

    def lost(self, connection: ProxyHeaderProtocol) -> None:
        """It is gone; its slot is free."""
        self.discard(connection)
        self._admission.notify_waiters()
        self._on_change()

    def refuse(self, address: IAddress | None, why: str) -> None:
        """Count and log that a connection from ``address`` is refused."""
        self._admission.refuse(address, why)

    def client_refused(self) -> None:
        """The client behind the proxy is refused: the slot is free."""
        self._admission.notify_waiters()

    def refuse_all(self, why: str) -> None:
        """Refuse every one."""
        for connection in tuple(self._timers.items):
            connection.refuse(why)


class ProxyHeaderProtocol(Protocol):
    """Reads the header; then the transport is another protocol's, with the client's address.

    It is removed after the header, so half-close works, and the connection costs what it costs
    without a header. Its transport must be the :class:`~echosvc.net.stream.Stream` of the socket.

    :param pending: all such connections.
    :param build: builds the protocol that comes next.
    """

    due = math.inf
    fast_bytes = fast_bytes_seen = 0
    transport: Any

    def __init__(self, pending: PendingProxyConnections, build: ProtocolBuilder) -> None:
        self._pending = pending
        self._build = build
        self._parser = HeaderParser()
        self._done = False  # another protocol has it, or it is refused

    def connectionMade(self) -> None:
        """Wait for the header."""
        self._pending.add(self)
        if not isinstance(self.transport, Stream):  # whose protocol and addresses we can change
            self.refuse("PROXY headers are for listeners of echosvc.endpoints.server_endpoint()")

    def dataReceived(self, data: bytes) -> None:
        """Read the header, and pass on what comes behind it."""
        try:
            header = self._parser.feed(data)
        except ProxyError as error:
            self.refuse(str(error))
            return
        if header is not None:
            self._switch_protocol(header)

    def _switch_protocol(self, header: Header) -> None:
        self._done = True
        stream, source = self.transport, address_from_header(header.source)
        if source is not None:
            stream.peer, stream.host = source, address_from_header(header.destination)
        self._pending.discard(self)
        # A proxy that speaks for itself, as in a health check, is admitted as such.
        protocol = self._build(source)
        if protocol is None:
            stream.abortConnection()
            self._pending.client_refused()
            return
        stream.protocol = protocol
        protocol.makeConnection(stream)
        if self._parser.rest and stream.connected:
            protocol.dataReceived(self._parser.rest)

    def refuse(self, why: str) -> None:
        """Close, and log why."""
        self._done = True
        self._pending.refuse(address_of(self.transport, "getPeer"), why)
        if not abort_transport(self.transport):
            self.connectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Free its slot: it is gone before its header was there.

        Some health checks send nothing at all.
        """
        if self._parser.held and not self._done:
            peer = address_of(self.transport, "getPeer")
            self._pending.refuse(peer, "its PROXY header was cut short")
        self._pending.lost(self)

    # -- as the scheduler sees it ---------------------------------------------

    def activity_seen(self, now: float) -> None:
        """Do nothing: bytes do not move the deadline."""

    def check_deadlines(self, now: float) -> None:  # noqa: ARG002
        """Refuse it: the time is over."""
        self.due = math.inf
        self.refuse(f"no PROXY header within {self._pending.timeout:g} s")

    def unscheduled(self) -> None:
        """Do nothing: it is refused already."""
