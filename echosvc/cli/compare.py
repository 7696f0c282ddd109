"""Two results of ``echosvc load`` side by side: its options ``--compare`` and ``--fail-if``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from echosvc._text import quote
from echosvc.cli import values
from echosvc.cli.result_files import STANDARD_INPUT, ResultFileError, read_results
from echosvc.cli.target import DEFAULT_ENDPOINT
from echosvc.cli.terminal import EXIT_FAILURE, EXIT_OK, StandardOutput, write_text

#: The exit status where the figures of a run mean nothing.
_EXIT_INVALID = 3


def add_compare_arguments(add: Callable[..., Any]) -> None:
    """Add the options."""
    add(
        "--compare",
        metavar=("A.json", "B.json"),
        nargs=2,
        type=values.nonempty,
        help="run nothing; compare the result B with the earlier result A",
    )
    add(
        "--fail-if",
        metavar="CONDITION",
        action="append",
        type=_condition,
        default=[],
        help="of --compare: exit with 1 where this holds, such as p99>+10%%, rate<-5%% or"
        " p99>5ms; may be repeated",
    )


def _condition(text: str) -> Any:
    from echosvc.reports.conditions import Condition, ConditionError

    try:
        return Condition.parse(text)
    except ConditionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def validate_compare(args: argparse.Namespace, given: Sequence[str]) -> None:
    """Check the options.

    :param given: options of a run that are given, by the names of their attributes.
    :raises ValueError: they make no sense; says why in one line.
    """
    if args.fail_if and args.compare is None:
        raise ValueError("--fail-if: it is a condition of --compare, which is not given")
    if args.compare is None:
        return
    reports = [name for name in ("hdr", "junit", "report") if getattr(args, name) is not None]
    if reports:
        raise ValueError(f"--{reports[0]}: --compare writes text or JSON, and no reports")
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')}: --compare runs nothing")
    if args.to != DEFAULT_ENDPOINT:
        raise ValueError(f"ENDPOINT: --compare runs nothing: {quote(args.to)}")
    if args.compare == [STANDARD_INPUT] * 2:
        raise ValueError("--compare: standard input can be read only once")


def compare(args: argparse.Namespace) -> int | None:
    """Read both results and print the comparison; return the exit status.

    :return: ``None``: no comparison was asked for.

    :raises ValueError: a file is no result.
    :raises OutputError: standard output takes no more.
    """
    from echosvc.reports.comparison import Comparison, comparison_document, comparison_text

    if args.compare is None:
        return None
    results = [_read_one(path) for path in args.compare]
    comparison = Comparison((args.compare[0], args.compare[1]), (results[0], results[1]),
                            args.fail_if)  # fmt: skip
    if args.json:
        text = json.dumps(comparison_document(comparison), allow_nan=False) + "\n"
    else:
        text = comparison_text(comparison)
    write_text(StandardOutput(), text)
    if comparison.invalid:
        return _EXIT_INVALID
    return EXIT_OK if comparison.ok else EXIT_FAILURE


def _read_one(path: str) -> Any:
    """Return the result of a file, which has no other.

    :raises ResultFileError: it has none, or several.
    """
    found = list(read_results([path]))
    if len(found) > 1:
        raise ResultFileError(f"{path}: it has {len(found)} results; merge them first")
    return found[0][1]
