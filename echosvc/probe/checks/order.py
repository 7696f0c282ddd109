"""Probe of the order of a stream."""

from __future__ import annotations

from echosvc._text import format_bytes
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.findings import Finding
from echosvc.probe.engine.path import Path
from echosvc.probe.settings import MIB

#: Bytes of the stream whose order is checked.
ORDER_SIZE = 4 * MIB


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
