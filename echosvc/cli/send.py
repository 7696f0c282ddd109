"""The command ``echosvc send``: send messages, print the replies, compare what came back."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from echosvc.cli import values
from echosvc.cli.send_session import STDIN, SendOptions, SendSession
from echosvc.cli.terminal import StandardOutput
from echosvc.cli.times import time_span
from echosvc.config.schema import ENCODINGS
from echosvc.endpoints.client import ClientTarget

#: Options with a value: names, placeholder, what reads the value, default, help.
_VALUES: tuple[tuple[tuple[str, ...], str, Callable[[str], Any], Any, str], ...] = (
    (("--name",), "NAME", str, "echosvc",
     "name of the session in the output (default: %(default)s)"),
    (("-p", "--prefix"), "TEMPLATE", values.template, None,
     "the server's prefix, in its template language: replies must have it (default: they may have"
     " any)"),
    (("--timeout",), "TIME", time_span, SendOptions.timeout,
     "report that nothing came for this time, in seconds or such as 200ms; 0 = off"
     " (default: %(default)s)"),
    (("--deadline",), "TIME", time_span, SendOptions.deadline,
     "fail after this time without progress, as --timeout; 0 = never (default: %(default)s)"),
)  # fmt: skip


def add_arguments(add: Callable[..., Any]) -> None:
    """Add the command's own options."""
    for names, placeholder, read, default, text in _VALUES:
        add(*names, metavar=placeholder, type=read, default=default, help=text)
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


def validate(args: argparse.Namespace) -> None:
    """Check what the parser cannot.

    :raises ValueError: a message stands behind standard input.
    """
    if STDIN.decode() in args.message[:-1]:
        raise ValueError("'-' must be the last MESSAGE: the stream ends with it")


async def run(args: argparse.Namespace, reactor: Any, target: ClientTarget) -> None:
    """Send the messages of the command line."""
    options = SendOptions(
        prefix=args.prefix,
        timeout=args.timeout,
        deadline=args.deadline,
        text=args.encoding == "utf-8",
        quiet=args.quiet,
        raw=args.raw,
    )
    session = SendSession(reactor, target, args.name, options, StandardOutput())
    await session.run([os.fsencode(word) for word in args.message])
