"""The commands: what each does, and its options.

The modules of a command are imported when its parser is made, so a command imports no other's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from echosvc._version import __version__
from echosvc.cli.command_parser import CommandParser
from echosvc.cli.coroutines import CommandCoroutine
from echosvc.cli.send_session import SendOptions, SendSession
from echosvc.cli.target import add_target_arguments
from echosvc.cli.terminal import StandardOutput
from echosvc.endpoints.client import ClientTarget

#: The three clients of the Node.js programs (docs/node.md), and what each says.
DEMO = (("Dwarves", "More Axes"), ("Elves", "More Arrows"), ("Hobbits", "More Pipe Weed"))

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
  echosvc relay 9000 8107 --fault latency=80ms a relay that misbehaves as told
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


def _command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace, Any, ClientTarget], CommandCoroutine] | None,
    summary: str,
    positional: bool = False,
    add_own: Callable[[CommandParser], None] = lambda _: None,
    required: bool = False,
) -> CommandParser:
    """Add a command. The server is its option ``--to``, or its one argument.

    :param add_own: adds the command's own groups of options, which the help shows first.
    :param required: the argument must be given.
    """
    made: CommandParser = commands.add_parser(
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
    add_target_arguments(made, positional, required)
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


def _add_relay(commands: Any, name: str, summary: str) -> None:
    from echosvc.cli import relay

    made = _command(commands, name, relay.run, summary, True, relay.add_arguments, True)
    made.usage = f"echosvc {name} LISTEN ENDPOINT [OPTION ...]"
    made.epilog = relay.EPILOG
    made.set_defaults(validate=relay.validate)


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
COMMANDS: dict[str, tuple[str, Callable[[Any, str, str], None]]] = {
    "send": ("send messages, print what comes back", _add_send),
    "check": ("check what a path does to bytes, one probe after the other", _add_check),
    "load": ("load a server with messages, and verify every reply to the byte", _add_load),
    "merge": ("add the results of several runs of load, exactly", _add_merge),
    "soak": ("keep connections open for long, and note when they are not answered", _add_soak),
    "share": (
        "count which servers answer, and decide whether their shares are as expected",
        _add_share,
    ),
    "relay": ("relay connections to a server, with faults on purpose", _add_relay),
    "demo": ("three clients at once, each with its own message", _add_demo),
}


def parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of the command line.

    :param command: the one that will be parsed, whose modules alone are imported; "": any.
    """
    top = CommandParser(
        prog="echosvc",
        description="An echo server, and clients that use and check one.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"echosvc {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", dest="command")
    commands.add_parser("serve", help="run the server", add_help=False)
    for name, (summary, add) in COMMANDS.items():
        if command in ("", name):
            add(commands, name, summary)
        else:
            commands.add_parser(name, help=summary, add_help=False)
    return top
