"""The console script: ``echosvc serve``, ``send``, ``check``, ``load``, ``share`` and ``demo``.

Exit statuses: 0 success, 1 the peer or the path failed, 2 usage error, 3 a load that is invalid or
shares that are undecided, 130 interrupted.
"""

from __future__ import annotations

import argparse
import atexit
import errno
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ReactorNotRunning
from twisted.python.failure import Failure

from echosvc._version import __version__
from echosvc.cli.send_session import SendError, SendOptions, SendSession
from echosvc.cli.standard_input import InputError
from echosvc.cli.target import (
    INSECURE,
    TargetOptionsError,
    add_target_arguments,
    faulty_argument,
    target_from_args,
)
from echosvc.cli.terminal import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    OutputError,
    StandardOutput,
    print_error,
    write_text,
)
from echosvc.endpoints.client import ClientTarget
from echosvc.endpoints.strings import EndpointError
from echosvc.probe.setting_error import SettingError

#: Returns the exit status, or ``None`` for success.
CommandCoroutine = Coroutine[Deferred[Any], Any, int | None]

#: The three clients of the Node.js programs (docs/node.md), and what each says.
DEMO = (("Dwarves", "More Axes"), ("Elves", "More Arrows"), ("Hobbits", "More Pipe Weed"))

#: How argparse names an option before what is wrong with it.
_NAMED = re.compile(r"\Aargument (?:-\w/(?=--))?")
#: What argparse says of a value for an option that takes none.
_UNWANTED_VALUE = re.compile(r"ignored explicit argument ('.*'|\".*\")", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    """A parser that prints an error in one line, without the usage."""

    #: Builds the epilog, when that imports more than the command itself needs.
    epilog_builder: Callable[[], str] | None = None

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and exit with the status of a usage error."""
        plain = _UNWANTED_VALUE.sub(r"takes no value, and \1 was given", _NAMED.sub("", message))
        print_error(f"echosvc: {plain}")
        raise SystemExit(EXIT_USAGE)

    def format_help(self) -> str:
        """Return the help, with its epilog."""
        if self.epilog_builder is not None:
            self.epilog = self.epilog_builder()
        return super().format_help()

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Read the value of an option also where it is ``--``.

        The argparse of Python 3.11 drops it, as if the options ended there.
        """
        if action.option_strings and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        upstream: Any = super()
        return upstream._get_values(action, arg_strings)

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ARG002
        """Print the help or the version. Upstream ignores errors of the output."""
        write_text(StandardOutput(), message)


_EXAMPLES = """\
  echosvc serve                                a server on port 8107
  echosvc send "More Axes"                     one message to localhost:8107
  echosvc send --to tcp:192.0.2.7:9000 one two two messages, one after the other's answer
  echosvc send --raw - < big.bin > echoed.bin  a stream of any size
  echosvc send --to unix:/run/echo.sock --prefix "" hello
  echosvc send --to tls:localhost:9443 --ca ca.pem --cert me.pem --key me.key hello
  echosvc send --to tls:192.0.2.7:443 --server-name echo.example --send-proxy v2 hello
  echosvc check 192.0.2.7:9000                 what the path to it does to bytes
  echosvc load 192.0.2.7:9000 --rate 1000      how fast it answers, every byte verified
  echosvc soak 192.0.2.7:9000                  when its connections are not answered, and why
  echosvc share 192.0.2.7:9000 --expect a=80±5,b=20±5   which servers answer
  echosvc demo                                 three clients at once, one message each
"""
_STATUSES = """\
exit status: 0 success, 1 the peer or the path failed, 2 usage error, 130 interrupted
"""


def _epilog(command: str = "") -> str:
    """Return the examples of one command, or all, and the exit statuses."""
    lines = _EXAMPLES.splitlines()
    shown = [line for line in lines if line.startswith(f"  echosvc {command}")]
    return "\n".join(["examples:", *shown, "", _STATUSES])


def parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of the command line.

    :param command: the one that will be parsed, whose modules alone are imported; "": any.
    """
    top = _Parser(
        prog="echosvc",
        description="An echo server, and clients that use and check one.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"echosvc {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", dest="command")
    commands.add_parser("serve", help="run the server", add_help=False)
    for name, (summary, add) in _COMMANDS.items():
        if command in ("", name):
            add(commands, name, summary)
        else:
            commands.add_parser(name, help=summary, add_help=False)
    return top


def _command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace, Any, ClientTarget], CommandCoroutine] | None,
    summary: str,
    positional: bool = False,
    add_own: Callable[[_Parser], None] = lambda _: None,
) -> _Parser:
    """Add a command. The server is its option ``--to``, or its one argument.

    :param add_own: adds the command's own groups of options, which the help shows first.
    """
    made: _Parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=_epilog(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.set_defaults(
        start=lambda *args: [run(*args)] if run else [],
        validate=lambda _: None,
        run_offline=lambda _: None,
        prepare=lambda: None,
    )
    if positional:
        made.usage = f"echosvc {name} [ENDPOINT] [OPTION ...]"
    add_own(made)
    add_target_arguments(made, positional)
    return made


def _add_send(commands: Any, name: str, summary: str) -> None:
    from echosvc.cli import send

    made = _command(commands, name, send.run, summary)
    made.set_defaults(validate=send.validate)
    send.add_arguments(made.add_argument)


def _add_check(commands: Any, name: str, summary: str) -> None:
    from echosvc.cli import check

    made = _command(commands, name, check.run, summary, True, check.add_arguments)
    made.epilog_builder = check.epilog
    made.set_defaults(validate=check.validate)


def _add_load(commands: Any, name: str, summary: str) -> None:
    from echosvc.cli import load
    from echosvc.cli.compare import compare

    made = _command(commands, name, load.run, summary, True, load.add_arguments)
    made.epilog = load.EPILOG
    made.set_defaults(validate=load.validate, run_offline=compare, prepare=_install_fast_reactor)


def _install_fast_reactor() -> None:
    """Install the lean reactor, where the system has epoll and no reactor is installed."""
    from echosvc.net.epoll import HAS_EPOLL

    if HAS_EPOLL and "twisted.internet.reactor" not in sys.modules:
        from echosvc.net.reactor import install

        install()


def _add_merge(commands: Any, name: str, summary: str) -> None:
    from echosvc.cli import merge

    made = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=merge.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    merge.add_arguments(made)
    made.set_defaults(validate=merge.validate, run_offline=merge.run)


def _add_soak(commands: Any, name: str, summary: str) -> None:
    from echosvc.cli import soak

    made = _command(commands, name, soak.run, summary, True, soak.add_arguments)
    made.epilog = soak.EPILOG
    made.set_defaults(validate=soak.validate)


def _add_share(commands: Any, name: str, summary: str) -> None:
    from echosvc.cli import share

    made = _command(commands, name, share.run, summary, True, share.add_arguments)
    made.epilog = share.EPILOG
    made.set_defaults(validate=share.validate)


def _add_demo(commands: Any, name: str, summary: str) -> None:
    made = _command(commands, name, None, summary)
    made.set_defaults(start=_demo)


def _demo(_: argparse.Namespace, reactor: Any, target: ClientTarget) -> list[CommandCoroutine]:
    out = StandardOutput()
    return [
        SendSession(reactor, target, name, SendOptions(), out).run([message.encode()])
        for name, message in DEMO
    ]


#: The commands but ``serve``: what each does, and what adds it to the parser.
_COMMANDS: dict[str, tuple[str, Callable[[Any, str, str], None]]] = {
    "send": ("send messages, print what comes back", _add_send),
    "check": ("check what a path does to bytes, one probe after the other", _add_check),
    "load": ("load a server with messages, and verify every reply to the byte", _add_load),
    "merge": ("add the results of several runs of load, exactly", _add_merge),
    "soak": ("keep connections open for long, and note when they are not answered", _add_soak),
    "share": (
        "count which servers answer, and decide whether their shares are as expected",
        _add_share,
    ),
    "demo": ("three clients at once, each with its own message", _add_demo),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if [*arguments[:1]] == ["serve"]:  # its options are those of twistd
        from echosvc.cli import serve

        return serve.main(arguments[1:])
    commands = parser(next((each for each in arguments[:1] if each in _COMMANDS), ""))
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
    return _run(reactor, lambda: args.start(args, reactor, target))


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


def _run(reactor: Any, start: Callable[[], list[CommandCoroutine]]) -> int:
    """Run the coroutines on the reactor until all have ended; return the exit status."""
    statuses: list[int] = []
    stopping = False

    def interrupted() -> None:
        nonlocal stopping
        stopping = True

    def ended(results: list[tuple[bool, int | None]]) -> None:
        # After Ctrl-C a command may end in its own way. Once the reactor runs no more, it cuts the
        # connections, and what fails by that is no failure.
        if not stopping or reactor.running:
            statuses.append(exit_status([result for _, result in results]))
            _stop(reactor)

    def begin() -> None:
        reactor.addSystemEventTrigger("before", "shutdown", interrupted)
        running = [Deferred.fromCoroutine(each) for each in start()]
        DeferredList(running, consumeErrors=True).addCallback(ended)

    reactor.callWhenRunning(begin)
    reactor.callWhenRunning(_install_exit_handlers, reactor)
    reactor.run()
    return statuses[0] if statuses else EXIT_INTERRUPTED


def _stop(reactor: Any) -> None:
    """Stop the reactor, if it does not stop already."""
    with suppress(ReactorNotRunning):
        reactor.stop()


def _install_exit_handlers(reactor: Any) -> None:
    """Stop on SIGINT and SIGTERM; exit one second later in any case.

    The reactor cannot stop while a write to standard output blocks it. Python's own shutdown
    removes the handler of SIGALRM, so the alarm must not outlive :mod:`atexit`.
    """
    atexit.register(signal.alarm, 0)

    def leave(*_: object) -> None:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(EXIT_INTERRUPTED))
        signal.alarm(1)
        reactor.callFromThread(_stop, reactor)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def exit_status(results: Sequence[object]) -> int:
    """Print each error of the coroutines once; return the exit status."""
    failures = [result for result in results if isinstance(result, Failure)]
    for line in dict.fromkeys(_error_line(failure) for failure in failures):
        print_error(line)
    own = max((result for result in results if isinstance(result, int)), default=EXIT_OK)
    return EXIT_FAILURE if failures else own


def _error_line(failure: Failure) -> str:
    message = failure.getErrorMessage()
    if failure.check(SendError):
        return message
    known = failure.check(OutputError, InputError)
    if known:
        return f"echosvc: {message}"
    return f"echosvc: internal error: {type(failure.value).__name__}: {message}"
