"""The command line of ``echosvc share``: its options, its output, its progress."""

from __future__ import annotations

import argparse
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from echosvc._text import printable
from echosvc.cli import values
from echosvc.cli.check import add_server_arguments
from echosvc.cli.live_line import LiveLine
from echosvc.cli.report_options import (
    ReportKind,
    add_report_arguments,
    requested_reports,
    takes_standard_output,
    validate_reports,
    write_reports,
)
from echosvc.cli.settings import read_settings
from echosvc.cli.terminal import (
    EXIT_FAILURE,
    EXIT_OK,
    EXIT_USAGE,
    OutputError,
    StandardOutput,
    print_error,
    write_text,
)
from echosvc.cli.times import HELP, positive_time_span
from echosvc.endpoints.client import ClientTarget
from echosvc.probe.share.expectation import Expectation, ExpectationError, parse_expectations
from echosvc.probe.share.settings import (
    DIALECTS,
    MOST_CONCURRENCY,
    MOST_CONNECTIONS,
    MOST_TO_DECIDE,
    MOST_TO_SHOW,
    WATCH_RATE,
    ShareSettings,
    ShareSettingsError,
)
from echosvc.probe.share.settings import validate as validate_settings

if TYPE_CHECKING:
    from echosvc.probe.share.result import ShareResult
    from echosvc.probe.share.survey import Survey
    from echosvc.reports.share_junit import ShareRun

#: Exit status where it is not sure whether the shares are as expected.
EXIT_UNDECIDED = 3
EPILOG = f"""\
A share is of all connections: one that failed is an answer of nobody. A server is named by its
prefix, without the numbers that stand alone; --prefix '{{hostname}} {{connection}}: ' and
--identity say more exactly what names it. Every decision, interval and change is wrong with a
probability of at most 1e-4. {HELP}

examples:
  echosvc share lb.example:9000
  echosvc share lb.example:9000 --expect v1=80±5,v2=20±5
  echosvc share lb.example:9000 --expect 'v1=100+-1' --junit share.xml
  echosvc share gateway.example:3000 --dialect gateway-api --identity '^(.*)-[^-]+-[^-]+$'
  echosvc share mesh.example:9000 --dialect istio --expect one=50+-5,two=50+-5
  echosvc share lb.example:9000 --watch 5m --rate 50

exit status: 0 the shares are as expected, or nothing is expected and all connections were answered;
1 the shares are not as expected, or connections failed; 2 usage error; 3 not sure; 130 interrupted
"""
#: Seconds between two changes of the line on the terminal.
_REFRESH = 0.2


def _junit(run: ShareRun) -> str:
    from echosvc.reports.share_junit import share_junit

    return share_junit(run)


_KINDS = (ReportKind("--junit", "write JUnit XML for CI systems to FILE at the end", _junit),)


def expectations(text: str) -> tuple[Expectation, ...]:
    """Read what is expected."""
    try:
        return parse_expectations(text)
    except ExpectationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _whole(text: str, most: int, what: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:20]) <= most:
        raise argparse.ArgumentTypeError(f"must be {what} from 1 to {most}, not {text!r}")
    return int(text)


def connection_total(text: str) -> int:
    """Read how many connections are opened."""
    return _whole(text, MOST_CONNECTIONS, "a whole number of connections")


def concurrency(text: str) -> int:
    """Read how many connections are open at once."""
    return _whole(text, MOST_CONCURRENCY, "a whole number of connections")


def source_ports(text: str) -> tuple[int, int]:
    """Read a port or a range of ports."""
    first, dash, last = text.partition("-")
    ports = _whole(first, 65535, "a port"), _whole(last if dash else first, 65535, "a port")
    if ports[0] > ports[1]:
        raise argparse.ArgumentTypeError(f"must be FIRST-LAST, the lower port first, not {text!r}")
    return ports


#: The options about what is asked: name, placeholder, what reads the value, default, help.
_OPTIONS: tuple[tuple[str, str, Callable[[str], Any], Any, str], ...] = (
    ("--expect", "NAME=SHARE±TOLERANCE,...", expectations, (),
     "the shares that are expected, in per cent, such as v1=80±5,v2=20±5 (or 80+-5); * is for all"
     " other names, and a backslash escapes (default: the shares are only shown)"),
    ("--connections", "MAX", connection_total, 0,
     f"open at most so many connections (default: {MOST_TO_DECIDE} with --expect, {MOST_TO_SHOW}"
     " without, any number with --watch)"),
    ("--concurrency", "N", concurrency, ShareSettings.concurrency,
     "open at most so many at once (default: %(default)s)"),
    ("--rate", "N", values.connections_a_second, 0.0,
     "open at most N connections a second (default: as many as --concurrency allows; with --watch"
     f" {WATCH_RATE:g})"),
    ("--timeout", "TIME", positive_time_span, ShareSettings.timeout,
     "a connection fails that is not answered within this time (default: %(default)g)"),
    ("--source-port", "PORT|FIRST-LAST", source_ports, None,
     "connect from this port, or from the ports of this range in random order; each connection then"
     " ends by a reset (default: from a port of the system's choice)"),
    ("--watch", "TIME", positive_time_span, 0.0,
     "watch the shares for this time, and say when they changed; --expect is then about the shares"
     " since the last change"),
)  # fmt: skip


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    add = command.add_argument_group("what to ask").add_argument
    for name, metavar, read, default, text in _OPTIONS:
        add(name, metavar=metavar, type=read, default=default, help=text)
    add = command.add_argument_group("about the servers").add_argument
    add(
        "--dialect",
        choices=DIALECTS,
        default=DIALECTS[0],
        help="language of the servers: echosvc answers with a prefix, istio (tcp-echo) with a word"
        " at the start of a line, gateway-api (echo-basic) with its pod (default: echosvc)",
    )
    add_server_arguments(add)
    add = command.add_argument_group("what to write").add_argument
    add("--json", action="store_true", help="write one JSON object to standard output, no more")
    add_report_arguments(add, _KINDS)


def share_settings(args: argparse.Namespace) -> ShareSettings:
    """Read the options.

    :raises ShareSettingsError: they make no sense together.
    """
    asked = read_settings(ShareSettings, args, source_ports=args.source_port)
    validate_settings(asked)
    return asked


def validate(args: argparse.Namespace) -> ShareSettings:
    """Check the options, and that the report can be written.

    :raises ValueError: an option makes no sense; says which and why in one line.
    """
    settings = share_settings(args)
    validate_reports(args, _KINDS)
    return settings


class _Output:
    """What the command prints and writes at its end, once."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args, self._out, self._line = args, StandardOutput(), LiveLine()
        self._requests, self._shown = requested_reports(args, _KINDS), 0.0
        self._done: bool | None = None

    def begin(self) -> None:
        """Show that it begins."""
        self._line.show(f"share {printable(self._args.to)}")

    def progress(self, survey: Survey) -> None:
        """Show the shares so far."""
        now = monotonic()
        if now >= self._shown + _REFRESH:
            self._shown = now
            self._line.change(survey.tally.progress())

    def finish(self, result: ShareResult) -> bool:
        """Print and write the result, the first time; return whether all is written.

        :raises OutputError: standard output takes no more.
        """
        if self._done is None:
            self._done = False  # an interrupt in between must not begin anew
            self._line.hide()
            self._print(result)
            self._done = self._write(result)
        return self._done

    def _print(self, result: ShareResult) -> None:
        from echosvc.reports.share_text import share_lines

        if self._args.json:
            write_text(self._out, json.dumps(result.as_dict(), indent=2) + "\n")
        elif not takes_standard_output(self._args, _KINDS):
            write_text(self._out, share_lines(result))

    def _write(self, result: ShareResult) -> bool:
        from echosvc.reports.share_junit import ShareRun

        run = ShareRun(result, self._args.command_line, socket.gethostname())
        return write_reports(self._requests, run, self._out)


async def run(args: argparse.Namespace, reactor: Any, target: ClientTarget) -> int:
    """Open the connections; return the exit status."""
    from echosvc.net.clock import use_monotonic_clock
    from echosvc.probe.share.survey import Survey

    use_monotonic_clock(reactor)
    output = _Output(args)
    try:
        survey = Survey(reactor, target, share_settings(args), args.to, output.progress)
    except ShareSettingsError as error:
        print_error(f"echosvc: {error.as_typed()}")
        return EXIT_USAGE
    reactor.addSystemEventTrigger("before", "shutdown", _finish_early, survey, output)
    output.begin()
    result = await survey.run()
    written = output.finish(result)
    return exit_status(result) if written else EXIT_FAILURE


def _finish_early(survey: Survey, output: _Output) -> None:
    """Print and write after Ctrl-C what was found until then."""
    with suppress(OutputError):
        output.finish(survey.result())


def exit_status(result: ShareResult) -> int:
    """Return the exit status of a result."""
    if result.verdict == "undecided":
        return EXIT_UNDECIDED
    return EXIT_OK if result.ok else EXIT_FAILURE
