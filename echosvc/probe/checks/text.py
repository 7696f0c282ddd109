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
#: How often text is compared with what is no cut text.
_CONTROLS = 2


@probe("text", order=70, summary="UTF-8 is preserved though its characters are cut")
async def text(path: Path) -> Finding:
    """Check that text comes back as it was sent, though writes cut its characters."""
    connection = await path.open()
    letters = _letters(path, connection)
    pieces = _pieces(path, letters)
    try:
        await _exchange_pieces(path, connection, pieces)
    except Failed as failed:
        raise await _compare(path, pieces, failed) from None
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


def _pieces(path: Path, letters: str) -> list[bytes]:
    """Return the pieces that text is sent in: messages have characters cut only without framing."""
    data = letters.encode()
    if path.settings.framing == "chunk":
        return _cut_characters(data)
    return [data + b"\n" * (path.settings.framing == "line")]


async def _measure_interval(connection: ProbeConnection) -> float:
    """Return the seconds between two pieces: a round trip, so that nothing on the path joins them.

    The first round trip of a connection proves nothing: meanwhile a proxy connects to the server.
    """
    await connection.request()
    return min(max(_MIN_INTERVAL, connection.rtt), _MAX_INTERVAL)


async def _compare(path: Path, pieces: list[bytes], failed: Failed) -> Failed:
    """Return the failure of text that was cut; only if the cuts are the cause, it is that.

    Text comes back in one piece, ASCII in as many pieces, and the text in pieces fails each time:
    one connection of several may be to another server.
    """
    fault = failed.fault
    if path.settings.framing != "chunk" or fault is None:
        return failed
    ascii_pieces = [bytes(97 + place % 26 for place in range(len(piece))) for piece in pieces]
    for _ in range(_CONTROLS):
        whole = await _comes_back(path, [b"".join(pieces)])
        if (
            not whole
            or not await _comes_back(path, ascii_pieces)
            or await _comes_back(path, pieces)
        ):
            return failed
    return Failed(
        f"characters are cut between two reads, and do not come back: {failed.finding}",
        "each read is decoded as UTF-8 by itself, on the path or by the server",
        facts={"offset": fault.offset, "expected": fault.expected.hex(), "seen": fault.seen.hex()},
        end=failed.end,
    )


async def _comes_back(path: Path, pieces: list[bytes]) -> bool:
    """Return whether pieces come back that are sent over a new connection."""
    path.close()
    try:
        connection = await path.open()
        await _exchange_pieces(path, connection, pieces)
    except Failed:
        return False
    return True


async def _exchange_pieces(path: Path, connection: ProbeConnection, pieces: list[bytes]) -> None:
    """Send one segment for each piece, so that each is one read, and expect all of it back.

    :raises Failed: it does not come back.
    """
    interval = await _measure_interval(connection)
    verifier = connection.verifier(FixedPayload(b"".join(pieces)))
    for piece in pieces:
        if not await connection.send_message(piece):
            break
        await deferLater(path.reactor, interval)
    await connection.verify(verifier)
    await connection.expect_no_more(verifier)


def _cut_characters(data: bytes) -> list[bytes]:
    """Return text cut in the middle of characters."""
    inside = [place for place, byte in enumerate(data) if byte & 0xC0 == 0x80]
    places = [0, *inside[:: max(1, len(inside) // _PIECES)], len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]
