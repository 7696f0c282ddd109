"""The command line of ``echosvc soak``: its options, its signals, and how it ends."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from echosvc._text import plural
from echosvc.cli import values
from echosvc.cli.marks_file import MarksFile
from echosvc.cli.settings import read_settings
from echosvc.cli.soak_output import SoakOutput
from echosvc.cli.soak_reports import (
    add_report_arguments,
    open_events,
    takes_standard_output,
    validate_reports,
    write_soak,
)
from echosvc.cli.terminal import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    StandardOutput,
    print_error,
)
from echosvc.cli.times import HELP, positive_time_span
from echosvc.endpoints.client import ClientTarget
from echosvc.net.descriptors import describe_shortage
from echosvc.net.files import describe_file_error
from echosvc.probe.settings import FRAMINGS
from echosvc.probe.soak.settings import SoakSettings
from echosvc.probe.soak.settings import validate as validate_settings

if TYPE_CHECKING:
    from echosvc.probe.soak.events import Event
    from echosvc.probe.soak.result import SoakResult

EPILOG = f"""\
A connection that ends is replaced. A gap is the time in which a connection is not answered: from
its end, or from the first message that is not answered in time, to the next answer. SIGUSR1 puts a
mark with a number into the timeline.
{HELP}

examples:
  echosvc soak lb.example:9000 --connections 20 --jsonl events.jsonl --marks marks
  echosvc soak lb.example:9000 --duration 10m --max-gap 2 --max-breaks 40 --junit soak.xml
  echosvc soak tls:lb.example:9443 --until-file upgraded --report soak.html

exit status: 0 within the limits, 1 above them or wrong bytes, 2 usage error, 130 interrupted before
its time. Ctrl-C is the usual end: only with --duration or --until-file it is an interruption.
"""
#: How often files are looked at, and the line on the terminal changes, seconds.
_FILE_INTERVAL, _LINE_INTERVAL = 0.25, 1.0
#: Seconds that the end may take after Ctrl-C. A second Ctrl-C ends the process in one second.
_END_TIME = 20


class SoakCommandError(ValueError):
    """An option makes no sense; says which and why in one line."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    for title, options in _OPTIONS:
        add = command.add_argument_group(title).add_argument
        for name, metavar, read, text in options:
            default = getattr(SoakSettings, name[2:].replace("-", "_"), None)
            add(name, metavar=metavar, type=read, default=default, help=text)
    add = command.add_argument_group("about the server").add_argument
    prefix = "the server's prefix, in its template language (default: it is detected)"
    add("-p", "--prefix", metavar="TEMPLATE", type=values.template, help=prefix)
    framing = "framing of the server (default: chunk)"
    add("--framing", choices=FRAMINGS, default=FRAMINGS[0], help=framing)
    add = command.add_argument_group("what to write").add_argument
    add("--json", action="store_true", help="write one JSON object to standard output, no more")
    add_report_arguments(add)


_Option = tuple[str, str, Callable[[str], Any], str]
#: The options with a value, in groups: name, placeholder, what reads the value, help.
_OPTIONS: tuple[tuple[str, tuple[_Option, ...]], ...] = (
    ("what to send", (
        ("--connections", "N", values.connection_count,
         "how many connections are kept open (default: %(default)s)"),
        ("--interval", "TIME", positive_time_span,
         "send a message on each connection so often (default: %(default)g)"),
        ("--size", "BYTES", values.byte_size, "size of a message (default: %(default)s)"),
        ("--silence", "TIME", positive_time_span,
         "an answer that takes longer is a gap (default: 1, or --max-gap if that is less)"),
        ("--timeout", "TIME", positive_time_span,
         "replace a connection that does not open, or is silent, after this time"
         " (default: %(default)g)"),
        ("--max-wait", "TIME", positive_time_span,
         "longest wait between two attempts to open a connection (default: %(default)g)"),
    )),
    ("when to end, and what to expect", (
        ("--duration", "TIME", positive_time_span, "end after this time"),
        ("--until-file", "FILE", values.nonempty, "end as soon as this file exists"),
        ("--max-gap", "TIME", positive_time_span,
         "fail if a gap is longer; without this and --max-breaks, fail if there is one"),
        ("--max-breaks", "N", values.break_count, "fail if more connections end"),
        ("--marks", "FILE", values.nonempty,
         "put each line that is appended to FILE into the timeline, as the name of a mark"),
    )),
)  # fmt: skip


def validate(args: argparse.Namespace) -> SoakSettings:
    """Check the options, and that all files can be used.

    :raises ValueError: an option makes no sense; says which and why in one line.
    """
    settings = soak_settings(args)
    validate_reports(args)
    if shortage := describe_shortage(settings.connections):
        raise SoakCommandError(f"--connections: {shortage}")
    if args.until_file is not None and os.path.lexists(args.until_file):
        raise SoakCommandError(f"--until-file: {args.until_file} exists already")
    if args.marks is not None:
        _open_marks(args.marks).close()
    return settings


def _open_marks(path: str) -> MarksFile:
    try:
        return MarksFile(path)
    except OSError as error:
        raise SoakCommandError(f"--marks: {describe_file_error(error)}") from None


def soak_settings(args: argparse.Namespace) -> SoakSettings:
    """Read the options.

    :raises SoakSettingsError: they make no sense together.
    """
    settings = read_settings(SoakSettings, args)
    validate_settings(settings)
    return settings


async def run(args: argparse.Namespace, reactor: Any, target: ClientTarget) -> int:
    """Keep connections open until the end; return the exit status."""
    return await _Command(args, reactor, target).run()


class _Command:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace, reactor: Any, target: ClientTarget) -> None:
        from echosvc.probe.soak.session import Soak

        self._args, self._reactor = args, reactor
        self._out = StandardOutput()
        self._output = SoakOutput(self._out, args.json, not takes_standard_output(args))
        self._events = open_events(args)
        self._marks = None if args.marks is None else _open_marks(args.marks)
        self._marks_failed = False
        self._soak = Soak(reactor, target, soak_settings(args), args.to, self._tell)
        self._timers: list[Any] = []
        self._ended: Deferred[None] = Deferred()
        self._is_over = False

    async def run(self) -> int:
        """Run until the end; return the exit status."""
        from echosvc.probe.soak.session import SoakError

        signal.signal(signal.SIGUSR1, self._mark_by_signal)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._interrupt)
        self._repeat(_FILE_INTERVAL, self._look_at_files)
        self._repeat(_LINE_INTERVAL, self._show)
        try:
            result = await self._soak.run()
            return self._finish(result)
        except SoakError as error:
            self._output.hide()
            print_error(f"echosvc: {self._args.to}: {error}")
            return EXIT_FAILURE
        finally:
            self._is_over = True
            for timer in self._timers:
                timer.stop()
            # Once this has returned its status: the reactor ends then, after Ctrl-C with its own.
            self._reactor.callLater(0, self._ended.callback, None)

    def _repeat(self, seconds: float, call: Callable[[], object]) -> None:
        from twisted.internet.task import LoopingCall

        timer = LoopingCall(call)
        timer.clock = self._reactor
        timer.start(seconds, now=False)
        self._timers.append(timer)

    def _finish(self, result: SoakResult) -> int:
        self._output.finish(result)
        written = write_soak(self._args, result, self._out)
        missing = 0 if self._events is None else self._events.close()
        if missing:
            print_error(f"echosvc: --jsonl: {plural(missing, 'event')} missing")
        if self._output.error is not None:
            print_error(f"echosvc: {self._output.error}")
        if missing or self._output.error is not None or not (result.ok and written):
            return EXIT_FAILURE
        return EXIT_OK if result.complete else EXIT_INTERRUPTED

    # -- what happens -----------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        """Write an event; where nobody reads the lines any more, end."""
        from echosvc.probe.soak.events import event_facts

        self._output.tell(event)
        if self._events is not None:
            self._events.write(event_facts(event))
        if self._output.error is not None:
            self._reactor.callLater(0, self._soak.stop)

    def _show(self) -> None:
        self._output.show(self._soak.statistics)

    def _mark_by_signal(self, *_: object) -> None:
        self._reactor.callFromThread(self._soak.mark)

    def _look_at_files(self) -> None:
        """Read the marks, and look whether the file is there that ends the soak."""
        path = self._args.until_file
        ends = path is not None and os.path.lexists(path)
        self._read_marks(last=ends)
        if ends:
            self._soak.stop()

    def _read_marks(self, last: bool = False) -> None:
        """Put new marks into the timeline; say once why they cannot be read."""
        marks = self._marks
        if marks is None:
            return
        try:
            for name in marks.finish() if last else marks.names():
                self._soak.mark(name)
            self._marks_failed = False
        except OSError as error:
            if not self._marks_failed:
                print_error(f"echosvc: --marks: {describe_file_error(error)}")
            self._marks_failed = True
        if last:
            self._marks = None

    def _interrupt(self) -> Deferred[None] | None:
        """End early, with the summary; return what fires once it is written."""
        if self._is_over:
            return None
        if signal.alarm(0):  # which would end the process too soon
            signal.alarm(_END_TIME)
        self._read_marks(last=True)
        planned = bool(self._args.duration or self._args.until_file)
        self._soak.stop(complete=not planned)
        return self._ended
