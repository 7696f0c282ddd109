"""What is said of connections: log lines and outcome words.

Every line is a ``twisted.logger`` event of the namespace ``echosvc`` with its facts
in fields. Nothing that a peer sent stands in one unescaped. Callers look at
:attr:`Report.connections` and :attr:`Report.messages` first, so that nothing is
computed for a line that is not shown.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress

from echosvc._log import log
from echosvc._text import escaped
from echosvc.connection.outcome import Outcome
from echosvc.net.addresses import format_address, format_listener
from echosvc.server.throttle import PERIOD, Cancellable, Throttle

#: Ends by which one client can make many lines.
_BAD = frozenset((Outcome.HANDSHAKE, Outcome.RESET))


class Report:
    """The lines of one server.

    Lines that clients cause by doing wrong are few a second; the others are counted.

    :param level: ``quiet``, ``connections`` or ``messages``.
    :param later: ``callLater``, for those counts.
    :ivar connections: whether the lines of a connection are shown.
    :ivar messages: whether the line of a message is shown.
    """

    def __init__(
        self, level: str, later: Callable[[float, Callable[[], None]], Cancellable]
    ) -> None:
        self.connections = level != "quiet"
        self.messages = level == "messages"
        self._throttle = Throttle(later, self._left_out)

    def listening(self, address: IAddress) -> None:
        """A listener is open; ``address`` has the real port."""
        log.info("Server listening: {address}", address=format_listener(address))

    def unserved(self, index: int, name: str, address: IAddress | None) -> None:
        """A listening socket was handed over, and nobody accepts from it."""
        advice = "nothing here can serve it: it is neither TCP nor a UNIX stream"
        if address is not None:
            advice = "who connects to it waits in vain; --listen systemd:index={index} serves it"
        log.warn(
            "Inherited socket not served: index = {index} name = {name} address = {address}: "
            + advice,
            index=index,
            name=escaped(name),
            address=format_address(address) if address else "unknown",
        )

    def without_epoll(self) -> None:
        """The system has none."""
        log.warn(
            "This system has no epoll: the reactor watches each connection by itself, which is"
            " slower with many, and --reactor=lean is not available"
        )

    def settle(self) -> None:
        """Say what was left out; no timer is left."""
        self._throttle.flush()

    def terminated(self) -> None:
        """The service has stopped and no connection is left."""
        self.settle()
        log.info("Server Terminated")

    def reloaded(self, where: str) -> None:
        """Certificates were read again."""
        log.info("Certificates reloaded: {where}", where=where)

    def server_error(self, why: str) -> None:
        """Something is wrong that is no single connection's fault."""
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
        """Nothing was read, and no write got on, for the idle time-out."""
        log.info(
            "Socket Timed out: remote = {remote} idle seconds = {seconds:.3f}",
            remote=remote,
            seconds=seconds,
        )

    def socket_error(self, remote: str, why: str) -> None:
        """A connection broke."""
        if self._throttle.admits("Socket Error"):
            log.warn("Socket Error: {why} remote = {remote}", why=why, remote=remote)

    def refused(self, address: IAddress | None, why: str) -> None:
        """A client was turned away; shown also where lines of connections are not."""
        if self._throttle.admits("Client refused", 1):
            remote = format_address(address)
            log.warn("Client refused: {why} remote = {remote}", why=why, remote=remote)

    def too_many_places(self, limit: int, possible: int) -> None:
        """There will not be descriptors for so many connections."""
        log.warn(
            "the limit of {limit} connections is more than descriptors allow, about {possible}",
            limit=limit,
            possible=possible,
        )

    def at_limit(self, limit: int) -> None:
        """All places are taken; new clients wait in the kernel's queue."""
        if self._throttle.admits("at the limit", 1):
            log.warn("at the limit of {limit} connections: new ones have to wait", limit=limit)

    def _left_out(self, kind: str, count: int) -> None:
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
        if outcome in _BAD and not self._throttle.admits(f"Client disconnected ({outcome})"):
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
