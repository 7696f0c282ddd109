"""Probe of text whose characters are cut."""

from __future__ import annotations

import itertools

from twisted.internet.task import deferLater

from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.findings import Finding
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import FixedPayload

#: Pieces that text is sent in, and the shortest and the longest time between two, seconds.
_PIECES = 12
_MIN_INTERVAL, _MAX_INTERVAL = 0.005, 0.1
#: Characters of one to four bytes, combining characters, both directions of writing.
_TEXT = "Grüße, 世界! ἀρχή Привет שלום नमस्ते 🚀👩‍🚀 e\u0301 \u2028 \ufeff \U0010ffff "


@probe("text", order=70, summary="UTF-8 is preserved though its characters are cut")
async def text(path: Path) -> Finding:
    """Check that text comes back as it was sent, though writes cut its characters."""
    connection = await path.open()
    interval = await _measure_interval(connection)
    letters = _TEXT * 8
    data = b"".join(
        letter.encode()
        for letter in letters
        if set(connection.prefix_matcher.boundary_bytes).isdisjoint(letter.encode())
    )
    data += b"\n" * (path.settings.framing == "line")
    payload = FixedPayload(data)
    verifier = connection.verifier(payload)
    if path.settings.framing == "chunk":
        for piece in _cut_characters(data):  # one segment each, so that each is one read
            if not await connection.send_message(piece):
                break
            await deferLater(path.reactor, interval)
    else:
        await connection.send(payload)
    await connection.verify(verifier)
    await connection.expect_no_more(verifier)
    return Finding(
        f"{len(letters)} characters of UTF-8 cut in their middle come back as they were sent"
    )


async def _measure_interval(connection: ProbeConnection) -> float:
    """Return the seconds between two pieces: a round trip, so that nothing on the path joins them.

    The first round trip of a connection proves nothing: meanwhile a proxy connects to the server.
    """
    await connection.request()
    return min(max(_MIN_INTERVAL, connection.rtt), _MAX_INTERVAL)


def _cut_characters(data: bytes) -> list[bytes]:
    """Return text cut in the middle of characters."""
    inside = [place for place, byte in enumerate(data) if byte & 0xC0 == 0x80]
    places = [0, *inside[:: max(1, len(inside) // _PIECES)], len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]
