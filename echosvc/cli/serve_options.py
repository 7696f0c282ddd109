"""The server's command line: strings become settings here and only here."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, cast

from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python import usage

from echosvc._text import one_line
from echosvc._version import __version__
from echosvc.config.schema import (
    ENCODINGS,
    IDLE_ACTIONS,
    LOG_LEVELS,
    OVER_LIMIT,
    PROXY_PROTOCOL,
    Config,
    ConfigError,
    Settings,
    seconds_fault,
)
from echosvc.endpoints.server import server_endpoint
from echosvc.endpoints.strings import EndpointError
from echosvc.net.files import file_fault
from echosvc.net.listeners import TCPListener
from echosvc.server.admission import MOST
from echosvc.tls.context import TLS_VERSIONS, Demands
from echosvc.tls.endpoints import TLSListener
from echosvc.tls.pem import CertificateError
from echosvc.wire.framing import describe_framings

_DEFAULT = Config()
_FLAGS = ("discard", "allow-half-open", "nagle")


def give_up(why: str) -> NoReturn:
    """Say why on stderr, in one line, and exit with status 1."""
    line = one_line(f"echosvc: {why}").encode("utf-8", "backslashreplace") + b"\n"
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line)
    raise SystemExit(1)


def _forget_own_pid(twistd: Mapping[str, Any] | None) -> None:
    """Remove a pid file that names this very process: an earlier one has written it.

    So it is after a kill in a container, whose process always has the number 1; twistd would
    find itself running, and refuse to start (Twisted issue 3851).
    """
    name = twistd.get("pidfile") if twistd else None
    with suppress(OSError, ValueError):
        if name and int(Path(name).read_text("ascii")) == os.getpid():
            os.remove(name)


#: The options that are numbers: how to read them, and what they are.
_NUMBERS: dict[str, tuple[type[int] | type[float], str]] = {
    "max-message": (int, "a whole number of bytes"),
    "idle-timeout": (float, "a number of seconds, 0 or more"),
    "linger": (float, "a number of seconds, 0 or more"),
    "handshake-timeout": (float, "a number of seconds, 0 or more"),
    "stall-timeout": (float, "a number of seconds, 0 or more"),
    "max-lifetime": (float, "a number of seconds, 0 or more"),
    "max-connections": (int, "a whole number of connections"),
    "max-per-peer": (int, "a whole number of connections"),
    "keep-alive": (int, "a whole number of seconds"),
    "drain": (float, "a number of seconds, 0 or more"),
}


#: What follows the program, and what it is for.
_EXAMPLES = (
    ("", "port 8107, IPv4 and IPv6"),
    ("--listen tcp:9000:interface=127.0.0.1 --log messages", ""),
    ("--prefix '{hostname} #{message}: '", "who answered, and which reply"),
    ("--prefix ''", "a plain RFC 862 echo"),
    ("--listen unix:/run/echo.sock --framing line", ""),
    ("--idle-timeout 30 --idle-action close", ""),
    ("--allow 10.0.0.0/8 --allow 2001:db8::/32 --max-per-peer 100", ""),
    ("--proxy-protocol require --proxy-from 10.0.0.2", ""),
)


class Options(usage.Options):
    """``twistd echosvc``. Every wrong word ends the process with one line on stderr."""

    #: What the examples of the help begin with.
    program = "twistd -n echosvc"
    #: Options that are no settings of the service, besides those of TLS.
    beside: frozenset[str] = frozenset()
    synopsis = "[options]"
    longdesc = (
        "An echo service: every message that a client sends is answered with a prefix"
        " and the message. A value that begins with a dash is written --option=VALUE."
    )

    optParameters = [
        ["prefix", "p", _DEFAULT.prefix,
         "Put before every reply. A template: {hostname} {pid} {local} {peer} {connection}"
         " {message} {tls_version} {tls_peer} {env:NAME}; {{ }} are braces; \\n \\t \\\\"
         " \\xNN escapes."],
        ["greeting", None, None,
         "Sent once to each client that connects; a template too. [default: none]"],
        ["framing", None, _DEFAULT.framing,
         f"What one message is. {describe_framings()}."],
        ["max-message", None, _DEFAULT.max_message,
         "Longest line or length-framed message, bytes."],
        ["encoding", None, _DEFAULT.encoding,
         f"{', '.join(ENCODINGS)}: bytes come back untouched, or as Node's decoder gives"
         " them."],
        ["idle-timeout", None, _DEFAULT.idle_timeout,
         "Seconds without a read or progress of a write until the idle action; 0 = off."],
        ["idle-action", None, _DEFAULT.idle_action,
         f"{', '.join(IDLE_ACTIONS)}: only report it, close politely, or reset."],
        ["linger", None, _DEFAULT.linger,
         "Seconds to wait for the client's FIN after our own."],
        ["handshake-timeout", None, _DEFAULT.handshake_timeout,
         "Seconds that a TLS handshake may take, and a PROXY header; 0 = off."],
        ["stall-timeout", None, _DEFAULT.stall_timeout,
         "Seconds that replies may wait without the client taking any, until it is reset;"
         " 0 = off."],
        ["max-lifetime", None, _DEFAULT.max_lifetime,
         "Seconds that a connection may live, until it is ended politely; 0 = off."],
        ["max-connections", None, None,
         "Live connections at most; 0 = off. [default: what the descriptors allow, at most"
         f" {MOST}]"],
        ["over-limit", None, _DEFAULT.over_limit,
         f"{', '.join(OVER_LIMIT)}: then, leave new ones in the kernel's queue, or close them."],
        ["max-per-peer", None, _DEFAULT.max_per_peer,
         "Live connections from one IPv4 address or IPv6 /64 at most; 0 = off."],
        ["proxy-protocol", None, _DEFAULT.proxy_protocol,
         f"{', '.join(PROXY_PROTOCOL)}: require a PROXY header (version 1 or 2) first, before"
         " TLS, from named proxies only."],
        ["tls-min-version", None, "1.2",
         f"{', '.join(TLS_VERSIONS)}: the least version that TLS listeners speak."],
        ["tls-client-ca", None, "",
         "File with the authorities of client certificates: TLS clients without one of"
         " theirs get nothing."],
        ["keep-alive", None, _DEFAULT.keep_alive,
         "Whole seconds without traffic until the first TCP keep-alive probe, by which a client"
         " that has vanished is noticed; 0 = off."],
        ["drain", None, _DEFAULT.drain,
         "Seconds that live connections may go on after SIGTERM or SIGINT; a second"
         " signal ends them now."],
        ["log", None, _DEFAULT.log,
         f"How much to log: {', '.join(LOG_LEVELS)}."],
    ]  # fmt: skip

    optFlags = [
        ["discard", None, "Read and report, never reply."],
        ["allow-half-open", None, "Keep our side open after the client's FIN."],
        ["nagle", None, "Leave Nagle's algorithm on. By default TCP_NODELAY is set."],
    ]

    config: Config

    def __init__(self) -> None:
        usage.Options.__init__(self)
        # Upstream prints a docstring with its indentation.
        self.docs["listen"] = " ".join(str(self.opt_listen.__doc__).split())
        self.listen: list[str] = []
        self._networks: dict[str, list[str]] = {"allow": [], "deny": [], "proxy_from": []}

    def opt_listen(self, description: str) -> None:
        """Where to listen, repeatable: PORT or tcp:PORT (IPv4 and IPv6), HOST:PORT or
        tcp:PORT:interface=HOST (one address of this machine, IPv6 in [brackets]; 0.0.0.0 =
        IPv4 only), tcp6:PORT (IPv6 only), ssl:PORT:privateKey=FILE:certKey=FILE,
        tls:DIRECTORY:PORT, unix:PATH:mode=660, systemd:name=NAME, a URL such as
        tcp://HOST:PORT or unix:///PATH, or another of Twisted's endpoint strings. What
        begins with a kind and a colon is of that kind. [default: TCP port 8107, IPv4 and
        IPv6]
        """
        self.listen.append(description)

    opt_l = opt_listen

    def opt_allow(self, network: str) -> None:
        """Serve only clients of this network, e.g. 10.0.0.0/8; repeatable. [default: all]"""
        self._networks["allow"].append(network)

    def opt_deny(self, network: str) -> None:
        """Do not serve clients of this network, whatever is allowed; repeatable."""
        self._networks["deny"].append(network)

    def opt_proxy_from(self, network: str) -> None:
        """A network of the proxies whose header is believed; repeatable."""
        self._networks["proxy_from"].append(network)

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        print(f"echosvc {__version__}")
        raise SystemExit(0)

    def getUsage(self, width: int | None = None) -> str:
        """Give the help, with examples."""
        lines = [f"  {f'{self.program} {words}':<55}{what}".rstrip() for words, what in _EXAMPLES]
        return usage.Options.getUsage(self, width) + "\n".join(["\nExamples:", *lines, ""])

    def parseArgs(self, *arguments: str) -> None:
        """Take no arguments."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse; a wrong word is one line on stderr and exit status 1."""
        try:
            usage.Options.parseOptions(self, options)
            self.config = Config(**self._settings())
            _forget_own_pid(self.parent)
        except usage.UsageError as error:
            give_up(str(error))
        except ConfigError as error:
            give_up(f"--{error.field.replace('_', '-')}: {error.why}")

    def _settings(self) -> Settings:
        values: dict[str, Any] = {
            name.replace("-", "_"): bool(value) if name in _FLAGS else self._value(name)
            for name, value in self.items()
            if not name.startswith("tls-") and name not in self.beside
        }
        values |= {name: tuple(texts) for name, texts in self._networks.items()}
        values["half_open_timeout"] = max(values["idle_timeout"], values["linger"])
        return cast(Settings, values)

    def _value(self, name: str) -> object:
        text = self[name]
        if name not in _NUMBERS or not isinstance(text, str):
            return text
        kind, what = _NUMBERS[name]
        try:
            if not text.isascii() or "_" in text:
                raise ValueError
            value = kind(text)
            if kind is float and seconds_fault(value):
                raise ValueError
            return value
        except ValueError:
            raise usage.UsageError(f"--{name}: must be {what}, not {text!r}") from None

    def endpoints(self, reactor: Any) -> list[IStreamServerEndpoint]:
        """Give where to listen; exits like :meth:`parseOptions`."""
        found: list[IStreamServerEndpoint] = [] if self.listen else [TCPListener(reactor)]
        for description in self.listen:
            try:
                found.append(server_endpoint(reactor, description))
            except EndpointError as error:
                give_up(f"--listen {description!r}: {error}")
        self._demand_of_tls(found)
        return found

    def _demand_of_tls(self, listeners: Sequence[object]) -> None:
        """Put the demands on clients on every TLS listener."""
        version, authorities = self["tls-min-version"], self["tls-client-ca"]
        if version not in TLS_VERSIONS:
            give_up(f"--tls-min-version: must be one of {', '.join(TLS_VERSIONS)}, not {version!r}")
        creators = [each.creator for each in listeners if isinstance(each, TLSListener)]
        if authorities and not creators:
            give_up("--tls-client-ca: no --listen speaks TLS")
        try:
            for creator in creators:
                creator.demand(Demands(version, authorities))
        except OSError as error:
            give_up(f"--tls-client-ca: {file_fault(error)}")
        except CertificateError as error:
            give_up(f"--tls-client-ca: {error}")
