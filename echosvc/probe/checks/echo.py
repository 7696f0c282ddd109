"""Probe of the echo: whether the server answers, with which prefix and greeting."""

from __future__ import annotations

from echosvc._text import quote
from echosvc.probe.checks.first_exchange import first_exchange
from echosvc.probe.checks.framing_detection import check_line_framing
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.findings import Finding
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import FixedPayload

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#: Bytes that are echoed. Message and reply fit a packet of 576 bytes, which every path carries,
#: so a path that drops longer ones has an echo, and the probe of the path finds its limit.
_SIZE = 432


@probe(
    "echo",
    order=20,
    summary="the server answers; with which prefix and greeting",
    requirement="no echo",
)
async def echo(path: Path) -> Finding:
    """Check that the server answers, and with which prefix."""
    connection = await (path.open() if path.context.history.answered else first_exchange(path))
    prefix = f"prefix {quote(connection.prefix)}" if connection.prefix else "no prefix"
    greeting = f", greeting {quote(path.context.greeting)}" if path.context.greeting else ""
    left_out = connection.prefix_matcher.boundary_bytes + path.context.knowledge.avoided
    letters = _LETTERS.translate(None, left_out)
    line_end = b"\n" * (path.settings.framing == "line")
    size = min(_SIZE, path.settings.max_size - len(line_end))
    payload = FixedPayload((letters * _SIZE)[:size] + line_end)
    await connection.expect_no_more(await connection.exchange(payload))
    await check_line_framing(path, connection)
    facts = {
        "prefix": quote(connection.prefix)[1:-1],
        "greeting": quote(path.context.greeting)[1:-1],
    }
    return Finding(f"what is sent comes back, {prefix}{greeting}", facts=facts)
