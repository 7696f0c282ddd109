"""The console script: ``echosvc serve``, ``send``, ``check`` and ``demo``.

Exit statuses: 0 fine, 1 the peer or the path failed, 2 usage error, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from echosvc._text import one_line
from echosvc._version import __version__
from echosvc.cli import check as check_command
from echosvc.cli import serve
from echosvc.cli.output import OutputError, StandardOutput, write_error_line
from echosvc.cli.send import STDIN, Manner, Talk, TalkError
from echosvc.cli.target import INSECURE, ReachError, describe_reaching, duration, reached
from echosvc.config.schema import ENCODINGS
from echosvc.endpoints.client import Target
from echosvc.endpoints.strings import EndpointError
from echosvc.wire.template import Template, TemplateError

#: Gives the exit status, where it has one of its own.
Talking = Coroutine[Deferred[Any], Any, int | None]

FINE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

#: The three clients of the Node.js programs (docs/node.md), and what each says.
DEMO = (("Dwarves", "More Axes"), ("Elves", "More Arrows"), ("Hobbits", "More Pipe Weed"))


_NEEDLESS = re.compile(r"ignored explicit argument ('.*'|\".*\")", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with the status of a usage error."""
        plain = _NEEDLESS.sub(r"takes no value, and \1 was given", message)
        complain(f"echosvc: {plain}")
        raise SystemExit(USAGE)

    #: Builds the epilog, where that imports more than a command should that prints no help.
    epilog_builder: Callable[[], str] | None = None

    def format_help(self) -> str:
        """Return the help, with its epilog."""
        if self.epilog_builder is not None:
            self.epilog = self.epilog_builder()
        return super().format_help()

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Read the value of an option also where it is ``--``.

        Upstream drops it in Python 3.11, as if the options ended there.
        """
        if action.option_strings and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        upstream: Any = super()
        return upstream._get_values(action, arg_strings)

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ARG002
        """Print the help or the version. Upstream's hides that it could not."""
        try:
            StandardOutput().write(message.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise OutputError.of(error) from None


def complain(line: str) -> None:
    """Put one line on stderr, if somebody listens there."""
    write_error_line(one_line(line))


def _prefix(text: str) -> Template:
    try:
        return Template.parse(text)
    except TemplateError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_EPILOG = """\
examples:
  echosvc serve                                a server on port 8107
  echosvc send "More Axes"                     one message to localhost:8107
  echosvc send --to tcp:192.0.2.7:9000 one two two messages, one after the other's answer
  echosvc send --raw - < big.bin > echoed.bin  a stream of any size
  echosvc send --to unix:/run/echo.sock --prefix "" hello
  echosvc send --to tls:localhost:9443 --ca ca.pem --cert me.pem --key me.key hello
  echosvc send --to tls:192.0.2.7:443 --server-name echo.example --send-proxy v2 hello
  echosvc check 192.0.2.7:9000                 what the path to it does to bytes
  echosvc demo                                 three clients at once, one message each

exit status: 0 fine, 1 the peer or the path failed, 2 usage error, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = _Parser(
        prog="echosvc",
        description="An echo server, and clients that ask one.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"echosvc {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", dest="command", required=True)
    commands.add_parser("serve", help="be the server", add_help=False)
    _describe_send(commands)
    _describe_check(commands)
    _describe_demo(commands)
    return top


def _command(
    commands: Any,
    name: str,
    run: object,
    summary: str,
    positional: bool = False,
) -> _Parser:
    """Add a command. The server is its option ``--to``, or its one argument."""
    made: _Parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.set_defaults(run=run, prepare=lambda _: None)
    describe_reaching(made, positional)
    return made


def _describe_send(commands: Any) -> None:
    manner = Manner()
    send = _command(commands, "send", _send, "send messages, print what comes back")
    add = send.add_argument
    add(
        "--name",
        metavar="NAME",
        default="echosvc",
        help="who we are, in the output (default: %(default)s)",
    )
    add(
        "-p",
        "--prefix",
        metavar="TEMPLATE",
        type=_prefix,
        help="the server's prefix, in its template language: answers must have it"
        " (default: they may have any)",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=duration,
        default=manner.timeout,
        help="report when nothing came for so long; 0 = off (default: %(default)s)",
    )
    add(
        "--deadline",
        metavar="SECONDS",
        type=duration,
        default=manner.deadline,
        help="give up after so long without progress; 0 = never (default: %(default)s)",
    )
    add(
        "--encoding",
        choices=ENCODINGS[::-1],
        default="utf-8",
        help="how replies are shown (default: %(default)s)",
    )
    add("--quiet", action="store_true", help="print the replies alone, one a line")
    add("--raw", action="store_true", help="write the replies as they are, nothing added")
    add("message", metavar="MESSAGE", nargs="+",
        help="what to send; '-' as the last one streams standard input")  # fmt: skip


def _describe_check(commands: Any) -> None:
    check = _command(commands, "check", _check, check_command.SUMMARY, positional=True)
    check.epilog_builder = check_command.epilog
    check.set_defaults(prepare=check_command.settings)
    check_command.describe(check.add_argument, _prefix)


def _describe_demo(commands: Any) -> None:
    _command(commands, "demo", _demo, "three clients at once, each with its own message")


def _send(words: argparse.Namespace, reactor: Any, target: Target) -> list[Talking]:
    messages = [os.fsencode(word) for word in words.message]
    manner = Manner(
        words.prefix, words.timeout, words.deadline, words.encoding == "utf-8",
        words.quiet, words.raw,
    )  # fmt: skip
    talk = Talk(reactor, target, words.name, manner, StandardOutput())
    return [talk.run(messages)]


def _check(words: argparse.Namespace, reactor: Any, target: Target) -> list[Talking]:
    return [check_command.run(words, reactor, target)]


def _demo(_: argparse.Namespace, reactor: Any, target: Target) -> list[Talking]:
    out = StandardOutput()
    return [
        Talk(reactor, target, name, Manner(), out).run([message.encode()]) for name, message in DEMO
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; give its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if [*arguments[:1]] == ["serve"]:  # whose words are those of twistd
        return serve.main(arguments[1:])
    commands = parser()
    try:
        words = commands.parse_args(arguments)
        if sys.stdout is None:
            raise OutputError.of(OSError(errno.EBADF, ""))
    except SystemExit as leaving:  # after --help or --version, or a wrong word
        return int(leaving.code or FINE)
    except OutputError as error:
        complain(str(error))
        return FAILED
    if STDIN.decode() in getattr(words, "message", [])[:-1]:
        commands.error("'-' must be the last MESSAGE: the stream ends with it")
    try:
        words.prepare(words)
    except ValueError as error:
        commands.error(str(error))
    from twisted.internet import reactor

    try:
        target = reached(reactor, words)
    except ReachError as error:
        commands.error(str(error))
    except EndpointError as error:
        commands.error(f"{words.named} {words.to!r}: {error}")
    if words.insecure:
        complain(INSECURE)
    return _run(reactor, lambda: words.run(words, reactor, target))


def _run(reactor: Any, start: Callable[[], list[Talking]]) -> int:
    """Run the conversations on the reactor until all have ended."""
    statuses: list[int] = []

    def interrupted() -> None:
        statuses.append(INTERRUPTED)  # or the last, if the conversations had ended

    def ended(results: list[tuple[bool, int | None]]) -> None:
        if not statuses:
            statuses.append(_judged([result for _, result in results]))
            reactor.stop()

    def begin() -> None:
        reactor.addSystemEventTrigger("before", "shutdown", interrupted)
        talks = [Deferred.fromCoroutine(talk) for talk in start()]
        DeferredList(talks, consumeErrors=True).addCallback(ended)

    reactor.callWhenRunning(begin)
    reactor.callWhenRunning(_leave_at_last, reactor)
    reactor.run()
    return statuses[0]


def _leave_at_last(reactor: Any) -> None:
    """Stop on SIGINT and SIGTERM, and a second later in any case.

    The reactor cannot stop while standard output blocks it.
    """

    def leave(*_: object) -> None:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(INTERRUPTED))
        signal.alarm(1)
        reactor.callFromThread(lambda: reactor.running and reactor.stop())

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def _judged(results: Sequence[object]) -> int:
    """Say what went wrong with the conversations; give the exit status."""
    failures = [result for result in results if isinstance(result, Failure)]
    lines = [
        failure.getErrorMessage()
        if failure.check(TalkError, OutputError)
        else f"echosvc: internal error: {failure.getErrorMessage()}"
        for failure in failures
    ]
    for line in dict.fromkeys(lines):
        complain(line)
    own = max((result for result in results if isinstance(result, int)), default=FINE)
    return FAILED if failures else own
