"""The log of a server.

Every line is a ``twisted.logger`` event of the namespace ``echosvc`` with its facts
in fields. Nothing that a peer sent stands in one unescaped. Callers look at
:attr:`EventLog.connections` and :attr:`EventLog.messages` first, so that nothing is
computed for a line that is not written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IAddress

from echosvc._log import log
from echosvc._text import escaped
from echosvc.connection.outcome import Outcome
from echosvc.faults.engine import FaultEvent
from echosvc.net.addresses import format_address, format_listener

#: Outcomes of which one client can cause many lines.
_THROTTLED = frozenset((Outcome.HANDSHAKE, Outcome.RESET))
#: Lines of one kind in one period, and its length in seconds.
BURST, PERIOD = 10, 1.0


class Cancellable(Protocol):
    """A scheduled call, as ``callLater`` returns it."""

    def cancel(self) -> None:
        """Do not make it."""


#: ``callLater``: seconds, and what to call then.
CallLater = Callable[[float, Callable[[], None]], Cancellable]


class Throttle:
    """Allows the first lines of each kind in every period, and counts the others.

    The count is reported when the period is over.
    There is a timer only while a line was allowed or suppressed in this period.

    :param call_later: ``callLater``.
    :param on_suppressed: called with the kind and the number of lines that were suppressed.
    """

    def __init__(self, call_later: CallLater, on_suppressed: Callable[[str, int], None]) -> None:
        self._call_later = call_later
        self._on_suppressed = on_suppressed
        self._seen: dict[str, int] = {}
        self._suppressed: dict[str, int] = {}
        self._call: Cancellable | None = None

    def allow(self, kind: str, most: int = BURST) -> bool:
        """Return whether a line of this kind may be written now.

        :param kind: one of a few words, never anything that a peer chooses.
        :param most: so many in a period.
        """
        if self._call is None:
            self._call = self._call_later(PERIOD, self._period_over)
        seen = self._seen.get(kind, 0)
        if seen < most:
            self._seen[kind] = seen + 1
            return True
        self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
        return False

    def flush(self) -> None:
        """Report the counts now; no timer is left."""
        if self._call is not None:
            self._call.cancel()
            self._period_over()

    def _period_over(self) -> None:
        self._call = None
        suppressed, self._suppressed, self._seen = self._suppressed, {}, {}
        for kind, count in suppressed.items():
            self._on_suppressed(kind, count)


class EventLog:
    """The log lines of one server.

    The two lines of a connection, and those of its messages, are written for each one. All others
    that clients can cause are throttled.

    :param level: ``quiet``, ``connections`` or ``messages``.
    :param call_later: ``callLater``, for the counts of suppressed lines.
    :ivar connections: whether the lines of a connection are written.
    :ivar messages: whether the line of a message is written.
    """

    def __init__(self, level: str, call_later: CallLater) -> None:
        self.connections = level != "quiet"
        self.messages = level == "messages"
        self._throttle = Throttle(call_later, self._log_suppressed)

    def listening(self, address: IAddress) -> None:
        """A listener is open; ``address`` has the real port."""
        log.info("Server listening: {address}", address=format_listener(address))

    def unserved(self, index: int, name: str, address: IAddress | None) -> None:
        """A listening socket was passed to the process, and nothing accepts from it."""
        advice = "nothing here can serve it: it is neither TCP nor a UNIX stream"
        if address is not None:
            advice = "its clients are never served; --listen systemd:index={index} serves it"
        log.warn(
            "Inherited socket not served: index = {index} name = {name} address = {address}: "
            + advice,
            index=index,
            name=escaped(name),
            address=format_address(address) if address else "unknown",
        )

    def without_epoll(self) -> None:
        """The system has no epoll."""
        log.warn(
            "This system has no epoll: the reactor watches each connection by itself, which is"
            " slower with many, and --reactor=lean is not available"
        )

    def flush(self) -> None:
        """Log how many lines were suppressed; no timer is left."""
        self._throttle.flush()

    def not_ready(self) -> None:
        """The service drains: it wants no new clients, and accepts those that still come."""
        log.info("Server not ready: it drains")

    def terminated(self) -> None:
        """The service has stopped and no connection is left."""
        self.flush()
        log.info("Server Terminated")

    def reloaded(self, where: str) -> None:
        """Certificates were read again."""
        log.info("Certificates reloaded: {where}", where=where)

    def fault(self, event: FaultEvent) -> None:
        """A fault on purpose has happened."""
        log.info(
            "Fault: {fault} connection = {number} direction = {direction} offset = {offset}",
            fault=str(event.fault.spec),
            number=event.connection or "-",
            direction=event.direction or "-",
            offset=event.offset if event.direction else "-",
        )

    def server_error(self, why: str) -> None:
        """An error that concerns no single connection."""
        log.error("Server Error: {why}", why=why)

    def connected(
        self, local: str, remote: str, tls_version: str = "-", tls_peer: str = "-"
    ) -> None:
        """A client has connected."""
        words = "Client connection: local = {local} remote = {remote}"
        if tls_version != "-":
            words += " tls = {tls_version} {tls_peer}"
        log.info(
            words,
            local=local,
            remote=remote,
            tls_version=tls_version,
            tls_peer=escaped(tls_peer),
        )

    def received(self, port: object, message: bytes, bytes_in: int, bytes_out: int) -> None:
        """A message was read and answered; the totals are the connection's so far."""
        log.info(
            "Received data from client on port {port}: {data}"
            " Bytes received: {bytes_in} Bytes sent: {bytes_out}",
            port=port,
            data=escaped(message),
            bytes_in=bytes_in,
            bytes_out=bytes_out,
        )

    def timed_out(self, remote: str, seconds: float) -> None:
        """Nothing was read, and no write progressed, for the idle time-out."""
        if self._throttle.allow("Socket Timed out"):
            log.info(
                "Socket Timed out: remote = {remote} idle seconds = {seconds:.3f}",
                remote=remote,
                seconds=seconds,
            )

    def socket_error(self, remote: str, why: str) -> None:
        """A connection failed."""
        if self._throttle.allow("Socket Error"):
            log.warn("Socket Error: {why} remote = {remote}", why=why, remote=remote)

    def refused(self, address: IAddress | None, why: str) -> None:
        """A client is refused; written also where lines of connections are not."""
        if self._throttle.allow("Client refused", 1):
            remote = format_address(address)
            log.warn("Client refused: {why} remote = {remote}", why=why, remote=remote)

    def fd_limit_too_low(self, limit: int, possible: int) -> None:
        """The limit of descriptors does not allow so many connections."""
        log.warn(
            "the limit of {limit} connections is more than descriptors allow, about {possible}",
            limit=limit,
            possible=possible,
        )

    def at_limit(self, limit: int) -> None:
        """The limit of connections is reached; new clients wait in the kernel's queue."""
        if self._throttle.allow("at the limit", 1):
            log.warn("at the limit of {limit} connections: new ones have to wait", limit=limit)

    def _log_suppressed(self, kind: str, count: int) -> None:
        log.warn(
            "{kind}: {count} more such lines left out in {seconds:g} s",
            kind=kind,
            count=count,
            seconds=PERIOD,
        )

    def disconnected(
        self,
        remote: str,
        outcome: Outcome,
        bytes_in: int,
        bytes_out: int,
        seconds: float,
        remaining: int,
    ) -> None:
        """A connection is gone; ``remaining`` does not count it."""
        if outcome in _THROTTLED and not self._throttle.allow(f"Client disconnected ({outcome})"):
            return
        log.info(
            "Client disconnected: remote = {remote} outcome = {outcome} bytes in = {bytes_in}"
            " bytes out = {bytes_out} seconds = {seconds:.3f} Remaining Connections: {remaining}",
            remote=remote,
            outcome=outcome.value,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            seconds=seconds,
            remaining=remaining,
        )
