"""The servers that answer, counted by the names in their prefixes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from echosvc._text import plural, quote
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.prefix_detection import without_counters
from echosvc.probe.engine.server_names import find_names


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
