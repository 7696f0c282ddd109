"""Probes of bytes: all values, all sizes, order, text, many connections at once."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

from twisted.internet.task import deferLater

from echosvc._text import format_bytes, plural
from echosvc.probe.checks.byte_mapping import describe_mapping
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.diagnosis import Fault
from echosvc.probe.engine.findings import Failed, Finding
from echosvc.probe.engine.path import Path, gather
from echosvc.probe.engine.payload import AnyPayload, FixedPayload
from echosvc.probe.settings import MIB

#: Sizes at which streams are cut: one byte, segments on usual networks (MSS 536, 1220, 1440, 1448,
#: 1460, MTU 1500, jumbo frames), pages, TLS records (16 KiB), reads (64 KiB).
EDGES = (1, 128, 256, 512, 536, 1024, 1220, 1440, 1448, 1460, 1500, 4096, 8192, 9000, 16384, 65536)
LARGE = (MIB, 16 * MIB, 64 * MIB)
#: Connections at a time for the smaller streams: each takes two round trips.
_PARALLEL = 8
#: Bytes of the stream whose order is checked.
ORDER_SIZE = 4 * MIB
#: Pieces that text is sent in, and the shortest time between two, seconds.
_PIECES = 12
_MIN_INTERVAL = 0.005
#: Bytes that each of many connections carries.
EACH_SIZE = 65536
#: Bytes that do not occur in two payloads by chance.
_MIN_DISTINCT = 8


@probe("bytes", order=40, summary="all 256 values of a byte come back")
async def values(path: Path) -> Finding:
    """Check that all 256 values of a byte come back as they were sent."""
    connection = await path.open()
    table, skipped = _table(connection, path.settings.framing)
    try:
        await connection.expect_no_more(await connection.exchange(FixedPayload(table)))
    except Failed as failed:
        path.close()
        raise await describe_mapping(path, failed) from None
    count = len(set(table))
    but = f" but {skipped}" if skipped else ""
    return Finding(f"all {count} values{but} come back as they were sent", facts={"values": count})


def _table(connection: ProbeConnection, framing: str) -> tuple[bytes, str]:
    """Return all values in an order in which the prefix does not occur; and what is left out."""
    literal = connection.prefix_matcher.literal or b""
    for step in range(1, 256, 2):
        data = bytes((step * place) % 256 for place in range(256)) * 16
        if len(literal) < 2 or literal not in data:
            break
    if framing == "line":  # LF ends a message
        return data.replace(b"\n", b"") + b"\n", ""
    numbers = set(connection.prefix_matcher.boundary_bytes) & set(b"0123456789")
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
    """Check that streams of all sizes come back whole."""
    wanted = [size for edge in EDGES for size in (edge - 1, edge, edge + 1) if size > 0]
    wanted += [size for size in LARGE if size <= path.settings.max_size]
    wanted = sorted({size for size in wanted if size <= path.settings.max_size})
    small = [size for size in wanted if size < MIB]
    await gather(
        [_exchange_sizes(path, small[n::_PARALLEL]) for n in range(min(_PARALLEL, len(small)))]
    )
    for size in wanted[len(small) :]:
        await _exchange_sizes(path, [size])
    connection = await path.open()
    digest = _digest(path.payload(wanted[-1], connection)) if wanted else ""
    count, least, most = plural(len(wanted), "stream"), wanted[0], wanted[-1]
    return Finding(
        f"{count}, {format_bytes(least)} to {format_bytes(most)}: all whole",
        facts={"sizes": wanted, "sha256": digest},
    )


async def _exchange_sizes(path: Path, wanted: list[int]) -> None:
    """Exchange streams of these sizes, each over its own connection."""
    for size in wanted:
        connection = await (path.open_small() if size < MIB else path.open())
        try:
            await connection.expect_no_more(
                await connection.exchange(path.payload(size, connection)), 0.0
            )
        except Failed as failed:
            failed.finding = f"{format_bytes(size)}: {failed.finding}"
            failed.facts["size"] = size
            raise
        connection.close()


def _digest(payload: AnyPayload) -> str:
    digest = hashlib.sha256()
    for offset in range(0, payload.size, MIB):
        digest.update(payload.at(offset, MIB))
    return digest.hexdigest()


@probe("order", order=60, summary="nothing is lost, repeated or out of order")
async def order(path: Path) -> Finding:
    """Check that a numbered stream comes back whole, once and in order."""
    size = min(ORDER_SIZE, max(64, path.settings.max_size))
    connection = await path.open()
    verifier = await connection.exchange(path.payload(size, connection, numbered=True))
    await connection.expect_no_more(verifier)
    replies = f" in {verifier.replies} replies" if connection.prefix_matcher else ""
    return Finding(
        f"{format_bytes(size)} of numbered pieces: none lost, repeated or out of order{replies}",
        facts={"bytes": size, "replies": verifier.replies},
    )


#: Characters of one to four bytes, combining characters, both directions of writing.
_TEXT = "Grüße, 世界! ἀρχή Привет שלום नमस्ते 🚀👩‍🚀 e\u0301 \u2028 \ufeff \U0010ffff "


@probe("text", order=70, summary="UTF-8 is preserved though its characters are cut")
async def text(path: Path) -> Finding:
    """Check that text comes back as it was sent, though writes cut its characters."""
    connection = await path.open()
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
            await deferLater(path.reactor, max(_MIN_INTERVAL, connection.rtt))
    else:
        await connection.send(payload)
    await connection.verify(verifier)
    await connection.expect_no_more(verifier)
    return Finding(
        f"{len(letters)} characters of UTF-8 cut in their middle come back as they were sent"
    )


def _cut_characters(data: bytes) -> list[bytes]:
    """Return text cut in the middle of characters."""
    inside = [place for place, byte in enumerate(data) if byte & 0xC0 == 0x80]
    places = [0, *inside[:: max(1, len(inside) // _PIECES)], len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


@probe("connections", order=100, summary="many at once do not disturb each other")
async def concurrent_connections(path: Path) -> Finding:
    """Check that each of many connections gets its own stream back."""
    count = path.settings.connections
    connections = await path.open_many(count)
    payloads = [path.payload(EACH_SIZE, connection) for connection in connections]
    pairs = zip(connections, payloads, strict=True)
    await gather([_exchange_own(connection, payload, payloads) for connection, payload in pairs])
    return Finding(
        f"{count} at once, each with {format_bytes(EACH_SIZE)} of its own, which came back to it",
        facts={"connections": count},
    )


async def _exchange_own(
    connection: ProbeConnection, own: AnyPayload, payloads: Sequence[AnyPayload]
) -> None:
    """Exchange the payload of one connection while the others exchange theirs."""
    try:
        await connection.exchange(own)
    except Failed as failed:
        others = [each for each in payloads if each is not own]
        if failed.fault is not None and _is_of_another(failed.fault, own, others):
            failed.cause = "they are another connection's: a middlebox mixes connections up"
        raise


def _is_of_another(fault: Fault, own: AnyPayload, others: Sequence[AnyPayload]) -> bool:
    """Return whether the wrong bytes are those of another payload.

    Bytes that occur in the connection's own payload prove nothing: they follow what was lost.
    """
    if len(fault.seen) < _MIN_DISTINCT or fault.seen in own.at(0, own.size):
        return False
    return any(fault.seen in each.at(0, each.size) for each in others)
