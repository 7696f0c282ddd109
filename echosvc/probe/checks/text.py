"""Probe of text whose characters are cut."""

from __future__ import annotations

import itertools

from twisted.internet.task import deferLater

from echosvc.probe.causes.known_mappings import is_decoding
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import FixedPayload

#: Pieces that text is sent in, and the shortest and the longest time between two, seconds.
_PIECES = 12
_MIN_INTERVAL, _MAX_INTERVAL = 0.005, 0.1
#: Characters of one to four bytes, combining characters, both directions of writing.
_TEXT = "Grüße, 世界! ἀρχή Привет שלום नमस्ते 🚀👩‍🚀 e\u0301 \u2028 \ufeff \U0010ffff "
_TIMES = 8


@probe("text", order=70, summary="UTF-8 is preserved though its characters are cut")
async def text(path: Path) -> Finding:
    """Check that text comes back as it was sent, though writes cut its characters."""
    connection = await path.open()
    letters = _letters(path, connection)
    interval = await _measure_interval(connection)
    payload = FixedPayload(_encode(path, letters))
    verifier = connection.verifier(payload)
    try:
        if path.settings.framing == "chunk":
            await _send_pieces(path, connection, payload, interval)
        else:
            await connection.send(payload)
        await connection.verify(verifier)
        await connection.expect_no_more(verifier)
    except Failed as failed:
        raise await _compare_uncut(path, payload, failed) from None
    return Finding(
        f"{len(letters)} characters of UTF-8 cut in their middle come back as they were sent"
    )


def _letters(path: Path, connection: ProbeConnection) -> str:
    """Return the text without what the path changes in any case, no longer than allowed.

    A path that decodes changes single bytes, but not the text.

    :raises Skipped: no character that can be cut is left.
    """
    knowledge = path.context.knowledge
    changed = {value for value, came in knowledge.changed_values.items() if not is_decoding(came)}
    left_out = {*changed, *connection.prefix_matcher.boundary_bytes}
    letters = [letter for letter in _TEXT * _TIMES if left_out.isdisjoint(letter.encode())]
    sizes = itertools.accumulate(len(letter.encode()) for letter in letters)
    end = path.settings.max_size - (path.settings.framing == "line")
    chosen = "".join(letter for letter, size in zip(letters, sizes, strict=True) if size <= end)
    kept = chosen.rstrip()  # a server that trims messages is not this probe's subject
    if kept.isascii():
        raise Skipped("no character of several bytes is left that the path carries (--max-size)")
    return kept


def _encode(path: Path, letters: str) -> bytes:
    return letters.encode() + b"\n" * (path.settings.framing == "line")


async def _send_pieces(
    path: Path, connection: ProbeConnection, payload: FixedPayload, interval: float
) -> None:
    """Send one segment for each piece, so that each is one read."""
    for piece in _cut_characters(payload.at(0, payload.size)):
        if not await connection.send_message(piece):
            break
        await deferLater(path.reactor, interval)


async def _measure_interval(connection: ProbeConnection) -> float:
    """Return the seconds between two pieces: a round trip, so that nothing on the path joins them.

    The first round trip of a connection proves nothing: meanwhile a proxy connects to the server.
    """
    await connection.request()
    return min(max(_MIN_INTERVAL, connection.rtt), _MAX_INTERVAL)


async def _compare_uncut(path: Path, payload: FixedPayload, failed: Failed) -> Failed:
    """Send the same in one piece: only if it comes back, the cuts are the cause."""
    fault = failed.fault
    if path.settings.framing != "chunk" or fault is None:
        return failed
    path.close()
    try:
        connection = await path.open()
        await connection.exchange(payload)
    except Failed:
        return failed
    return Failed(
        f"characters are cut between two reads, and do not come back: {failed.finding}",
        "each read is decoded as UTF-8 by itself, on the path or by the server",
        facts={"offset": fault.offset, "expected": fault.expected.hex(), "seen": fault.seen.hex()},
        end=failed.end,
    )


def _cut_characters(data: bytes) -> list[bytes]:
    """Return text cut in the middle of characters."""
    inside = [place for place, byte in enumerate(data) if byte & 0xC0 == 0x80]
    places = [0, *inside[:: max(1, len(inside) // _PIECES)], len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]
