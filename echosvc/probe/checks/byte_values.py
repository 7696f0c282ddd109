"""Probe of all 256 values of a byte."""

from __future__ import annotations

from echosvc.probe.causes.byte_mapping import describe_mapping
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.findings import Failed, Finding
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import FixedPayload


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
