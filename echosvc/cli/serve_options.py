"""The server's command line: strings become settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, cast

from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python import usage

from echosvc._version import __version__
from echosvc.cli.terminal import EXIT_FAILURE, EXIT_OK, exit_with_error
from echosvc.config.kinds import Choice, Word
from echosvc.config.schema import Config, ServerSettings
from echosvc.config.settings import ConfigError, Setting, settings_of
from echosvc.endpoints.server import server_endpoint
from echosvc.endpoints.strings import EndpointError
from echosvc.net.files import describe_file_error
from echosvc.net.listeners import PORT, TCPListener

#: The options of a server that are no settings of its connections.
LISTEN = Setting(
    name="listen",
    default=(),
    kind=Word("ENDPOINT", repeated=True),
    text="Where to listen: `PORT` or `tcp:PORT` (IPv4 and IPv6), `HOST:PORT` or"
    " `tcp:PORT:interface=HOST` (one address of this machine, IPv6 in [brackets]; 0.0.0.0 ="
    " IPv4 only), `tcp6:PORT` (IPv6 only), `ssl:PORT:privateKey=FILE:certKey=FILE`,"
    " `tls:DIRECTORY:PORT`, `unix:PATH:mode=660`, `systemd:name=NAME`, a URL such as"
    " `tcp://HOST:PORT` or `unix:///PATH`, or another of Twisted's endpoint strings. `NAME:`"
    " in front selects an endpoint type.",
    none=f"TCP port {PORT}, IPv4 and IPv6",
    short="l",
)
TLS_MIN_VERSION = Setting(
    name="tls_min_version",
    default="1.2",
    kind=Choice(dict.fromkeys(("1.2", "1.3"), "")),
    text="The lowest version that TLS listeners accept",
)
TLS_CLIENT_CA = Setting(
    name="tls_client_ca",
    default=None,
    kind=Word("FILE"),
    text="File with the authorities of client certificates. TLS clients that show no certificate"
    " signed by one of them are refused.",
    none="certificates are not asked for",
)
#: The options whose values are settings.
_SETTINGS = tuple(setting for setting in settings_of(Config) if setting.option)
SERVER_OPTIONS = (LISTEN, *_SETTINGS, TLS_MIN_VERSION, TLS_CLIENT_CA)


def usage_parameters(settings: Iterable[Setting]) -> list[list[object]]:
    """Return ``optParameters``: the options with one value each."""
    return [
        [each.option, each.short or None, each.default, _help(each)]
        for each in settings
        if each.kind.metavar and not each.kind.repeated
    ]


def usage_flags(settings: Iterable[Setting]) -> list[list[object]]:
    """Return ``optFlags``: the options without a value."""
    return [
        [each.option, each.short or None, _help(each)] for each in settings if not each.kind.metavar
    ]


def _help(setting: Setting) -> str:
    """Return the help of an option. Upstream adds a default that is not ``None``."""
    default = f" [default: {setting.none}]" if setting.none else ""
    return f"{setting.plain_help}{' Repeatable.' if setting.kind.repeated else ''}{default}"


def _remove_own_pid_file(twistd: Mapping[str, Any] | None) -> None:
    """Remove a pid file with the number of this process: an earlier process has written it.

    That happens after a kill in a container, whose first process always has the number 1. twistd
    would find that number running, and refuse to start (Twisted issue 3851).
    """
    name = twistd.get("pidfile") if twistd else None
    with suppress(OSError, ValueError):
        if name and int(Path(name).read_text("ascii")) == os.getpid():
            os.remove(name)


#: Arguments of the examples in the help, and what each is for.
_EXAMPLES = (
    ("", "port 8107, IPv4 and IPv6"),
    ("--listen tcp:9000:interface=127.0.0.1 --log messages", ""),
    ("--prefix '{hostname} #{message}: '", "the host that answered, and the number of the reply"),
    ("--prefix ''", "a plain RFC 862 echo"),
    ("--listen unix:/run/echo.sock --framing line", ""),
    ("--listen tcp:3000 --dialect gateway-api", "as the Gateway API's TCP test server"),
    ("--idle-timeout 30 --idle-action close", ""),
    ("--allow 10.0.0.0/8 --allow 2001:db8::/32 --max-per-peer 100", ""),
    ("--proxy-protocol require --proxy-from 10.0.0.2", ""),
)


class Options(usage.Options):
    """The options of ``twistd echosvc``. An error exits with one line on standard error.

    :cvar usage_error_status: the exit status after a wrong option; that of twistd is 1.
    """

    usage_error_status = EXIT_FAILURE
    #: The program in the examples of the help.
    program = "twistd -n echosvc"
    synopsis = "[options]"
    longdesc = (
        "An echo service: it answers every message with a prefix"
        " and the message. A value that begins with a dash is written --option=VALUE."
    )

    optParameters = usage_parameters(SERVER_OPTIONS)
    optFlags = usage_flags(SERVER_OPTIONS)

    config: Config

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self._repeated: dict[str, list[str]] = {
            each.name: [] for each in SERVER_OPTIONS if each.kind.repeated
        }

    @property
    def listen(self) -> list[str]:
        """The endpoint strings of ``--listen``."""
        return self._repeated[LISTEN.name]

    def add_value(self, name: str, value: str) -> None:
        """Add one value of an option that may be repeated."""
        self._repeated[name].append(value)

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        print(f"echosvc {__version__}")
        raise SystemExit(EXIT_OK)

    def getUsage(self, width: int | None = None) -> str:
        """Return the help, with examples."""
        lines = [
            f"  {f'{self.program} {arguments}':<55}{what}".rstrip() for arguments, what in _EXAMPLES
        ]
        return usage.Options.getUsage(self, width) + "\n".join(["\nExamples:", *lines, ""])

    def parseArgs(self, *arguments: str) -> None:
        """Refuse arguments."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the options; an error exits with :attr:`usage_error_status`."""
        try:
            usage.Options.parseOptions(self, options)
            self.config = Config(**self._settings())
            _remove_own_pid_file(self.parent)
        except usage.UsageError as error:
            self._exit(str(error))
        except ConfigError as error:
            self._exit(f"--{error.field.replace('_', '-')}: {error.why}")

    def _exit(self, why: str) -> NoReturn:
        exit_with_error(why, self.usage_error_status)

    def _settings(self) -> ServerSettings:
        values = {each.name: self._value(each) for each in _SETTINGS}
        values["half_open_timeout"] = max(values["idle_timeout"], values["linger"])
        return cast(ServerSettings, values)

    def _value(self, setting: Setting) -> Any:
        if setting.kind.repeated:
            return tuple(self._repeated[setting.name])
        value = self[setting.option]
        if not setting.kind.metavar:
            return bool(value)
        try:
            return setting.kind.read(value) if isinstance(value, str) else value
        except ValueError as error:
            raise usage.UsageError(f"--{setting.option}: {error}") from None

    def endpoints(self, reactor: Any) -> list[IStreamServerEndpoint]:
        """Return the endpoints to listen on; an error exits like :meth:`parseOptions`."""
        found: list[IStreamServerEndpoint] = [] if self.listen else [TCPListener(reactor)]
        for description in self.listen:
            try:
                found.append(server_endpoint(reactor, description))
            except EndpointError as error:
                self._exit(f"--listen {description!r}: {error}")
        self._apply_tls_policy(found)
        return found

    def _apply_tls_policy(self, listeners: Sequence[object]) -> None:
        """Set what every TLS listener demands of its clients.

        Without these options nothing of TLS is imported here, which a TCP listener does not need.
        """
        version, authorities = self["tls-min-version"], self["tls-client-ca"]
        if why := TLS_MIN_VERSION.find_error(version):
            self._exit(f"--tls-min-version: {why}")
        if not authorities and version == TLS_MIN_VERSION.default:
            return
        from echosvc.tls.context import ClientAuthPolicy
        from echosvc.tls.endpoints import TLSListener
        from echosvc.tls.pem import CertificateError

        creators = [each.creator for each in listeners if isinstance(each, TLSListener)]
        if authorities and not creators:
            self._exit("--tls-client-ca: no --listen speaks TLS")
        try:
            for creator in creators:
                creator.set_client_auth(ClientAuthPolicy(version, authorities or ""))
        except OSError as error:
            self._exit(f"--tls-client-ca: {describe_file_error(error)}")
        except CertificateError as error:
            self._exit(f"--tls-client-ca: {error}")


def _add_repeated(setting: Setting) -> None:
    """Add an option that may be repeated, which for Twisted is a method."""

    def add(self: Options, value: str) -> None:
        self.add_value(setting.name, value)

    add.__doc__ = _help(setting)
    for name in filter(None, (setting.name, setting.short)):
        setattr(Options, f"opt_{name}", add)


for _each in SERVER_OPTIONS:
    if _each.kind.repeated:
        _add_repeated(_each)
