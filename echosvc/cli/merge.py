"""The command ``echosvc merge``: results of several runs or machines, as one."""

from __future__ import annotations

import argparse

from echosvc.cli import values
from echosvc.cli.load_reports import (
    add_result_arguments,
    validate_result_arguments,
    write_result,
)
from echosvc.cli.result_files import STANDARD_INPUT, read_results
from echosvc.cli.terminal import EXIT_FAILURE, EXIT_OK, StandardOutput

EPILOG = """\
FILE has what "echosvc load --json" wrote: one result, or one a line.
Counters and histograms are added, and seconds are aligned by Unix time. Results of different
endpoints, options or versions are refused, and so are shards that overlap.

examples:
  echosvc merge one.json two.json --report all.html
  ssh load2 echosvc load lb:9000 --shard 2/2 --seed 7 --json | echosvc merge one.json -

exit status: that of the merged result: 0 OK, 1 FAIL, 3 INVALID; 2 usage error, or a file is no
result, 130 interrupted
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.add_argument(
        "files", metavar="FILE", nargs="+", type=values.nonempty, help="results; - = standard input"
    )
    add_result_arguments(command.add_argument_group("what to write").add_argument)


def validate(args: argparse.Namespace) -> None:
    """Check the options.

    :raises ValueError: they make no sense; says why in one line.
    """
    if args.files.count(STANDARD_INPUT) > 1:
        raise ValueError("FILE: standard input can be read only once")
    validate_result_arguments(args)


def run(args: argparse.Namespace) -> int:
    """Read, add and write; return the exit status.

    :raises ValueError: a file is no result, or results do not belong together.
    :raises OutputError: standard output takes no more.
    """
    from echosvc.probe.traffic.load_result import merge_loads

    merged = merge_loads(read_results(args.files))
    written = write_result(args, merged, StandardOutput())
    status = merged.verdict.exit_status
    if status == EXIT_OK and not (merged.ok and written):
        return EXIT_FAILURE
    return status
