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
from echosvc.cli.config_options import (
    CHECK_CONFIG,
    CONFIG,
    CONFIG_OPTIONS,
    PRINT_CONFIG,
    Sources,
)
from echosvc.cli.effective_config import Effective
from echosvc.cli.server_listeners import OF_LISTENER, ListenerError, build_listeners
from echosvc.cli.terminal import (
    EXIT_FAILURE,
    EXIT_OK,
    OutputError,
    StandardOutput,
    exit_with_error,
    write_text,
)
from echosvc.config.kinds import Word
from echosvc.config.schema import Config, ServerSettings
from echosvc.config.settings import ConfigError, Setting, settings_of
from echosvc.config.sources import Given, ListenTable, SourceError
from echosvc.config.toml_file import ConfigFileError
from echosvc.net.listeners import PORT
from echosvc.server.service import EchoService

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
FAULT = Setting(
    name="fault",
    default=(),
    kind=Word("SPEC", repeated=True),
    text="Misbehave on purpose, for tests of clients: `latency=100ms`, `reset,at=1000`, ..."
    " (docs/faults.md has them all).",
    none="no fault",
)
SEED = Setting(
    name="seed",
    default=None,
    kind=Word("SEED"),
    text="What all draws of faults depend on: the same seed makes the same run.",
    none="it is drawn",
)
#: The options whose values are settings.
_SETTINGS = tuple(setting for setting in settings_of(Config) if setting.option)
#: What the server listens on where nothing else is given.
_DEFAULT_LISTENER = ListenTable(f"tcp:{PORT}", "by default", {})
SERVER_OPTIONS = (LISTEN, *_SETTINGS, *OF_LISTENER, FAULT, SEED)
#: What may stand in a configuration file and in the environment, besides the listeners.
FILE_SETTINGS = (*_SETTINGS, *OF_LISTENER)


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


def _negated_flags(settings: Iterable[Setting]) -> list[list[object]]:
    """Return ``optFlags`` that take back what a file or the environment says."""
    words = "Not --{}, whatever the configuration file and the environment say."
    flags = [each.option for each in settings if not each.kind.metavar]
    return [[f"no-{option}", None, words.format(option)] for option in flags]


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
    ("--fault latency=80ms --fault reset,at=1M,share=10%", "misbehaves on purpose"),
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

    optParameters = usage_parameters((*SERVER_OPTIONS, *CONFIG_OPTIONS))
    optFlags = [
        *usage_flags((*SERVER_OPTIONS, *CONFIG_OPTIONS)),
        *_negated_flags(SERVER_OPTIONS),
    ]
    #: What may be set by a configuration file and the environment, besides the listeners.
    file_settings = FILE_SETTINGS
    #: Settings that a configuration file must leave to another command line, and how.
    elsewhere: Mapping[str, str] = {
        "reactor": "twistd --reactor=NAME echosvc",
        "logfile": "twistd --logfile=FILE echosvc",
    }

    config: Config

    def __init__(self, variables: Mapping[str, str] = os.environ) -> None:
        usage.Options.__init__(self)
        self._variables = variables
        self._repeated: dict[str, list[str]] = {
            each.name: [] for each in SERVER_OPTIONS if each.kind.repeated
        }
        self.update(dict.fromkeys(self))  # None = not given; upstream has defaults here
        self._file: str | None = None
        self.given: dict[str, Given] = {}
        self.listeners: list[ListenTable] = []

    @property
    def listen(self) -> list[str]:
        """The endpoint strings of the listeners."""
        return [each.endpoint for each in self.listeners]

    @property
    def faults(self) -> list[str]:
        """The texts of ``--fault``."""
        return self._repeated[FAULT.name]

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
        """Parse the options; an error exits with :attr:`usage_error_status`.

        What the command line has goes before the environment, that before the file.
        """
        try:
            usage.Options.parseOptions(self, options)
            self._gather()
            self.config = Config(**self._settings())
            _remove_own_pid_file(self.parent)
        except (usage.UsageError, SourceError, ConfigFileError) as error:
            self._exit(str(error))
        except ConfigError as error:
            self._exit(f"{self._origin(error.field)}: {error.why}")
        self._show()

    def _exit(self, why: str) -> NoReturn:
        exit_with_error(why, self.usage_error_status)

    def _gather(self) -> None:
        """Gather what was given, and set each option that has one value to its own or its default.

        :raises SourceError: the file, or a variable, is wrong.
        :raises ConfigFileError: the file cannot be read.
        """
        lists = [each for each in SERVER_OPTIONS if each.kind.repeated]
        typed = {each.name: tuple(self._repeated[each.name]) for each in lists}
        sources = Sources(self._variables, self.file_settings, OF_LISTENER, LISTEN, self.elsewhere)
        self._file = sources.read(self[CONFIG.option])
        self.given = sources.given | {
            each.name: Given(value, f"--{each.option}")
            for each in self.file_settings
            if (value := typed.get(each.name) or self._typed(each)) not in (None, ())
        }
        listen = [ListenTable(each, f"--listen {each!r}", {}) for each in typed[LISTEN.name]]
        self.listeners = listen or sources.listeners or [_DEFAULT_LISTENER]
        for each in self.file_settings:
            if why := each.find_error(self.value(each)):
                raise ConfigError(each.name, why)
            self[each.option] = self.value(each)

    def _typed(self, setting: Setting) -> Any:
        """Return the value of an option of the command line; ``None`` = it was not given.

        :raises usage.UsageError: it is wrong.
        """
        if not setting.kind.metavar:
            return self._typed_flag(setting.option)
        text = self.get(setting.option)
        if text is None:
            return None
        try:
            return setting.kind.read(text)
        except ValueError as error:
            raise usage.UsageError(f"--{setting.option}: {error}") from None

    def _typed_flag(self, option: str) -> bool | None:
        yes, no = self[option] is not None, self[f"no-{option}"] is not None
        if yes and no:
            raise usage.UsageError(f"--{option}: is given with --no-{option}")
        return yes if yes or no else None

    def value(self, setting: Setting) -> Any:
        """Return the effective value of a setting."""
        given = self.given.get(setting.name)
        return setting.default if given is None else given.value

    def _settings(self) -> ServerSettings:
        values = {each.name: self.value(each) for each in _SETTINGS}
        values["half_open_timeout"] = max(values["idle_timeout"], values["linger"])
        return cast(ServerSettings, values)

    def _origin(self, name: str) -> str:
        """Name the origin of a setting, as an error begins with it."""
        if name in self.given:
            return str(self.given[name].origin)
        option = name.replace("_", "-")
        return f"{self._file}: {option}" if self._file is not None else f"--{option}"

    def _show(self) -> None:
        """Print the settings, or what would run, and exit, if that is asked for."""
        if not self[PRINT_CONFIG.option] and not self[CHECK_CONFIG.option]:
            return
        from twisted.internet import reactor

        self.endpoints(reactor)
        shown = Effective(self.file_settings, self.given, self.listeners)
        write = shown.as_toml if self[PRINT_CONFIG.option] else shown.summary
        try:
            write_text(StandardOutput(), write())
        except (OutputError, ValueError) as error:
            self._exit(str(error))
        raise SystemExit(EXIT_OK)

    def inject(self, reactor: Any, service: EchoService) -> None:
        """Let a service that listens misbehave as told. An error exits as above."""
        if not self.faults:
            if self[SEED.option] is not None:
                self._exit("--seed: is for --fault")
            return
        from echosvc.cli.server_faults import inject

        try:
            inject(reactor, service, self.faults, self[SEED.option])
        except ValueError as error:
            self._exit(f"--fault: {error}")

    def endpoints(self, reactor: Any) -> list[IStreamServerEndpoint]:
        """Return the endpoints to listen on; an error exits like :meth:`parseOptions`."""
        try:
            return build_listeners(reactor, self.listeners, self._find)
        except ListenerError as error:
            self._exit(str(error))

    def _find(self, setting: Setting) -> Given:
        return Given(self.value(setting), self._origin(setting.name))


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
