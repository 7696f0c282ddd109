"""``echosvc serve``: the service in a process of its own, without ``twistd``.

It runs the same as ``twistd -n echosvc``, with the same options, messages and signals. It writes
no pid file and no cache of plugins. The exit status after a wrong option is 2, as that of the
other commands; that of ``twistd`` is 1.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import IO, Any, NoReturn

from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.runtime import shortPythonVersion

from echosvc._log import log
from echosvc._version import __version__
from echosvc.cli.serve_options import FILE_SETTINGS, Options, usage_parameters
from echosvc.cli.terminal import (
    EXIT_BY_SIGNAL,
    EXIT_OK,
    EXIT_USAGE,
    OutputError,
    StandardOutput,
    exit_with_error,
    write_text,
)
from echosvc.cli.twistd import makeService
from echosvc.config.kinds import Choice, Word
from echosvc.config.settings import Setting
from echosvc.net.files import absolute, describe_file_error
from echosvc.net.main_loop import crash_main_loop
from echosvc.server.service import EchoService
from twisted import __version__ as twisted_version

#: The reactors that ``--reactor`` knows, and what installs each.
REACTORS = {
    "lean": "echosvc.net.reactor",
    "asyncio": "twisted.internet.asyncioreactor",
    "epoll": "twisted.internet.epollreactor",
    "kqueue": "twisted.internet.kqreactor",
    "poll": "twisted.internet.pollreactor",
    "select": "twisted.internet.selectreactor",
}

#: The options of ``echosvc serve`` that ``twistd`` has under other names.
REACTOR = Setting(
    name="reactor",
    default="default",
    kind=Choice(
        {
            "default": "what Twisted chooses",
            **dict.fromkeys(REACTORS, ""),
            "lean": "for many small messages",
        }
    ),
    text="The reactor to run on",
)
LOGFILE = Setting(
    name="logfile",
    default=None,
    kind=Word("FILE"),
    text="File to append the log to. SIGUSR1 opens it again, after a log rotator has moved it.",
    none="standard output",
)
PROCESS_OPTIONS = (REACTOR, LOGFILE)

_HELP = """
The log goes to standard output. SIGTERM and SIGINT stop the service: after its delays, once its
clients have finished, at most after --drain seconds more. A second signal ends all connections at
once. SIGHUP reloads certificates.

Exit status: 0 stopped by a signal, 1 it cannot listen or run on, 2 usage error.
"""


class ServeOptions(Options):
    """The options of ``echosvc serve``."""

    program = "echosvc serve"
    usage_error_status = EXIT_USAGE

    optParameters = usage_parameters(PROCESS_OPTIONS)
    file_settings = (*FILE_SETTINGS, *PROCESS_OPTIONS)
    elsewhere: Mapping[str, str] = {}

    def opt_help(self) -> NoReturn:
        """Display this help and exit."""
        write_text(StandardOutput(), f"{self}\n")
        raise SystemExit(EXIT_OK)

    opt_h = opt_help

    def getSynopsis(self) -> str:
        """Return the usage."""
        return "Usage: echosvc serve [options]"

    def getUsage(self, width: int | None = None) -> str:
        """Return the help, with examples."""
        return super().getUsage(width) + _HELP


class LogFile:
    """A file that the log is appended to, and that can be opened again by its name.

    :raises OSError: it cannot be opened.
    """

    def __init__(self, name: str) -> None:
        self._name = absolute(name)
        self._file = self._open()

    def _open(self) -> IO[str]:
        return open(self._name, "a", encoding="utf-8", errors="backslashreplace")

    def reopen(self) -> None:
        """Open it again by its name; keep the open file when that fails."""
        try:
            old, self._file = self._file, self._open()
        except OSError as error:
            log.error(
                "Server Error: the log stays in the open file: {why}",
                why=describe_file_error(error),
            )
        else:
            old.close()

    def write(self, text: str) -> None:
        """Append."""
        self._file.write(text)

    def flush(self) -> None:
        """Flush what was written."""
        self._file.flush()


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal; return the exit status."""
    _exit_at_signals()
    options = _parse(arguments)
    _install_reactor(options["reactor"])
    from twisted.internet import reactor

    service = makeService(options)
    _start_log(options["logfile"], reactor)
    return _run(service, reactor)


def _exit_at_signals() -> None:
    """Exit at signals until the reactor handles them.

    By default they would not end the first process of a container.
    """

    def exit_now(number: int, _: object) -> None:
        os._exit(EXIT_BY_SIGNAL + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, exit_now)


def _parse(arguments: Sequence[str]) -> ServeOptions:
    options = ServeOptions()
    try:
        try:
            options.parseOptions(arguments)
        finally:  # the version may have been printed
            if sys.stdout is not None:
                sys.stdout.flush()
    except (OSError, OutputError) as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python prints another error at its exit
        exit_with_error(str(OutputError(error) if isinstance(error, OSError) else error))
    return options


def _install_reactor(name: str) -> None:
    """Install the reactor of this name."""
    if name == "default":
        return
    if why := REACTOR.find_error(name):
        exit_with_error(f"--reactor: {why}", EXIT_USAGE)
    try:
        import_module(REACTORS[name]).install()
    except (ImportError, AttributeError):
        exit_with_error(f"--reactor: this system has no {name}", EXIT_USAGE)


def _start_log(name: str | None, reactor: Any) -> None:
    """Start logging to a file, or to standard output."""
    if name is None or name == "-":
        file: Any = _log_stream()
    else:
        try:
            file = LogFile(name)
        except OSError as error:
            exit_with_error(f"--logfile: {describe_file_error(error)}", EXIT_USAGE)
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(file.reopen))
    globalLogBeginner.beginLoggingTo([textFileLogObserver(file)])
    log.info(
        "echosvc {version} on Python {python}, Twisted {twisted}, {reactor}",
        version=__version__,
        python=shortPythonVersion(),
        twisted=twisted_version,
        reactor=type(reactor).__name__,
    )


def _log_stream() -> IO[Any]:
    """Return standard output, made to accept any text; the null device when it is closed."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return sys.stdout or open(os.devnull, "w")


def _run(service: EchoService, reactor: Any) -> int:
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the reactor replaces this one
    try:
        reactor.run()
    except KeyboardInterrupt:  # before the reactor replaced the handler
        return EXIT_BY_SIGNAL + signal.SIGINT
    # The loop of asyncio raises it; another reactor fails once more after a crash.
    except Exception as error:
        if reactor.running:
            crash_main_loop(reactor, str(error))
    return service.exit_status.status
