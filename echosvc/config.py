"""What a server can be told, each default once, each rule once.

:class:`Config` is shared by the command line and the embedding API. It is checked
as it is made, so one that exists is valid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypedDict

from echosvc.prefix import Template, TemplateError

FRAMINGS = ("chunk", "line", "length")
ENCODINGS = ("raw", "utf-8")
IDLE_ACTIONS = ("log", "close", "reset")
LOG_LEVELS = ("quiet", "connections", "messages")

#: Longest message that may be allowed, bytes: a reply's length must fit in its header.
MAX_MESSAGE = 1 << 30
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
    :ivar framing: what one message is: ``chunk``, ``line`` or ``length``.
    :ivar max_message: longest line or length-framed message, bytes.
    :ivar encoding: ``raw``, or ``utf-8`` for Node's decoder.
    :ivar idle_timeout: seconds without a read or progress of a write; 0 = off.
    :ivar idle_action: at that: ``log``, ``close`` (politely) or ``reset``.
    :ivar linger: seconds to read and discard after our own FIN, before the abort.
    :ivar handshake_timeout: seconds that a TLS handshake may take; 0 = off.
    :ivar allow_half_open: keep our side open after the peer's FIN.
    :ivar half_open_timeout: seconds until such a connection is ended; ``None`` = never,
        the application ends it.
    :ivar keep_alive: whole seconds until the first keep-alive probe; 0 = off.
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
    allow_half_open: bool = False
    half_open_timeout: float | None = None
    keep_alive: int = 0
    nagle: bool = False
    drain: float = 5.0
    log: str = "connections"
    pause_on_connect: bool = False

    def __post_init__(self) -> None:
        """Check every setting."""
        _check(self)

    def timeouts(self) -> list[float]:
        """Give the time-outs that a connection's clock must keep, seconds; 0 = off."""
        half_open = self.half_open_timeout or 0.0
        return [self.idle_timeout, self.linger, self.handshake_timeout, half_open]

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

    handshake_timeout: ClassVar[float] = 0.0  # its endpoint has one

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


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, not {value!r}"


def seconds_fault(value: object) -> str | None:
    """Say what is wrong with a number of seconds; ``None`` = nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        return f"must be a number of seconds, finite and not negative, not {value!r}"
    return None


def _optional_seconds(value: object) -> str | None:
    return None if value is None else seconds_fault(value)


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
    "greeting": _optional_text,
    "framing": _choice(FRAMINGS),
    "max_message": _whole(1, MAX_MESSAGE, "bytes"),
    "encoding": _choice(ENCODINGS),
    "idle_timeout": seconds_fault,
    "idle_action": _choice(IDLE_ACTIONS),
    "linger": seconds_fault,
    "handshake_timeout": seconds_fault,
    "half_open_timeout": _optional_seconds,
    "keep_alive": _whole(0, MAX_KEEP_ALIVE, "seconds"),
    "drain": seconds_fault,
    "log": _choice(LOG_LEVELS),
}
