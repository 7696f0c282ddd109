"""What is said of connections: log lines and outcome words.

Every line is a ``twisted.logger`` event of the namespace ``echosvc`` with its facts
in fields. Nothing that a peer sent stands in one unescaped. Callers look at
:attr:`Report.connections` and :attr:`Report.messages` first, so that nothing is
computed for a line that is not shown.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable
from enum import Enum

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure

from echosvc.throttle import PERIOD, Cancellable, Throttle

#: Everything that the package has to say goes through this. A module's own, not a
#: class's: Twisted gives a class's logger the name of the class for a namespace.
log = Logger(namespace="echosvc")

#: Longest part of a message that a log line shows, characters.
SHOWN = 200


class TLSError(Exception):
    """TLS failed; the message says why in OpenSSL's words."""


class VerificationError(TLSError):
    """The server's certificate was refused.

    :param why: what is wrong with it.
    :param advice: what can be done; ``""`` = nothing is known.
    """

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(f"TLS: {why}" + (f" ({advice})" if advice else ""))
        self.why = f"TLS: {why}"
        self.advice = advice


_OF_CLIENT = "the server refuses the client's certificate, or wants one (--cert, --key)"
#: What the peer's alerts mean to a client, by OpenSSL's words for them (RFC 8446, 6.2).
_ALERTS = {
    "certificate required": "the server wants a client's certificate (--cert, --key)",
    "handshake failure": "no cipher or version in common, or the server wants a client's"
    " certificate (--cert, --key)",
    "unknown ca": "the server does not trust who signed the client's certificate (--cert, --key)",
    "bad certificate": _OF_CLIENT,
    "unsupported certificate": _OF_CLIENT,
    "certificate revoked": "the client's certificate is revoked (--cert, --key)",
    "certificate expired": "the client's certificate has ended (--cert, --key)",
    "certificate unknown": _OF_CLIENT,
    "access denied": "the server lets nobody in with the client's certificate (--cert, --key)",
    "decrypt error": _OF_CLIENT,
    "protocol version": "no version of TLS in common",
    "insufficient security": "the server wants stronger ciphers",
}


def alert_advice(words: str) -> str:
    """Return what a client can do about an alert that the server sent; ``""``: nothing known.

    With TLS 1.3 the alerts about a client's certificate come after the handshake.

    :param words: of a :class:`TLSError`.
    """
    _, alert, name = words.partition(" alert ")
    return _ALERTS.get(name.partition(";")[0], "") if alert else ""


class Outcome(str, Enum):
    """How a connection ended: one word each, the same in logs and elsewhere."""

    #: The peer finished (FIN), everything was answered, and both sides closed.
    FINISHED = "finished"
    #: The peer reset the connection or was lost.
    RESET = "reset"
    #: The idle time-out ended it (``idle_action`` close or reset).
    TIMED_OUT = "timed-out"
    #: A line or length-framed message was longer than ``max_message``.
    TOO_LONG = "too-long"
    #: The stream ended inside a length-framed message, or TLS without its close_notify.
    TRUNCATED = "truncated"
    #: It has lived for ``max_lifetime``.
    EXPIRED = "expired"
    #: The service stopped while it was open.
    DRAINED = "drained"
    #: The application ended it.
    CLOSED = "closed"
    #: The application, or a second signal, ended it at once.
    ABORTED = "aborted"
    #: We had to give up: the peer did not take what was due before the end.
    STALLED = "stalled"
    #: The TLS handshake failed, or took too long.
    HANDSHAKE = "handshake"
    #: An exception in the application's code ended it.
    FAILED = "failed"

    __str__ = str.__str__


def final_outcome(outcome: Outcome | None, reason: Failure | None, complete: bool) -> Outcome:
    """The word for a connection that is gone, from its own and the reactor's reason.

    :param reason: ``None``: the transport has given none, which is a clean end.
    :param complete: both sides had finished, and nothing waited to be sent.
    """
    why = None if reason is None else reason.value
    if why is None or isinstance(why, ConnectionDone):
        return outcome or Outcome.FINISHED
    if complete and outcome is Outcome.FINISHED:
        return outcome
    if isinstance(why, ConnectionAborted):
        return outcome or Outcome.ABORTED
    if _is_application_error(why):
        return Outcome.FAILED
    # Broken while it ended well: what was queued may be lost.
    broken = outcome in (None, Outcome.FINISHED, Outcome.CLOSED)
    return Outcome.RESET if outcome is None or broken else outcome


def _is_application_error(why: BaseException) -> bool:
    """Whether a connection was lost by an exception that is none of the network's or TLS's.

    A reactor ends a connection so whose protocol has raised it.
    """
    from_network = isinstance(why, (ConnectionClosed, OSError, TLSError))
    return not from_network and type(why).__module__ != "OpenSSL.SSL"


def escaped(data: bytes | str, limit: int = SHOWN) -> str:
    """Quote ``data`` so that it is safe on a terminal and in a log, cut to ``limit``.

    Control characters and whatever else is not printable become escapes.
    """
    text = repr(data[:limit]).removeprefix("b")
    inner = text[1:-1] if text[0] == "'" else text[1:-1].replace("'", "\\'")
    if len(data) > limit or len(inner) > limit:
        inner = inner[: limit - 3] + "..."
    return f"'{inner}'"


def plain_ip(host: str) -> str:
    """Give an IPv4 address that came through an IPv6 socket as itself."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def unix_path(address: UNIXAddress) -> str:
    """Give a UNIX address as text, as it is: ``@name`` for an abstract one."""
    name = os.fsdecode(address.name or b"")
    return "@" + name[1:] if name.startswith("\0") else name


def format_address(address: IAddress | None) -> str:
    """Give ``HOST:PORT``, ``[HOST]:PORT`` for IPv6, ``unix:PATH`` for a UNIX socket.

    ``-`` where there is none: of pipes and processes.
    """
    if isinstance(address, (IPv4Address, IPv6Address)):
        host = plain_ip(address.host)
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    if isinstance(address, UNIXAddress):
        path = unix_path(address)
        return f"unix:{path if path.isprintable() else escaped(path)[1:-1]}"
    kind = type(address)
    if address is None or (kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__):
        return "-"
    return escaped(str(address))[1:-1]


def format_listener(address: IAddress) -> str:
    """Give a listening address as Node's ``JSON.stringify(server.address())`` does."""
    if isinstance(address, UNIXAddress):
        facts: dict[str, object] = {"path": unix_path(address)}
    elif isinstance(address, (IPv4Address, IPv6Address)):
        family = f"IPv{ipaddress.ip_address(address.host.partition('%')[0]).version}"
        facts = {"address": address.host, "family": family, "port": address.port}
    else:
        facts = {"address": format_address(address)}
    return json.dumps(facts, separators=(",", ":"))


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
