"""Probe of the echo: whether the server answers, with which prefix and greeting."""

from __future__ import annotations

import random

from echosvc._text import quote
from echosvc.probe.checks.first_exchange import first_exchange
from echosvc.probe.checks.framing_detection import check_line_framing
from echosvc.probe.checks.message_trial import explain_by_form
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed, Finding, Skipped
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
    payload = _letters(path, connection)
    try:
        await connection.expect_no_more(await connection.exchange(payload))
    except Failed as failed:
        if failed.fault is None or failed.fault.kind is FaultKind.CUT:
            raise
        raise await explain_by_form(path, failed, path.answer_time) from None
    await check_line_framing(path, connection)
    facts = {
        "prefix": quote(connection.prefix)[1:-1],
        "greeting": quote(path.context.greeting)[1:-1],
    }
    return Finding(f"what is sent comes back, {prefix}{greeting}", facts=facts)


def _letters(path: Path, connection: ProbeConnection) -> FixedPayload:
    """Return letters and digits, the same ones each time.

    Their order is random: what a translation makes of them looks like no other part of them.

    :raises Skipped: the path changes all of them.
    """
    left_out = connection.prefix_matcher.boundary_bytes + path.context.knowledge.avoided
    letters = _LETTERS.translate(None, left_out)
    if not letters:
        raise Skipped("see bytes: no letter or digit comes back as it was sent", see="bytes")
    line_end = b"\n" * (path.settings.framing == "line")
    size = min(_SIZE, path.settings.max_size - len(line_end))
    source = random.Random(_SIZE)  # noqa: S311 - no secret
    return FixedPayload(bytes(source.choices(letters, k=size)) + line_end)
