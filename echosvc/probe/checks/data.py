"""Probes of what a path does to bytes: all values, all sizes, order, text, many at once."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

from twisted.internet.task import deferLater

from echosvc._text import format_bytes, plural
from echosvc.probe.checks.byte_mapping import translated
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import Line
from echosvc.probe.engine.diagnosis import Fault
from echosvc.probe.engine.findings import Failed, Finding
from echosvc.probe.engine.path import Path, gathered
from echosvc.probe.engine.payload import Source, Text
from echosvc.probe.settings import MIB

#: Around what cuts streams: one byte, segments on usual networks (MSS 536, 1220, 1440, 1448,
#: 1460, MTU 1500, jumbo frames), pages, TLS records (16 KiB), reads (64 KiB).
EDGES = (1, 128, 256, 512, 536, 1024, 1220, 1440, 1448, 1460, 1500, 4096, 8192, 9000, 16384, 65536)
LARGE = (MIB, 16 * MIB, 64 * MIB)
#: Connections at a time for the smaller ones: far away, each takes two round trips.
_LINES = 8
#: Of the stream that is looked at for order, bytes.
ORDERED = 4 * MIB
#: Pieces that text is sent in, and seconds between two of them at least.
_PIECES = 12
_APART = 0.005
#: Bytes that each of many connections carries.
EACH = 65536
#: So many bytes occur in no two payloads by chance.
_DISTINCT = 8


@probe("bytes", order=40, summary="all 256 values of a byte come back")
async def values(path: Path) -> Finding:
    """All 256 values of a byte come back as they went."""
    line = await path.open()
    table, skipped = _table(line, path.settings.framing)
    try:
        await line.nothing_more(await line.exchange(Text(table)))
    except Failed as failed:
        path.close()
        raise await translated(path, failed) from None
    count = len(set(table))
    but = f" but {skipped}" if skipped else ""
    return Finding(f"all {count} values{but} come back as they went", facts={"values": count})


def _table(line: Line, framing: str) -> tuple[bytes, str]:
    """All values, in an order in which the prefix does not occur; and what is left out."""
    literal = line.mark.literal or b""
    for step in range(1, 256, 2):
        data = bytes((step * place) % 256 for place in range(256)) * 16
        if len(literal) < 2 or literal not in data:
            break
    if framing == "line":  # a value that ends messages is for the end of one
        return data.replace(b"\n", b"") + b"\n", ""
    numbers = set(line.mark.boundary_bytes) & set(b"0123456789")
    if numbers:
        return data.translate(None, bytes(numbers)), "the digits, which the prefix counts with"
    return data, ""


@probe(
    "sizes",
    order=50,
    summary="streams from 1 byte to --max-size come back whole",
    min_duration=lambda settings: settings.max_size / 1e6,
)
async def sizes(path: Path) -> Finding:
    """Streams of all sizes come back whole."""
    wanted = [size for edge in EDGES for size in (edge - 1, edge, edge + 1) if size > 0]
    wanted += [size for size in LARGE if size <= path.settings.max_size]
    wanted = sorted({size for size in wanted if size <= path.settings.max_size})
    small = [size for size in wanted if size < MIB]
    await gathered([_streams(path, small[n::_LINES]) for n in range(min(_LINES, len(small)))])
    for size in wanted[len(small) :]:
        await _streams(path, [size])
    line = await path.open()
    digest = _digest(path.payload(wanted[-1], line)) if wanted else ""
    count, least, most = plural(len(wanted), "stream"), wanted[0], wanted[-1]
    return Finding(
        f"{count}, {format_bytes(least)} to {format_bytes(most)}: all whole",
        facts={"sizes": wanted, "sha256": digest},
    )


async def _streams(path: Path, wanted: list[int]) -> None:
    """Exchange streams of these sizes, each over a connection of its own."""
    for size in wanted:
        line = await (path.open_small() if size < MIB else path.open())
        try:
            await line.nothing_more(await line.exchange(path.payload(size, line)), 0.0)
        except Failed as failed:
            failed.finding = f"{format_bytes(size)}: {failed.finding}"
            failed.facts["size"] = size
            raise
        line.close()


def _digest(payload: Source) -> str:
    digest = hashlib.sha256()
    for offset in range(0, payload.size, MIB):
        digest.update(payload.at(offset, MIB))
    return digest.hexdigest()


@probe("order", order=60, summary="nothing is lost, repeated or out of order")
async def order(path: Path) -> Finding:
    """A numbered stream comes back in order, once, and all of it."""
    size = min(ORDERED, max(64, path.settings.max_size))
    line = await path.open()
    verifier = await line.exchange(path.payload(size, line, numbered=True))
    await line.nothing_more(verifier)
    marks = f" in {verifier.marks} replies" if line.mark else ""
    return Finding(
        f"{format_bytes(size)} of numbered pieces: none lost, repeated or out of order{marks}",
        facts={"bytes": size, "replies": verifier.marks},
    )


#: Characters of one, two, three and four bytes, signs that are combined, both directions.
_TEXT = "Grüße, 世界! ἀρχή Привет שלום नमस्ते 🚀👩‍🚀 e\u0301 \u2028 \ufeff \U0010ffff "


@probe("text", order=70, summary="UTF-8 is preserved though its characters are cut")
async def text(path: Path) -> Finding:
    """Text comes back as it went, though its characters are cut by writes and segments."""
    line = await path.open()
    letters = _TEXT * 8
    data = b"".join(
        letter.encode()
        for letter in letters
        if set(line.mark.boundary_bytes).isdisjoint(letter.encode())
    )
    data += b"\n" * (path.settings.framing == "line")
    payload = Text(data)
    verifier = line.verifier(payload)
    if path.settings.framing == "chunk":
        for piece in _cut(data):  # each in a segment of its own, and so read by itself
            if not await line.put(piece):
                break
            await deferLater(path.reactor, max(_APART, line.trip))
    else:
        await line.send(payload)
    await line.verify(verifier)
    await line.nothing_more(verifier)
    return Finding(f"{len(letters)} characters of UTF-8 cut in their middle come back as they went")


def _cut(data: bytes) -> list[bytes]:
    """Cut text in the middle of characters."""
    inside = [place for place, byte in enumerate(data) if byte & 0xC0 == 0x80]
    places = [0, *inside[:: max(1, len(inside) // _PIECES)], len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


@probe("connections", order=100, summary="many at once do not disturb each other")
async def connections(path: Path) -> Finding:
    """Many connections at once, each with its own stream."""
    count = path.settings.connections
    lines = await path.open_many(count)
    payloads = [path.payload(EACH, line) for line in lines]
    pairs = zip(lines, payloads, strict=True)
    await gathered([_exchange_one(line, payload, payloads) for line, payload in pairs])
    return Finding(
        f"{count} at once, each with {format_bytes(EACH)} of its own, which came back to it",
        facts={"connections": count},
    )


async def _exchange_one(line: Line, own: Source, payloads: Sequence[Source]) -> None:
    """Exchange the payload of one connection while the others exchange theirs."""
    try:
        await line.exchange(own)
    except Failed as failed:
        others = [each for each in payloads if each is not own]
        if failed.fault is not None and _is_of_another(failed.fault, own, others):
            failed.cause = "they are another connection's: something between mixes them up"
        raise


def _is_of_another(fault: Fault, own: Source, others: Sequence[Source]) -> bool:
    """Return whether the wrong bytes are those of another payload.

    Bytes that occur in the connection's own payload prove nothing: they follow what was lost.
    """
    if len(fault.seen) < _DISTINCT or fault.seen in own.at(0, own.size):
        return False
    return any(fault.seen in each.at(0, each.size) for each in others)
