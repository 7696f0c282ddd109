"""The console script: ``echosvc serve``, ``send``, ``check``, ``load``, ``share`` and ``demo``.

Exit statuses: 0 success, 1 the peer or the path failed, 2 usage error, 3 a load that is invalid or
shares that are undecided, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import shlex
import sys
from collections.abc import Sequence

from echosvc.cli.commands import COMMANDS, parser
from echosvc.cli.coroutines import run_coroutines
from echosvc.cli.target import INSECURE, TargetOptionsError, faulty_argument, target_from_args
from echosvc.cli.terminal import EXIT_FAILURE, EXIT_OK, OutputError, print_error
from echosvc.endpoints.strings import EndpointError
from echosvc.probe.setting_error import SettingError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if [*arguments[:1]] == ["serve"]:  # its options are those of twistd
        from echosvc.cli import serve

        return serve.main(arguments[1:])
    commands = parser(next((each for each in arguments[:1] if each in COMMANDS), ""))
    try:
        args = commands.parse_args(arguments)
        if args.command is None:  # asked for here: argparse would not name an unknown option first
            commands.error("the following arguments are required: COMMAND")
        args.command_line = shlex.join(["echosvc", *arguments])
        if sys.stdout is None:
            raise OutputError(OSError(errno.EBADF, ""))
    except SystemExit as leaving:  # after --help, --version or a usage error
        return int(leaving.code or EXIT_OK)
    except OutputError as error:
        print_error(f"echosvc: {error}")
        return EXIT_FAILURE
    return _run_command(commands, args)


def _run_command(commands: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    """Check what the parser cannot, then run the command on the reactor."""
    try:
        args.validate(args)
        status = _run_offline(args)
    except SettingError as error:
        commands.error(error.as_typed())
    except ValueError as error:
        commands.error(str(error))
    if status is not None:
        return status
    args.prepare()
    from twisted.internet import reactor

    from echosvc.net.clock import use_monotonic_clock

    use_monotonic_clock(reactor)
    try:
        target = target_from_args(reactor, args)
    except TargetOptionsError as error:
        commands.error(str(error))
    except EndpointError as error:
        commands.error(f"{faulty_argument(args, error)}: {error}")
    if args.insecure:
        print_error(INSECURE)
    return run_coroutines(reactor, lambda: args.start(args, reactor, target))


def _run_offline(args: argparse.Namespace) -> int | None:
    """Run what opens no connection; return the exit status, or ``None``: this opens one.

    :raises ValueError: what was given makes no sense.
    """
    try:
        status: int | None = args.run_offline(args)
    except OutputError as error:
        print_error(f"echosvc: {error}")
        return EXIT_FAILURE
    return status
