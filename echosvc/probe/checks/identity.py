"""Probe of the servers that answer: their names, counted over several connections."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from echosvc._text import plural, quote
from echosvc.probe.checks.registry import probe
from echosvc.probe.checks.server_names import find_names
from echosvc.probe.engine.answers import ask_together, count_answered
from echosvc.probe.engine.findings import Finding, Skipped
from echosvc.probe.engine.path import Path

#: A word. One of digits alone is a counter, while ``web1`` is a name.
_WORD = re.compile(r"[\w.-]+")


@probe("identity", order=30, summary="which servers answer, over several connections")
async def identity(path: Path) -> Finding:
    """Count the servers that answer over several connections."""
    prefixes = await _ask(path, path.allowed(path.settings.connections))
    if not any(prefixes):
        raise Skipped("the server has no prefix that would identify it")
    text, facts = await describe_servers(path, prefixes)
    return Finding(text, info=True, facts=facts)


async def _ask(path: Path, count: int) -> list[bytes]:
    """Return the prefixes of ``count`` connections that are open at once.

    :raises Failed: one of them is not answered.
    """
    answers = await ask_together(path, count)
    failures = [answer.failed for answer in answers if answer.failed is not None]
    if failures:
        failed, dead = failures[0], count - count_answered(answers)
        of = f"{dead} of {plural(count, 'connection')}"
        failed.finding = f"{of} got no answer; the first of these: {failed.finding}"
        raise failed
    return [each.connection.prefix for each in answers if each.connection is not None]


async def describe_servers(path: Path, prefixes: list[bytes]) -> tuple[str, dict[str, Any]]:
    """Return how many servers answered on how many connections, in words and as facts.

    :raises Failed: a prefix does not match the regular expression of the settings.
    """
    names = Counter(await _server_names(path, prefixes))
    counts = {quote(name.encode("utf-8", "surrogateescape")): names[name] for name in sorted(names)}
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    on = plural(len(prefixes), "connection")
    text = f"{plural(len(names), 'server')} on {on}: {listed}"
    return text, {"servers": {name[1:-1]: count for name, count in counts.items()}}


async def _server_names(path: Path, prefixes: list[bytes]) -> list[str]:
    expression = path.settings.identity
    if expression is not None:
        return await find_names(path.reactor, expression, prefixes, path.settings.timeout)
    texts = [prefix.decode("utf-8", "surrogateescape") for prefix in prefixes]
    return [without_counters(text) for text in texts]


def without_counters(prefix: str) -> str:
    """Return a prefix without the decimal numbers that stand alone."""
    return _WORD.sub(lambda word: "" if word[0].isdecimal() else word[0], prefix)
