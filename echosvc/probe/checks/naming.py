"""Who answers, as a regular expression finds it in prefixes.

The expression is the user's, the prefix the peer's. Together they may keep Python's ``re`` busy
for years, and nothing stops it but the end of its process. So it gets a process of its own,
which ends in time: a limit of the prefix's length alone would not do (``(a+)+$`` takes minutes
for 32 letters), and what is harmless cannot be told from the expression.
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
from echosvc.probe.engine.connect_time import in_thread
from echosvc.probe.engine.findings import Failed

#: Longest part of a prefix that is searched, bytes.
LONGEST = 4096
# SIGALRM ends the process even where nobody waits for it any more.
_PROGRAM = """
import json, re, signal, sys
expression, prefixes, seconds = json.load(sys.stdin)
signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.alarm(seconds)
found = [re.search(expression, prefix) for prefix in prefixes]
names = [each and ((each[1] if each.re.groups else each[0]) or "") for each in found]
json.dump(names, sys.stdout)
"""


async def named(
    reactor: Any, expression: str, prefixes: Sequence[bytes], seconds: float
) -> list[str]:
    """Give the name in each prefix: the expression's first group, if it has one.

    :param reactor: whose thread waits for the result.
    :param seconds: how long that may take.
    :raises Failed: a prefix does not match, or it takes longer.
    """
    different = list(dict.fromkeys(prefix[:LONGEST] for prefix in prefixes))
    texts = [prefix.decode("utf-8", "surrogateescape") for prefix in different]
    found = await _searched(reactor, expression, texts, seconds)
    names = dict(zip(different, found, strict=True))
    for prefix, name in names.items():
        if name is None:
            raise Failed(
                f"the prefix {quote(prefix)} does not match {expression!r}",
                "another server answers, or --identity is wrong",
            )
    return [names[prefix[:LONGEST]] or "" for prefix in prefixes]


async def _searched(
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
            await in_thread(reactor, partial(_output, process, asked, seconds))
        )
    except (subprocess.TimeoutExpired, ValueError):
        raise Failed(
            f"{expression!r} takes longer than {seconds:g} s to be found in a prefix",
            "repeats within repeats in --identity, and a prefix made for them",
        ) from None
    finally:
        process.kill()  # where this is cancelled, too
    return names


def _output(process: subprocess.Popen[bytes], asked: bytes, seconds: float) -> bytes:
    """Give what the process says; it has ended then."""
    with process:
        try:
            return process.communicate(asked, seconds)[0]
        finally:
            process.kill()
