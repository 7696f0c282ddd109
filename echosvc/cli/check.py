"""The command line of ``echosvc check``: its options, its output, its progress."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from echosvc._text import format_duration
from echosvc.cli import values
from echosvc.cli.check_reports import (
    Reports,
    add_report_arguments,
    takes_standard_output,
    validate_reports,
)
from echosvc.cli.live_line import LiveLine
from echosvc.cli.settings import read_settings
from echosvc.cli.terminal import (
    EXIT_FAILURE,
    EXIT_OK,
    OutputError,
    Sink,
    StandardOutput,
    print_error,
    write_text,
)
from echosvc.cli.times import HELP, list_of_time_spans, positive_time_span
from echosvc.endpoints.client import ClientTarget
from echosvc.probe.settings import FRAMINGS, CheckSettings
from echosvc.reports.text import probe_lines, summary_line

if TYPE_CHECKING:
    from echosvc.probe.check import Check
    from echosvc.probe.result import CheckResult, ProbeResult

_EPILOG = """\
probes, in this order:
{probes}

Each is PASS, FAIL, INFO (a finding, neither good nor bad) or SKIP (it does not apply).
{times}

examples:
  echosvc check lb.example:9000
  echosvc check lb.example:9000 --only half-close,back-pressure
  echosvc check lb.example:9000 --only find-idle --find-idle 15m
  echosvc check lb.example:9000 --only proxy --prefix '{peer}: '
  echosvc check tls:lb.example:9443 --ca ca.pem --report check.html
  echosvc check lb.example:9000 --skip idle --junit check.xml

exit status: 0 nothing failed, 1 something did, 2 usage error, 130 interrupted
"""


def epilog() -> str:
    """Return what the help says behind the options. It loads all probes."""
    from echosvc.probe.validation import PROBES

    probes = "\n".join(f"  {probe.name:<13}  {probe.summary}" for probe in PROBES)
    return _EPILOG.replace("{probes}", probes).replace("{times}", HELP)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    add = command.add_argument_group("what to ask").add_argument
    add("--only", metavar="PROBE,...", type=values.names, default=(), help="only these probes")
    add("--skip", metavar="PROBE,...", type=values.names, default=(), help="not these probes")
    for name, metavar, read, text in _NUMBERS:
        default = getattr(CheckSettings, name[2:].replace("-", "_"))
        add(name, metavar=metavar, type=read, default=default, help=text)
    add_server_arguments(command.add_argument_group("about the server").add_argument)
    add = command.add_argument_group("what to write").add_argument
    add("--json", action="store_true", help="write one JSON object to standard output, no more")
    add_report_arguments(add)


def add_server_arguments(add: Callable[..., Any]) -> None:
    """Add the options about a server whose prefix names it."""
    add(
        "-p",
        "--prefix",
        metavar="TEMPLATE",
        type=values.template,
        help="the server's prefix, in its template language (default: it is detected)",
    )
    add(
        "--framing",
        choices=FRAMINGS,
        default=FRAMINGS[0],
        help="framing of the server (default: chunk)",
    )
    add(
        "--identity",
        metavar="REGEX",
        type=values.pattern,
        help="what in the prefix names the server; its first group, if it has one"
        " (default: the prefix without the numbers that stand alone)",
    )


#: Options with numbers: name, placeholder, what reads the value, help.
_NUMBERS: tuple[tuple[str, str, Callable[[str], Any], str], ...] = (
    ("--idle", "TIME,...", list_of_time_spans,
     "idle times that a connection must survive (default: 1,5)"),
    ("--find-idle", "TIME", positive_time_span,
     "find after how long an idle connection is closed; search up to this time"),
    ("--lifetime", "TIME", positive_time_span,
     "check that a busy connection lives so long, or find after how long it is closed"),
    ("--connections", "N", values.connection_count,
     "number of connections at once (default: %(default)s)"),
    ("--pace", "N", values.connections_a_second,
     "open at most N connections a second (default: as many as the probes need)"),
    ("--timeout", "TIME", positive_time_span,
     "a probe fails after this time without progress (default: %(default)g)"),
    ("--max-size", "BYTES", values.byte_size,
     "size of the longest stream to send; k, M and G are understood (default: 64M)"),
)  # fmt: skip


class CheckOutput:
    """What a check prints: lines as probes finish, or one JSON object at the end.

    :param out: standard output.
    :param as_json: write JSON.
    :param lines: write the lines, where it is not JSON.
    :raises OutputError: from every method, when standard output takes no more.
    """

    def __init__(self, out: Sink, as_json: bool, lines: bool = True) -> None:
        self._out, self._json, self._lines = out, as_json, lines and not as_json
        self._line = LiveLine()
        self._finished = False

    def announce(self, long_probes: Sequence[tuple[str, float]]) -> None:
        """Say on standard error which probes take long, and how long at most."""
        if long_probes and not self._json:
            times = ", ".join(f"{name} {format_duration(each)}" for name, each in long_probes)
            print_error(f"echosvc: takes long (at most): {times}")

    def probe_started(self, name: str) -> None:
        """Show that a probe begins."""
        self._line.show(name)

    def probe_finished(self, probe: ProbeResult) -> None:
        """Print the result of one probe."""
        self._line.hide()
        if self._lines and not self._finished:  # Ctrl-C makes probes fail that were running
            write_text(self._out, probe_lines(probe))

    def check_finished(self, result: CheckResult) -> None:
        """Print the result of all, the first time that this is called."""
        self._line.hide()
        if self._finished:
            return
        self._finished = True
        if self._json:
            write_text(self._out, json.dumps(result.as_dict(), indent=2) + "\n")
        elif self._lines:
            write_text(self._out, summary_line(result))


async def run(args: argparse.Namespace, reactor: Any, target: ClientTarget) -> int:
    """Make the probes; return the exit status."""
    from echosvc.probe.check import Check
    from echosvc.probe.validation import long_probes

    out, settings = StandardOutput(), check_options(args)
    output = CheckOutput(out, args.json, not takes_standard_output(args))
    reports = Reports(args, settings, out)
    output.announce(long_probes(settings))
    check = Check(
        reactor,
        target,
        settings,
        args.to,
        on_start=output.probe_started,
        on_result=output.probe_finished,
    )
    reactor.addSystemEventTrigger("before", "shutdown", _finish_early, check, output, reports)
    try:
        result = await check.run()
        output.check_finished(result)
    finally:
        written = reports.write(check.result())
    return EXIT_OK if result.ok and written else EXIT_FAILURE


def _finish_early(check: Check, output: CheckOutput, reports: Reports) -> None:
    """Print and write after Ctrl-C what was found until then."""
    with suppress(OutputError):
        output.check_finished(check.result())
    reports.write(check.result())


def validate(args: argparse.Namespace) -> CheckSettings:
    """Check the options, and that the reports can be written.

    :raises ValueError: an option makes no sense; says which and why in one line.
    """
    settings = check_options(args)
    validate_reports(args)
    return settings


def check_options(args: argparse.Namespace) -> CheckSettings:
    """Read the options.

    :raises SettingsError: they make no sense together.
    """
    from echosvc.probe.validation import validate

    options = read_settings(CheckSettings, args)
    validate(options)
    return options
