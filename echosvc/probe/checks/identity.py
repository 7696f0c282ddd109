"""Probe of the servers that answer: their names, counted over several connections."""

from __future__ import annotations

import re
from collections import Counter

from echosvc._text import plural, quote
from echosvc.probe.checks.registry import probe
from echosvc.probe.checks.server_names import find_names
from echosvc.probe.engine.findings import Finding, Skipped
from echosvc.probe.engine.path import Path

#: A word. One of digits alone is a counter, while ``web1`` is a name.
_WORD = re.compile(r"[\w.-]+")


@probe("identity", order=30, summary="which servers answer, over several connections")
async def identity(path: Path) -> Finding:
    """Count the servers that answer over several connections."""
    connections = await path.open_many(path.settings.connections)
    if not any(connection.prefix for connection in connections):
        raise Skipped("the server has no prefix that would identify it")
    names = Counter(await _server_names(path, [connection.prefix for connection in connections]))
    counts = {quote(name.encode("utf-8", "surrogateescape")): names[name] for name in sorted(names)}
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    on = plural(len(connections), "connection")
    text = f"{plural(len(names), 'server')} on {on}: {listed}"
    facts = {"servers": {name[1:-1]: count for name, count in counts.items()}}
    return Finding(text, info=True, facts=facts)


async def _server_names(path: Path, prefixes: list[bytes]) -> list[str]:
    expression = path.settings.identity
    if expression is not None:
        return await find_names(path.reactor, expression, prefixes, path.settings.timeout)
    texts = [prefix.decode("utf-8", "surrogateescape") for prefix in prefixes]
    return [without_counters(text) for text in texts]


def without_counters(prefix: str) -> str:
    """Return a prefix without the decimal numbers that stand alone."""
    return _WORD.sub(lambda word: "" if word[0].isdecimal() else word[0], prefix)
