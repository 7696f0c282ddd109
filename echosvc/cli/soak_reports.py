"""The files of ``echosvc soak``: the options that name them, and what writes them."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from echosvc.cli import report_options
from echosvc.cli.event_file import EventFile
from echosvc.cli.report_options import (
    STANDARD_OUTPUT,
    ReportKind,
    ReportOptionsError,
    requested_reports,
    write_reports,
)
from echosvc.cli.terminal import Sink
from echosvc.net.files import describe_file_error

if TYPE_CHECKING:
    from echosvc.probe.soak.result import SoakResult
    from echosvc.reports.soak_run import SoakRun


def _junit(run: SoakRun) -> str:
    from echosvc.reports.soak_junit import soak_junit

    return soak_junit(run)


def _page(run: SoakRun) -> str:
    from echosvc.reports.soak_page import soak_page

    return soak_page(run)


_KINDS = (
    ReportKind("--junit", "write JUnit XML for CI systems to FILE at the end", _junit),
    ReportKind("--report", "write an HTML page for people to FILE at the end", _page),
)
#: It is written as things happen, but its file must be no other's.
_EVENTS: ReportKind[SoakRun] = ReportKind(
    "--jsonl", "append each event to FILE as it happens, as a line of JSON", lambda _: ""
)
_ALL = (_EVENTS, *_KINDS)


def add_report_arguments(add: Callable[..., Any]) -> None:
    """Add an option for each file."""
    report_options.add_report_arguments(add, _ALL)


def validate_reports(args: argparse.Namespace) -> None:
    """Check that each file can be written, and that no two are the same.

    :raises ReportOptionsError: they cannot.
    """
    report_options.validate_reports(args, _ALL)


def takes_standard_output(args: argparse.Namespace) -> bool:
    """Return whether a file is standard output."""
    return report_options.takes_standard_output(args, _ALL)


def open_events(args: argparse.Namespace) -> EventFile | None:
    """Open the file of events, if one is asked for.

    :raises ReportOptionsError: it cannot be opened.
    """
    for _, path in requested_reports(args, (_EVENTS,)):
        try:
            standard = path == STANDARD_OUTPUT
            return EventFile(path, _EVENTS.option, descriptor=1 if standard else -1)
        except OSError as error:
            why = describe_file_error(error)
            raise ReportOptionsError(f"{_EVENTS.option}: {why}") from None
    return None


def write_soak(args: argparse.Namespace, result: SoakResult, out: Sink) -> bool:
    """Write all reports; return whether all are written.

    An error is printed, and the other reports are written.

    :param out: standard output.
    """
    from echosvc.reports.soak_run import SoakRun

    run = SoakRun(result, args.command_line, socket.gethostname())
    return write_reports(requested_reports(args, _KINDS), run, out)
