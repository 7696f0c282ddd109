"""The tables of settings: of a server and of a client. One row a setting.

:class:`Config` is shared by the command line and the embedding API. It is checked
as it is made, so one that exists is valid. :mod:`echosvc.config.settings` says what is
derived from the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import ClassVar, TypedDict

from echosvc.config.kinds import (
    Choice,
    Flag,
    NetworkList,
    Seconds,
    TemplateText,
    Whole,
    parse_template,
)
from echosvc.config.settings import ConfigError, check, documented, row
from echosvc.wire.framing import FRAMINGS
from echosvc.wire.gateway_api import WELCOME
from echosvc.wire.template import Template

#: Longest message that may be allowed, bytes: a reply's length must fit in its header.
MAX_MESSAGE = 1 << 30
#: More descriptors than a process can have.
MAX_CONNECTIONS = 1 << 30
#: Connections at most where the number of descriptors alone would allow more.
DEFAULT_MAX_CONNECTIONS = 20_000
#: Linux takes no longer TCP_KEEPIDLE, seconds.
MAX_KEEP_ALIVE = 32767

TEMPLATE, FLAG, SECONDS, NETWORKS = TemplateText(), Flag(), Seconds(), NetworkList()
CONNECTIONS = Whole(0, MAX_CONNECTIONS, "connections")
KEEP_ALIVE = Whole(0, MAX_KEEP_ALIVE, "seconds")
FRAMING = Choice({name: framing.meaning for name, framing in FRAMINGS.items()})
DIALECT = Choice(
    {
        "echosvc": "a prefix and the message",
        "gateway-api": "the TCP server of the Gateway API's conformance tests: lines, `TEST` is"
        " answered by JSON with `POD_NAME` and other variables of the environment",
    }
)
ENCODING = Choice({"raw": "bytes come back untouched", "utf-8": "as Node's decoder returns them"})
IDLE_ACTION = Choice(
    {"log": "only report it", "close": "flush, then FIN", "reset": "drop what waits, then RST"}
)
OVER_LIMIT = Choice(
    {
        "wait": "leave new connections in the kernel's queue",
        "refuse": "close them at once",
    }
)
PROXY_PROTOCOL = Choice(
    {
        "off": "no header",
        "require": "a header of version 1 or 2 first, before TLS, from named proxies only",
    }
)
LOG = Choice({"quiet": "", "connections": "", "messages": ""})

ENCODINGS = ENCODING.words

#: Settings that the other dialects have no use for.
_OF_ECHOSVC = ("prefix", "greeting", "framing")


@documented
@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one :class:`~echosvc.EchoFactory`."""

    dialect: str = field(default="echosvc", metadata=row(DIALECT, "The language of the server"))
    prefix: str | bytes = field(
        default="Sending: ",
        metadata=row(
            TEMPLATE,
            "Put before every reply. A template: `{hostname}` `{pid}` `{local}` `{peer}`"
            " `{connection}` `{message}` `{tls_version}` `{tls_peer}` `{env:NAME}`; `{{` and"
            " `}}` are braces; `\\n` `\\t` `\\\\` `\\xNN` are escapes.",
            short="p",
        ),
    )
    greeting: str | bytes | None = field(
        default=None,
        metadata=row(
            TEMPLATE, "Sent once to each client that connects; a template too.", none="none"
        ),
    )
    discard: bool = field(default=False, metadata=row(FLAG, "Read and report, but never reply."))
    framing: str = field(default="chunk", metadata=row(FRAMING, "What one message is"))
    max_message: int = field(
        default=65536,
        metadata=row(
            Whole(1, MAX_MESSAGE, "bytes"),
            "Longest message in bytes. A delimiter counts, a header of lengths does not. A chunk is"
            " bounded by one read.",
        ),
    )
    encoding: str = field(
        default="raw", metadata=row(ENCODING, "How the bytes of a message come back")
    )
    idle_timeout: float = field(
        default=0.5,
        metadata=row(
            SECONDS,
            "Seconds without a read or progress of a write until the idle action; 0 = off.",
        ),
    )
    idle_action: str = field(
        default="log", metadata=row(IDLE_ACTION, "What happens to an idle connection")
    )
    linger: float = field(
        default=2.0,
        metadata=row(
            SECONDS,
            "Seconds to wait for the client's FIN after our own, and to discard what it still"
            " sends; then the connection is reset.",
        ),
    )
    handshake_timeout: float = field(
        default=10.0,
        metadata=row(SECONDS, "Seconds that a TLS handshake or a PROXY header may take; 0 = off."),
    )
    stall_timeout: float = field(
        default=60.0,
        metadata=row(
            SECONDS,
            "Seconds that replies may wait without the client taking any, until it is reset;"
            " 0 = off.",
        ),
    )
    max_lifetime: float = field(
        default=0.0,
        metadata=row(
            SECONDS,
            "Seconds that a connection may live, until it is ended by FIN; 0 = off.",
        ),
    )
    max_connections: int | None = field(
        default=None,
        metadata=row(
            CONNECTIONS,
            "Open connections at most; 0 = off.",
            none=f"what the descriptors allow, at most {DEFAULT_MAX_CONNECTIONS}",
        ),
    )
    over_limit: str = field(
        default="wait",
        metadata=row(OVER_LIMIT, "What happens when there are as many connections as allowed"),
    )
    max_per_peer: int = field(
        default=0,
        metadata=row(
            CONNECTIONS, "Open connections from one IPv4 address or IPv6 /64 at most; 0 = off."
        ),
    )
    allow: tuple[str, ...] = field(
        default=(),
        metadata=row(
            NETWORKS, "Serve only clients from these networks, e.g. `10.0.0.0/8`.", none="all"
        ),
    )
    deny: tuple[str, ...] = field(
        default=(),
        metadata=row(
            NETWORKS,
            "Networks whose clients are not served, even those that are allowed.",
            none="none",
        ),
    )
    proxy_protocol: str = field(
        default="off", metadata=row(PROXY_PROTOCOL, "Whether connections begin with a PROXY header")
    )
    proxy_from: tuple[str, ...] = field(
        default=(),
        metadata=row(
            NETWORKS,
            "Networks of the proxies whose header is believed; other clients are not served.",
            none="none",
        ),
    )
    allow_half_open: bool = field(
        default=False, metadata=row(FLAG, "Keep our side open after the client's FIN.")
    )
    half_open_timeout: float | None = field(
        default=None,
        metadata=row(
            SECONDS,
            "Seconds until a connection that is half-open after the client's FIN is ended. From"
            " the command line it is the longer of idle time-out and linger.",
            none="never, the application ends it",
            has_option=False,
        ),
    )
    keep_alive: int = field(
        default=60,
        metadata=row(
            KEEP_ALIVE,
            "Whole seconds without traffic until the first TCP keep-alive probe, by which a client"
            " that has vanished is noticed; 0 = off.",
        ),
    )
    nagle: bool = field(
        default=False,
        metadata=row(FLAG, "Leave Nagle's algorithm on. By default TCP_NODELAY is set."),
    )
    drain: float = field(
        default=5.0,
        metadata=row(
            SECONDS,
            "Seconds that open connections may go on when the service stops, at SIGTERM or"
            " SIGINT; a second signal ends them at once.",
        ),
    )
    drain_delay: float = field(
        default=0.0,
        metadata=row(
            SECONDS,
            "Seconds after the signal during which nothing changes: the service accepts, and says"
            " that it is ready.",
        ),
    )
    unready_delay: float = field(
        default=0.0,
        metadata=row(
            SECONDS,
            "Seconds, after `--drain-delay`, during which it accepts and says that it is not"
            " ready.",
        ),
    )
    drain_spread: float = field(
        default=0.0,
        metadata=row(
            SECONDS,
            "Seconds over which the open connections are then ended by FIN, one after the other,"
            " the oldest first; 0 = off: they go on for the time of `--drain`.",
        ),
    )
    log: str = field(default="connections", metadata=row(LOG, "How much to log"))
    pause_on_connect: bool = field(
        default=False,
        metadata=row(
            FLAG,
            "Read nothing of a connection until its `resume()` is called.",
            has_option=False,
        ),
    )

    def __post_init__(self) -> None:
        """Check every setting."""
        check(self)
        self._check_dialect()
        if self.over_limit == "refuse" and self.max_connections == 0:
            raise ConfigError("over_limit", "has nothing to refuse without a limit of connections")
        required = self.proxy_protocol == "require"
        if required and not self.proxy_from:
            raise ConfigError("proxy_from", "must name the proxies: a header is required of them")
        if self.proxy_from and not required:
            raise ConfigError("proxy_from", "is of no use unless the proxy protocol is required")

    def _check_dialect(self) -> None:
        if self.dialect == "echosvc":
            return
        for each in fields(self):
            if each.name in _OF_ECHOSVC and getattr(self, each.name) != each.default:
                why = f"is of no use: the dialect {self.dialect} has its own"
                raise ConfigError(each.name, why)

    @property
    def message_framing(self) -> str:
        """What one message is: that of the dialect, or :attr:`framing`."""
        return self.framing if self.dialect == "echosvc" else "line"

    def timeouts(self) -> list[float]:
        """Return the time-outs that a connection's clock must keep, seconds; 0 = off."""
        half_open = self.half_open_timeout or 0.0
        deadlines = [self.handshake_timeout, self.stall_timeout, self.max_lifetime, half_open]
        return [self.idle_timeout, self.linger, *deadlines]

    @property
    def plain(self) -> bool:
        """Whether every read is one message, answered as it is, and not logged."""
        silent = self.discard or self.log == "messages"
        own = self.dialect == "echosvc"
        return own and self.framing == "chunk" and self.encoding == "raw" and not silent

    def prefix_template(self) -> Template:
        """Return the prefix, parsed."""
        return parse_template(self.prefix)

    def greeting_template(self) -> Template | None:
        """Return the greeting, parsed; ``None`` when there is none."""
        if self.dialect == "gateway-api":
            return Template.literal(WELCOME)
        return None if self.greeting is None else parse_template(self.greeting)


@documented
@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """The settings of one :class:`~echosvc.EchoClientFactory`."""

    # Time-outs of the server alone: a client's endpoint limits the handshake, its application the
    # rest.
    handshake_timeout: ClassVar[float] = 0.0
    stall_timeout: ClassVar[float] = 0.0
    max_lifetime: ClassVar[float] = 0.0

    idle_timeout: float = field(
        default=0.0,
        metadata=row(
            SECONDS,
            "Seconds without a read or progress of a write until `idle(seconds)` of the client is"
            " called; 0 = off.",
        ),
    )
    linger: float = field(
        default=30.0,
        metadata=row(
            SECONDS,
            "Seconds without anything received after our own FIN, until the connection is reset.",
        ),
    )
    allow_half_open: bool = field(
        default=False, metadata=row(FLAG, "Keep our side open after the server's FIN.")
    )
    keep_alive: int = field(
        default=0,
        metadata=row(
            KEEP_ALIVE,
            "Whole seconds without traffic until the first TCP keep-alive probe; 0 = off.",
        ),
    )
    nagle: bool = field(
        default=False,
        metadata=row(FLAG, "Leave Nagle's algorithm on. By default TCP_NODELAY is set."),
    )

    def __post_init__(self) -> None:
        """Check every setting."""
        check(self)


class ServerSettings(TypedDict, total=False):
    """The fields of :class:`Config`, as keyword arguments, for type checkers."""

    dialect: str
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
    drain_delay: float
    unready_delay: float
    drain_spread: float
    log: str
    pause_on_connect: bool


class ClientSettings(TypedDict, total=False):
    """The fields of :class:`ClientConfig`, as keyword arguments, for type checkers."""

    idle_timeout: float
    linger: float
    allow_half_open: bool
    keep_alive: int
    nagle: bool
