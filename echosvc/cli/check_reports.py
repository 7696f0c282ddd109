"""The reports of ``echosvc check``: the options that name their files, and what writes them."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from echosvc.cli import report_options
from echosvc.cli.report_options import ReportKind, requested_reports, write_reports
from echosvc.cli.terminal import Sink
from echosvc.probe.settings import CheckSettings
from echosvc.wire.template import Template

if TYPE_CHECKING:
    from echosvc.probe.result import CheckResult
    from echosvc.reports.check_run import CheckRun


def _junit(run: CheckRun) -> str:
    from echosvc.reports.check_junit import check_junit

    return check_junit(run)


def _page(run: CheckRun) -> str:
    from echosvc.reports.check_page import check_page

    return check_page(run)


_KINDS = (
    ReportKind("--junit", "write JUnit XML for CI systems to FILE at the end", _junit),
    ReportKind("--report", "write an HTML page for people to FILE at the end", _page),
)


def add_report_arguments(add: Callable[..., Any]) -> None:
    """Add an option for each kind of report."""
    report_options.add_report_arguments(add, _KINDS)


def validate_reports(args: argparse.Namespace) -> None:
    """Check that each report can be written, and that no two have the same file.

    :raises ReportOptionsError: they cannot.
    """
    report_options.validate_reports(args, _KINDS)


def takes_standard_output(args: argparse.Namespace) -> bool:
    """Return whether a report is written to standard output."""
    return report_options.takes_standard_output(args, _KINDS)


class Reports:
    """The reports of one check, which begins now. They are written at its end, once.

    :param settings: what is asked.
    :param out: standard output.
    """

    def __init__(self, args: argparse.Namespace, settings: CheckSettings, out: Sink) -> None:
        self._requests, self._command = requested_reports(args, _KINDS), args.command_line
        self._settings, self._out = settings, out
        self._started, self._began = datetime.now().astimezone(), monotonic()
        self._complete: bool | None = None

    def write(self, result: CheckResult) -> bool:
        """Write all reports, the first time that this is called; return whether all are written.

        An error is printed, and the other reports are written.
        """
        if self._complete is None and self._requests:
            self._complete = False  # an interrupt in between must not begin anew
            self._complete = write_reports(self._requests, self._run(result), self._out)
        return self._complete is not False

    def _run(self, result: CheckResult) -> CheckRun:
        from echosvc.reports.check_run import CheckRun

        settings = tuple(_settings_texts(self._settings))
        seconds, host = monotonic() - self._began, socket.gethostname()
        return CheckRun(result, settings, self._command, self._started, seconds, host)


def _settings_texts(settings: CheckSettings) -> Iterator[tuple[str, str]]:
    """Yield the name of each setting that has a value, and the value as text."""
    for field in fields(settings):
        if text := _setting_text(getattr(settings, field.name)):
            yield field.name.replace("_", "-"), text


def _setting_text(value: object) -> str:
    """Return a value as text; "": there is none."""
    if isinstance(value, Template):
        return "as given"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_setting_text, value))
    return f"{value:g}" if isinstance(value, float) and value else str(value or "")
