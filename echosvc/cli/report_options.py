"""Options of a command that name the files of its reports, and what writes them."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from echosvc.cli import values
from echosvc.cli.report_files import check_writable, write_report
from echosvc.cli.terminal import OutputError, Sink, print_error, write_text
from echosvc.net.files import describe_file_error

#: The path that means standard output.
STANDARD_OUTPUT = "-"

#: What is reported.
Run = TypeVar("Run")


class ReportOptionsError(ValueError):
    """A report cannot be written where it is asked for; says why in one line."""


@dataclass(frozen=True)
class ReportKind(Generic[Run]):
    """A kind of report.

    :ivar option: what asks for it.
    :ivar help: what it is.
    :ivar render: returns it as text.
    """

    option: str
    help: str
    render: Callable[[Run], str]


Requests = list[tuple[ReportKind[Run], str]]


def add_report_arguments(add: Callable[..., Any], kinds: Sequence[ReportKind[Run]]) -> None:
    """Add an option for each kind of report."""
    for kind in kinds:
        text = f"{kind.help} (- for standard output, in place of the lines)"
        add(kind.option, metavar="FILE", type=values.nonempty, help=text)


def requested_reports(args: argparse.Namespace, kinds: Sequence[ReportKind[Run]]) -> Requests[Run]:
    """Return the kinds of reports that are asked for, and where each is to be written."""
    paths = [(kind, getattr(args, kind.option.removeprefix("--"))) for kind in kinds]
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


def validate_reports(args: argparse.Namespace, kinds: Sequence[ReportKind[Run]]) -> None:
    """Check that each report can be written, and that no two have the same file.

    :raises ReportOptionsError: they cannot.
    """
    taken: dict[object, str] = {STANDARD_OUTPUT: "--json"} if args.json else {}
    for kind, path in requested_reports(args, kinds):
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


def takes_standard_output(args: argparse.Namespace, kinds: Sequence[ReportKind[Run]]) -> bool:
    """Return whether a report is written to standard output."""
    return any(path == STANDARD_OUTPUT for _, path in requested_reports(args, kinds))


def write_reports(requests: Requests[Run], run: Run, out: Sink) -> bool:
    """Write reports; return whether all are written.

    An error is printed, and the other reports are written.

    :param out: standard output.
    """
    written = [_write(kind, path, run, out) for kind, path in requests]
    return all(written)


def _write(kind: ReportKind[Run], path: str, run: Run, out: Sink) -> bool:
    """Write one report; return whether it is written."""
    text = kind.render(run)
    try:
        if path == STANDARD_OUTPUT:
            write_text(out, text)
        else:
            write_report(path, text.encode("utf-8"))
    except OutputError as error:
        print_error(f"echosvc: {error}")
    except OSError as error:
        print_error(f"echosvc: {kind.option}: {describe_file_error(error)}")
    else:
        return True
    return False
