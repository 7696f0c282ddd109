"""The command line of the catalogue: which entries are run, and how often."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import Any

from tests.programs.paths.catalogue.entry import Entry
from tests.programs.paths.catalogue.registry import select
from tests.programs.paths.catalogue.runner import run_all, summary

#: Paths that do nothing wrong, of the kinds that are used most.
CLEAN_PATHS = ("direct", "direct-tls", "haproxy", "nginx", "envoy")


def add_arguments(what: Any, parser: argparse.ArgumentParser) -> None:
    """Add the options.

    :param what: the group of commands, of which one is given.
    """
    names = ", ".join(CLEAN_PATHS)
    what.add_argument("--clean", type=int, metavar="N", help=f"check clean paths N times: {names}")
    what.add_argument(
        "--catalogue",
        nargs="*",
        metavar="NAME",
        help="run these entries (a pattern of a shell each; none: all)",
    )
    parser.add_argument("--times", type=int, default=1, metavar="N", help="run each N times")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="N runs at once")
    parser.add_argument("--show", action="store_true", help="print the lines of a wrong run")
    parser.add_argument("--list", action="store_true", help="only list the entries")


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run entries; return the exit status: 0 if each run said what is true."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that each path is taken down
    if options.clean:
        times = -(-options.clean // len(CLEAN_PATHS))
        return _run(select(CLEAN_PATHS), times, options.jobs, True)
    try:
        chosen = select(options.catalogue)
    except ValueError as unknown:
        parser.error(str(unknown))
    if options.list:
        print("\n".join(f"{entry.name:<28} {entry.title}" for entry in chosen))
        return 0
    return _run(chosen, options.times, options.jobs, options.show)


def _run(chosen: Sequence[Entry], times: int, jobs: int, show: bool) -> int:
    outcomes = run_all(chosen, times, jobs, show)
    print(summary(outcomes))
    return 0 if all(outcome.right for outcome in outcomes) else 1
