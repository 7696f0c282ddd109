"""Probe of the order of a stream."""

from __future__ import annotations

from echosvc._text import format_bytes
from echosvc.probe.checks.registry import probe
from echosvc.probe.checks.repetition import check_repetition
from echosvc.probe.engine.findings import Failed, Finding
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.plain_stream import ask_again_after_silence
from echosvc.probe.settings import MIB

#: Bytes of the stream whose order is checked.
ORDER_SIZE = 4 * MIB


@probe("order", order=60, summary="nothing is lost, repeated or out of order", needs=("path",))
async def order(path: Path) -> Finding:
    """Check that a numbered stream comes back whole, once and in order."""
    connection = await path.open()
    payload = path.payload(ORDER_SIZE, connection, numbered=True)
    try:
        verifier = await connection.exchange(payload)
    except Failed as failed:
        ask_again_after_silence(path, failed, payload.size)
        raise
    await connection.expect_no_more(verifier)
    await check_repetition(path)
    replies = f" in {verifier.replies} replies" if connection.prefix_matcher else ""
    size = format_bytes(payload.size)
    return Finding(
        f"{size} of numbered pieces: none lost, repeated or out of order{replies}",
        facts={"bytes": payload.size, "replies": verifier.replies},
    )
