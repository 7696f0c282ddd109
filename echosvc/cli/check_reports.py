"""The reports of ``echosvc check``: the options that name their files, and what writes them."""

from __future__ import annotations

import argparse
import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from echosvc.cli import values
from echosvc.cli.report_files import check_writable, write_report
from echosvc.cli.terminal import OutputError, Sink, print_error, write_text
from echosvc.net.files import describe_file_error
from echosvc.probe.settings import CheckSettings
from echosvc.wire.template import Template

if TYPE_CHECKING:
    from echosvc.probe.result import CheckResult
    from echosvc.reports.check_run import CheckRun

#: The path that means standard output.
STANDARD_OUTPUT = "-"


class ReportOptionsError(ValueError):
    """A report cannot be written where it is asked for; says why in one line."""


@dataclass(frozen=True)
class _Kind:
    """A kind of report.

    :ivar option: what asks for it.
    :ivar help: what it is.
    :ivar render: returns it as text.
    """

    option: str
    help: str
    render: Callable[[CheckRun], str]


def _junit(run: CheckRun) -> str:
    from echosvc.reports.junit import junit_xml

    return junit_xml(run)


def _page(run: CheckRun) -> str:
    from echosvc.reports.check_page import check_page

    return check_page(run)


_KINDS = (
    _Kind("--junit", "write JUnit XML for CI systems to FILE at the end", _junit),
    _Kind("--report", "write an HTML page for people to FILE at the end", _page),
)


def add_report_arguments(add: Callable[..., Any]) -> None:
    """Add an option for each kind of report."""
    for kind in _KINDS:
        text = f"{kind.help} (- for standard output, in place of the lines)"
        add(kind.option, metavar="FILE", type=values.nonempty, help=text)


def _requested(args: argparse.Namespace) -> list[tuple[_Kind, str]]:
    """Return the kinds of reports that are asked for, and where each is to be written."""
    paths = [(kind, getattr(args, kind.option.removeprefix("--"))) for kind in _KINDS]
    return [
        (kind, STANDARD_OUTPUT if _is_standard_output(path) else path)
        for kind, path in paths
        if path is not None
    ]


def _is_standard_output(path: str) -> bool:
    """Return whether a path is standard output, be it by another name."""
    if path == STANDARD_OUTPUT:
        return True
    try:
        there, output = os.stat(path), os.fstat(1)
    except OSError:
        return False
    return os.path.samestat(there, output) and not stat.S_ISCHR(there.st_mode)


def validate_reports(args: argparse.Namespace) -> None:
    """Check that each report can be written, and that no two have the same file.

    :raises ReportOptionsError: they cannot.
    """
    taken: dict[object, str] = {STANDARD_OUTPUT: "--json"} if args.json else {}
    for kind, path in _requested(args):
        where = _identity(path)
        if where in taken:
            name = "standard output" if path == STANDARD_OUTPUT else path
            raise ReportOptionsError(f"{taken[where]} and {kind.option}: both write to {name}")
        taken[where] = kind.option
        _check(kind.option, path)


def _check(option: str, path: str) -> None:
    if path == STANDARD_OUTPUT:
        return
    try:
        check_writable(path)
    except OSError as error:
        raise ReportOptionsError(f"{option}: {describe_file_error(error)}") from None


def _identity(path: str) -> object:
    """Return what all names of one file have in common. Devices may have several reports."""
    if path == STANDARD_OUTPUT:
        return path
    try:
        there = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return (there.st_dev, there.st_ino) if stat.S_ISREG(there.st_mode) else object()


def takes_standard_output(args: argparse.Namespace) -> bool:
    """Return whether a report is written to standard output."""
    return any(path == STANDARD_OUTPUT for _, path in _requested(args))


class Reports:
    """The reports of one check, which begins now. They are written at its end, once.

    :param settings: what is asked.
    :param out: standard output.
    """

    def __init__(self, args: argparse.Namespace, settings: CheckSettings, out: Sink) -> None:
        self._requested, self._command = _requested(args), args.command_line
        self._settings, self._out = settings, out
        self._started, self._began = datetime.now().astimezone(), monotonic()
        self._complete: bool | None = None

    def write(self, result: CheckResult) -> bool:
        """Write all reports, the first time that this is called; return whether all are written.

        An error is printed, and the other reports are written.
        """
        if self._complete is None and self._requested:
            self._complete = False  # an interrupt in between must not begin anew
            run = self._run(result)
            written = [self._write(kind, path, run) for kind, path in self._requested]
            self._complete = all(written)
        return self._complete is not False

    def _write(self, kind: _Kind, path: str, run: CheckRun) -> bool:
        """Write one report; return whether it is written."""
        text = kind.render(run)
        try:
            if path == STANDARD_OUTPUT:
                write_text(self._out, text)
            else:
                write_report(path, text.encode("utf-8"))
        except OutputError as error:
            print_error(f"echosvc: {error}")
        except OSError as error:
            print_error(f"echosvc: {kind.option}: {describe_file_error(error)}")
        else:
            return True
        return False

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
