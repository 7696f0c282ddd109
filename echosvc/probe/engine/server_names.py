"""Names of servers, found in their prefixes by a regular expression.

The expression is the user's, the prefix the peer's. Together they may keep Python's ``re`` busy
for years, and only the end of its process stops it. So it runs in its own process with a time
limit. A limit of the prefix's length would not do (``(a+)+$`` takes minutes for 32 letters), and
whether an expression is harmless cannot be seen from it.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from echosvc._text import quote
from echosvc.probe.engine.connect_time import call_in_thread
from echosvc.probe.engine.findings import Failed

#: Longest part of a prefix that is searched, bytes.
MAX_PREFIX = 4096
# SIGALRM ends the process even if its parent has ended.
_PROGRAM = """
import json, re, signal, sys
expression, prefixes, seconds = json.load(sys.stdin)
signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.alarm(seconds)
found = [re.search(expression, prefix) for prefix in prefixes]
names = [each and ((each[1] if each.re.groups else each[0]) or "") for each in found]
json.dump(names, sys.stdout)
"""


async def find_names(
    reactor: Any, expression: str, prefixes: Sequence[bytes], seconds: float
) -> list[str]:
    """Return the name in each prefix: the expression's first group, or all of the match.

    :param reactor: what runs the caller; a thread waits for the process.
    :param seconds: time limit.
    :raises Failed: a prefix does not match, or it takes longer.
    """
    different = list(dict.fromkeys(prefix[:MAX_PREFIX] for prefix in prefixes))
    found = await search_names(reactor, expression, different, seconds)
    names = dict(zip(different, found, strict=True))
    for prefix, name in names.items():
        if name is None:
            raise no_match(expression, prefix)
    return [names[prefix[:MAX_PREFIX]] or "" for prefix in prefixes]


def no_match(expression: str, prefix: bytes) -> Failed:
    """Return the failure of a prefix that an expression does not match."""
    return Failed(
        f"the prefix {quote(prefix)} does not match {expression!r}",
        "another server answers, or --identity is wrong",
    )


async def search_names(
    reactor: Any, expression: str, prefixes: Sequence[bytes], seconds: float
) -> list[str | None]:
    """Do the same as :func:`find_names`, with ``None`` for each prefix that does not match.

    :raises Failed: it takes longer.
    """
    texts = [prefix[:MAX_PREFIX].decode("utf-8", "surrogateescape") for prefix in prefixes]
    return await _search(reactor, expression, texts, seconds)


async def _search(
    reactor: Any, expression: str, texts: list[str], seconds: float
) -> list[str | None]:
    asked = json.dumps([expression, texts, math.ceil(seconds)]).encode()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-I", "-S", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        names: list[str | None] = json.loads(
            await call_in_thread(reactor, partial(_communicate, process, asked, seconds))
        )
    except (subprocess.TimeoutExpired, ValueError):
        raise Failed(
            f"{expression!r} takes longer than {seconds:g} s to be found in a prefix",
            "repeats within repeats in --identity, and a prefix made for them",
        ) from None
    finally:
        process.kill()  # also if this is cancelled
    return names


def _communicate(process: subprocess.Popen[bytes], asked: bytes, seconds: float) -> bytes:
    """Return what the process writes, after its end."""
    with process:
        try:
            return process.communicate(asked, seconds)[0]
        finally:
            process.kill()
