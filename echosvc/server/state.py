"""What the connections of one server share: settings, timers, limits, log, counters."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from echosvc.config.schema import Config
from echosvc.connection.connection import Connection
from echosvc.connection.outcome import Outcome
from echosvc.connection.scheduler import DeadlineScheduler
from echosvc.connection.timeouts import MIN_LINGER
from echosvc.net.addresses import address_of, format_address
from echosvc.net.errors import TLSError
from echosvc.net.stream import ReplyBuffer
from echosvc.server.admission import Admission
from echosvc.server.events import EventLog
from echosvc.server.proxy_gate import PendingProxyConnections
from echosvc.wire.template import Template


class ServerState:
    """The state of one server, without what builds its connections.

    :param config: the settings.
    :param clock: what the deadlines run on; ``None`` = the reactor that is installed when the
        first connection comes.
    :param on_connect: called with each connection that starts.
    :ivar timers: schedules the deadlines of the connections.
    :ivar events: writes the log.
    :ivar admission: decides which clients are served.
    :ivar pending_proxy: connections whose PROXY header is not there yet.
    :ivar accepted: connections made so far.
    :ivar ready: the server wants new clients; ``False`` once it drains, while it may still accept.
    :ivar is_plain_echo: the settings allow the fast path.
    """

    def __init__(
        self,
        config: Config,
        clock: IReactorTime | None = None,
        on_connect: Callable[[Any], object] | None = None,
    ) -> None:
        self.config = config
        self.prefix = config.prefix_template()
        self.greeting = config.greeting_template()
        self.is_plain_echo = config.plain
        self.on_connect = on_connect
        self.timers: DeadlineScheduler[Connection] = DeadlineScheduler(
            clock, [*config.timeouts(), MIN_LINGER], config.idle_timeout
        )
        self.events = EventLog(config.log, self.timers.call_later)
        self.admission = Admission(config, self.events)
        self.pending_proxy = PendingProxyConnections(
            self.admission, clock, config.handshake_timeout, self.notify_idle
        )
        self.accepted = 0
        self.ready = False
        self.stopped = False  # all listeners have closed
        self._ended_in = self._ended_out = 0
        self._idle_waiters: list[Deferred[None]] = []
        self._reply_buffer: ReplyBuffer | None = None  # made for the first connection that uses it

    # -- figures --------------------------------------------------------------

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The live connections, the oldest first."""
        return tuple(self.timers.items)

    @property
    def count(self) -> int:
        """How many connections live (Node's ``getConnections``)."""
        return len(self.timers.items)

    @property
    def bytes_in(self) -> int:
        """Bytes read on all connections, ended ones included."""
        return self._ended_in + sum(each.bytes_in for each in self.timers.items)

    @property
    def bytes_out(self) -> int:
        """Bytes accepted for sending on all connections, ended ones included."""
        return self._ended_out + sum(each.bytes_out for each in self.timers.items)

    def connection_opened(self, connection: Connection) -> int:
        """Count a connection; return its ordinal."""
        self.accepted += 1
        self.admission.opened(connection)
        return self.accepted

    def connection_closed(self, connection: Connection) -> None:
        """Count a connection that is gone."""
        self._ended_in += connection.bytes_in
        self._ended_out += connection.bytes_out
        self.admission.closed(connection)

    # -- the log --------------------------------------------------------------

    def log_opened(self, connection: Connection) -> None:
        """Log that a connection can exchange bytes."""
        local, remote = _local(connection), connection.remote
        self.events.connected(local, remote, connection.tls_version, connection.tls_peer)

    def log_closed(
        self, connection: Connection, outcome: Outcome, reason: Failure, opened: bool
    ) -> None:
        """Log that a connection is gone, and why if it broke."""
        remote = connection.remote
        if outcome is Outcome.RESET or (not opened and reason.check(TLSError)):
            self.events.socket_error(remote, reason.getErrorMessage())
        elif outcome is Outcome.HANDSHAKE and reason.check(ConnectionAborted):
            limit = f"TLS: no handshake within {self.config.handshake_timeout:g} s"
            self.events.socket_error(remote, limit)
        bytes_in, bytes_out = connection.bytes_in, connection.bytes_out
        age, remaining = connection.age, self.count
        self.events.disconnected(remote, outcome, bytes_in, bytes_out, age, remaining)

    # -- prefix and greeting --------------------------------------------------

    def bind_prefix(self, connection: Connection, number: int) -> bytes | Template:
        """Return the prefix of one connection: bytes, unless it depends on the message."""
        constant = self.prefix.constant
        if constant is not None:
            return constant
        bound = _bind(self.prefix, connection, number)
        return bound if bound.constant is None else bound.constant

    def greeting_for(self, connection: Connection, number: int) -> bytes:
        """Return what a connection sends first; ``b""`` for nothing."""
        if self.greeting is None:
            return b""
        return _bind(self.greeting, connection, number).render(0)

    def reply_buffer(self, prefix: bytes) -> ReplyBuffer | None:
        """Return the buffer for replies with this prefix, if all connections have the same."""
        if prefix != self.prefix.constant:
            return None
        if self._reply_buffer is None or self._reply_buffer.prefix != prefix:
            self._reply_buffer = ReplyBuffer(prefix)
        return self._reply_buffer

    # -- the end --------------------------------------------------------------

    def when_idle(self) -> Deferred[None]:
        """Fire when no connection lives. Cancelling it stops the waiting only."""
        waiter: Deferred[None] = Deferred(self._idle_waiters.remove)
        self._idle_waiters.append(waiter)
        self.notify_idle()
        return waiter

    def notify_idle(self) -> None:
        """Fire the waiters, if no connection lives and the last has reported its end."""
        if self.busy:
            return
        if self.stopped:
            self.events.flush()
        while self._idle_waiters and not self.busy:
            self._idle_waiters.pop(0).callback(None)

    @property
    def busy(self) -> bool:
        """Whether a connection lives, or waits for its PROXY header."""
        return bool(self.timers.items) or len(self.pending_proxy) > 0

    def end_all(self) -> None:
        """End every live connection politely, with the outcome ``drained``."""
        self.pending_proxy.refuse_all("the service stops")
        for connection in self.connections:
            connection.close_with(Outcome.DRAINED)

    def abort_all(self) -> None:
        """End every live connection now."""
        self.pending_proxy.refuse_all("the service stops")
        for connection in self.connections:
            connection.abort_with(Outcome.ABORTED)


def _bind(template: Template, connection: Connection, number: int) -> Template:
    """Return a template with the fields of one connection filled in."""
    if template.constant is not None:
        return template
    values = {"hostname": socket.gethostname(), "pid": str(os.getpid())}
    values |= {"local": _local(connection), "peer": connection.remote}
    values |= {"tls_version": connection.tls_version, "tls_peer": connection.tls_peer}
    return template.bind(values | {"connection": str(number)})


def _local(connection: Connection) -> str:
    """Return our side's address. ``connection.local`` would keep it, at 300 bytes each."""
    return format_address(address_of(connection.transport, "getHost"))
