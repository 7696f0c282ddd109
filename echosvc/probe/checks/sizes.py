"""Probe of streams of all sizes."""

from __future__ import annotations

import hashlib

from echosvc._text import format_bytes, plural
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.findings import Failed, Finding
from echosvc.probe.engine.path import Path, gather
from echosvc.probe.engine.payload import AnyPayload
from echosvc.probe.settings import MIB

#: Sizes at which streams are cut: one byte, segments on usual networks (MSS 536, 1220, 1440, 1448,
#: 1460, MTU 1500, jumbo frames), pages, TLS records (16 KiB), reads (64 KiB).
EDGES = (1, 128, 256, 512, 536, 1024, 1220, 1440, 1448, 1460, 1500, 4096, 8192, 9000, 16384, 65536)
LARGE = (MIB, 16 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB)
#: Connections at a time for the smaller streams: each takes two round trips.
_PARALLEL = 8


@probe(
    "sizes",
    order=50,
    summary="streams from 1 byte to --max-size come back whole",
    subjects=("volume",),
    min_duration=lambda settings: settings.max_size / 1e6,
    duration=lambda settings: settings.max_size / 20e6,
)
async def sizes(path: Path) -> Finding:
    """Check that streams of all sizes come back whole."""
    wanted = wanted_sizes(path.settings.max_size)
    small = [size for size in wanted if size < MIB]
    parallel = path.allowed(min(_PARALLEL, len(small)))
    sent = await gather([_exchange_sizes(path, small[n::parallel]) for n in range(parallel)])
    sent += [await _exchange_sizes(path, [size]) for size in wanted[len(small) :]]
    digest = _digest(max(sent, key=lambda payload: payload.size))
    count, least, most = plural(len(wanted), "stream"), wanted[0], wanted[-1]
    return Finding(
        f"{count}, {format_bytes(least)} to {format_bytes(most)}: all whole",
        facts={"sizes": wanted, "sha256": digest},
    )


def wanted_sizes(longest: int) -> list[int]:
    """Return the sizes of the streams, in ascending order; the last one is ``longest``."""
    edges = [size for edge in EDGES for size in (edge - 1, edge, edge + 1)]
    return sorted({longest, *(size for size in (*edges, *LARGE) if 0 < size < longest)})


async def _exchange_sizes(path: Path, wanted: list[int]) -> AnyPayload:
    """Exchange streams of these sizes, each over its own connection; return the last one.

    Where only so many may be opened a second, one connection carries them all.
    """
    connection: ProbeConnection | None = None
    for size in wanted:
        if connection is None or not path.pace:
            connection = await (path.open_small() if size < MIB else path.open())
        payload = path.payload(size, connection)
        try:
            await connection.expect_no_more(await connection.exchange(payload), 0.0)
        except Failed as failed:
            failed.finding = f"{format_bytes(size)}: {failed.finding}"
            failed.facts["size"] = size
            raise
        if not path.pace or size == wanted[-1]:
            connection.close()
    return payload


def _digest(payload: AnyPayload) -> str:
    """Return the SHA-256 of a stream that came back as it was sent."""
    digest = hashlib.sha256()
    for offset in range(0, payload.size, MIB):
        digest.update(payload.at(offset, MIB))
    return digest.hexdigest()
