"""What ``echosvc load`` and ``echosvc merge`` write: text or JSON, and the files of the reports."""

from __future__ import annotations

import argparse
import platform
import socket
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from echosvc.cli import report_options
from echosvc.cli.report_options import (
    ReportKind,
    ReportOptionsError,
    requested_reports,
    write_reports,
)
from echosvc.cli.terminal import Sink, write_text

if TYPE_CHECKING:
    from echosvc.probe.traffic.load_result import LoadResult
    from echosvc.probe.traffic.sweep import SweepResult
    from echosvc.reports.load_run import LoadRun


def _hdr(run: LoadRun) -> str:
    from io import StringIO

    from echosvc.probe.traffic.hdr_log import write_log

    file = StringIO()
    write_log(file, run.result.tally)
    return file.getvalue()


def _junit(run: LoadRun) -> str:
    from echosvc.reports.load_junit import load_junit

    return load_junit(run)


def _page(run: LoadRun) -> str:
    from echosvc.reports.load_page import load_page

    return load_page(run)


_KINDS = (
    ReportKind("--hdr", "write the latencies to FILE, as a log of HdrHistogram", _hdr),
    ReportKind("--junit", "write JUnit XML for CI systems to FILE at the end", _junit),
    ReportKind("--report", "write an HTML page for people to FILE at the end", _page),
)


def add_result_arguments(add: Callable[..., Any]) -> None:
    """Add the options that say what is written."""
    add("--json", action="store_true", help="write one JSON object to standard output, no more")
    report_options.add_report_arguments(add, _KINDS)


def validate_result_arguments(args: argparse.Namespace) -> None:
    """Check that everything can be written, and that no two have the same file.

    :raises ReportOptionsError: it cannot.
    """
    if find_spec("hdrh") is None:
        raise ReportOptionsError(f"{args.command} needs hdrhistogram: install echosvc[probe]")
    report_options.validate_reports(args, _KINDS)


def write_result(
    args: argparse.Namespace,
    result: LoadResult,
    out: Sink,
    sweep: SweepResult | None = None,
) -> bool:
    """Write everything that was asked for; return whether all reports are written.

    An error of a report is printed, and the others are written.

    :param out: standard output.
    :param sweep: of which it is a part, if it was one.
    :raises OutputError: standard output takes no more.
    """
    from echosvc.reports.load_document import load_json
    from echosvc.reports.load_run import LoadRun
    from echosvc.reports.load_text import load_text

    run = LoadRun(result, args.command_line, socket.gethostname(), _versions(), sweep)
    written = write_reports(requested_reports(args, _KINDS), run, out)
    if args.json:
        write_text(out, load_json(result, sweep))
    elif prints_text(args):
        found = "" if sweep is None else f"{sweep.why}\n\n"
        write_text(out, f"{found}{load_text(result)}")
    return written


def _versions() -> str:
    """Return the versions of what this program runs on."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.release()}"
    return f"{python}, Twisted {version('twisted')}, {system}"


def prints_text(args: argparse.Namespace) -> bool:
    """Return whether standard output is for people."""
    return not (args.json or report_options.takes_standard_output(args, _KINDS))
