"""What a server can be told, each default once, each rule once.

:class:`Config` is shared by the command line and the embedding API. It is checked
as it is made, so one that exists is valid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypedDict

from echosvc.config.networks import NetworkError, Networks
from echosvc.wire.framing import FRAMINGS
from echosvc.wire.template import Template, TemplateError

ENCODINGS = ("raw", "utf-8")
IDLE_ACTIONS = ("log", "close", "reset")
LOG_LEVELS = ("quiet", "connections", "messages")
OVER_LIMIT = ("wait", "refuse")
PROXY_PROTOCOL = ("off", "require")

#: Longest message that may be allowed, bytes: a reply's length must fit in its header.
MAX_MESSAGE = 1 << 30
#: More descriptors than a process can have.
MAX_CONNECTIONS = 1 << 30
#: Linux takes no longer TCP_KEEPIDLE, seconds.
MAX_KEEP_ALIVE = 32767


class ConfigError(ValueError):
    """A setting has a wrong value.

    :ivar field: the name of the setting.
    :ivar why: what is wrong, without the name.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one :class:`~echosvc.EchoFactory`.

    :ivar prefix: put before every reply. ``str`` is a template, ``bytes`` are literal.
    :ivar greeting: sent once when a client connects; ``None`` for none.
    :ivar discard: read and report, never reply.
    :ivar framing: what one message is: a name in :data:`echosvc.wire.framing.FRAMINGS`.
    :ivar max_message: longest line or length-framed message, bytes.
    :ivar encoding: ``raw``, or ``utf-8`` for Node's decoder.
    :ivar idle_timeout: seconds without a read or progress of a write; 0 = off.
    :ivar idle_action: at that: ``log``, ``close`` (politely) or ``reset``.
    :ivar linger: seconds to read and discard after our own FIN, before the abort.
    :ivar handshake_timeout: seconds that a TLS handshake may take; 0 = off.
    :ivar stall_timeout: seconds that replies may wait without the client taking any; then
        it is reset. 0 = off.
    :ivar max_lifetime: seconds that a connection may live; then it ends politely. 0 = off.
    :ivar max_connections: live ones at most; 0 = off, ``None`` = what the descriptors allow,
        at most :data:`echosvc.server.admission.MOST`.
    :ivar over_limit: with so many: ``wait`` leaves new ones in the kernel's queue, ``refuse``
        closes them at once.
    :ivar max_per_peer: live ones from one IPv4 address or one IPv6 /64 at most; 0 = off.
    :ivar allow: networks whose clients are served; none = all.
    :ivar deny: networks whose clients are not.
    :ivar proxy_protocol: ``require`` a PROXY header before everything else, or ``off``.
    :ivar proxy_from: networks of the proxies; others are not served.
    :ivar allow_half_open: keep our side open after the peer's FIN.
    :ivar half_open_timeout: seconds until such a connection is ended; ``None`` = never,
        the application ends it.
    :ivar keep_alive: whole seconds until the first keep-alive probe, which is how a client that
        has vanished is noticed; 0 = off.
    :ivar nagle: leave Nagle's algorithm on.
    :ivar drain: seconds that live connections may go on when the service stops.
    :ivar log: ``quiet``, ``connections`` or ``messages``.
    :ivar pause_on_connect: read nothing of a connection until its ``resume()``.
    :raises ConfigError: a wrong value.
    """

    prefix: str | bytes = "Sending: "
    greeting: str | bytes | None = None
    discard: bool = False
    framing: str = "chunk"
    max_message: int = 65536
    encoding: str = "raw"
    idle_timeout: float = 0.5
    idle_action: str = "log"
    linger: float = 2.0
    handshake_timeout: float = 10.0
    stall_timeout: float = 60.0
    max_lifetime: float = 0.0
    max_connections: int | None = None
    over_limit: str = "wait"
    max_per_peer: int = 0
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    proxy_protocol: str = "off"
    proxy_from: tuple[str, ...] = ()
    allow_half_open: bool = False
    half_open_timeout: float | None = None
    keep_alive: int = 60
    nagle: bool = False
    drain: float = 5.0
    log: str = "connections"
    pause_on_connect: bool = False

    def __post_init__(self) -> None:
        """Check every setting."""
        _check(self)
        if self.over_limit == "refuse" and self.max_connections == 0:
            raise ConfigError("over_limit", "has nothing to refuse without a limit of connections")
        required = self.proxy_protocol == "require"
        if required and not self.proxy_from:
            raise ConfigError("proxy_from", "must name the proxies: a header is required of them")
        if self.proxy_from and not required:
            raise ConfigError("proxy_from", "is of no use unless the proxy protocol is required")

    def timeouts(self) -> list[float]:
        """Give the time-outs that a connection's clock must keep, seconds; 0 = off."""
        half_open = self.half_open_timeout or 0.0
        deadlines = [self.handshake_timeout, self.stall_timeout, self.max_lifetime, half_open]
        return [self.idle_timeout, self.linger, *deadlines]

    @property
    def plain(self) -> bool:
        """Whether every read is a message, answered as it is, and not reported."""
        silent = self.discard or self.log == "messages"
        return self.framing == "chunk" and self.encoding == "raw" and not silent

    def prefix_template(self) -> Template:
        """Give the prefix, parsed."""
        return _template(self.prefix)

    def greeting_template(self) -> Template | None:
        """Give the greeting, parsed; ``None`` when there is none."""
        return None if self.greeting is None else _template(self.greeting)


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """The settings of one :class:`~echosvc.EchoClientFactory`.

    :ivar idle_timeout: seconds without a read or progress of a write until
        :meth:`~echosvc.EchoClient.idle` is called; 0 = off.
    :ivar linger: seconds without anything received after our own FIN, before the abort.
    :ivar allow_half_open: keep our side open after the server's FIN.
    :ivar keep_alive: whole seconds until the first keep-alive probe; 0 = off.
    :ivar nagle: leave Nagle's algorithm on.
    :raises ConfigError: a wrong value.
    """

    # Of these, the first is its endpoint's; the others are the application's.
    handshake_timeout: ClassVar[float] = 0.0
    stall_timeout: ClassVar[float] = 0.0
    max_lifetime: ClassVar[float] = 0.0

    idle_timeout: float = 0.0
    linger: float = 30.0
    allow_half_open: bool = False
    keep_alive: int = 0
    nagle: bool = False

    def __post_init__(self) -> None:
        """Check every setting."""
        _check(self)


class ClientSettings(TypedDict, total=False):
    """The fields of :class:`ClientConfig`, as keyword arguments."""

    idle_timeout: float
    linger: float
    allow_half_open: bool
    keep_alive: int
    nagle: bool


def _check(config: Config | ClientConfig) -> None:
    for field in fields(config):
        why = _CHECKS.get(field.name, _boolean)(getattr(config, field.name))
        if why:
            raise ConfigError(field.name, why)


class Settings(TypedDict, total=False):
    """The fields of :class:`Config`, as keyword arguments for those who check types."""

    prefix: str | bytes
    greeting: str | bytes | None
    discard: bool
    framing: str
    max_message: int
    encoding: str
    idle_timeout: float
    idle_action: str
    linger: float
    handshake_timeout: float
    stall_timeout: float
    max_lifetime: float
    max_connections: int | None
    over_limit: str
    max_per_peer: int
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    proxy_protocol: str
    proxy_from: tuple[str, ...]
    allow_half_open: bool
    half_open_timeout: float | None
    keep_alive: int
    nagle: bool
    drain: float
    log: str
    pause_on_connect: bool


def _template(value: str | bytes) -> Template:
    return Template.literal(value) if isinstance(value, bytes) else Template.parse(value)


def _text(value: object) -> str | None:
    if not isinstance(value, (str, bytes)):
        return f"must be a str (a template) or bytes, not {value!r}"
    try:
        _template(value)
    except TemplateError as error:
        return str(error)
    return None


def _boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, not {value!r}"


def seconds_fault(value: object) -> str | None:
    """Say what is wrong with a number of seconds; ``None`` = nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        return f"must be a number of seconds, finite and not negative, not {value!r}"
    return None


def _optional(check: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    return lambda value: None if value is None else check(value)


def _networks(value: object) -> str | None:
    if not isinstance(value, tuple):
        return f"must be a tuple of networks, not {value!r}"
    try:
        Networks(value)
    except NetworkError as error:
        return str(error)
    return None


def _whole(least: int, most: int, what: str) -> Callable[[Any], str | None]:
    def check(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            return f"must be a whole number of {what} from {least} to {most}, not {value!r}"
        return None

    return check


def _choice(words: tuple[str, ...]) -> Callable[[Any], str | None]:
    def check(value: object) -> str | None:
        return None if value in words else f"must be one of {', '.join(words)}, not {value!r}"

    return check


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "prefix": _text,
    "greeting": _optional(_text),
    "framing": _choice(tuple(FRAMINGS)),
    "max_message": _whole(1, MAX_MESSAGE, "bytes"),
    "encoding": _choice(ENCODINGS),
    "idle_timeout": seconds_fault,
    "idle_action": _choice(IDLE_ACTIONS),
    "linger": seconds_fault,
    "handshake_timeout": seconds_fault,
    "stall_timeout": seconds_fault,
    "max_lifetime": seconds_fault,
    "max_connections": _optional(_whole(0, MAX_CONNECTIONS, "connections")),
    "over_limit": _choice(OVER_LIMIT),
    "max_per_peer": _whole(0, MAX_CONNECTIONS, "connections"),
    "allow": _networks,
    "deny": _networks,
    "proxy_protocol": _choice(PROXY_PROTOCOL),
    "proxy_from": _networks,
    "half_open_timeout": _optional(seconds_fault),
    "keep_alive": _whole(0, MAX_KEEP_ALIVE, "seconds"),
    "drain": seconds_fault,
    "log": _choice(LOG_LEVELS),
}
