"""Probe of all 256 values of a byte."""

from __future__ import annotations

from echosvc.probe.causes.byte_mapping import (
    change_facts,
    explains,
    find_changes,
    note_changes,
)
from echosvc.probe.causes.known_mappings import Changes, explain_changes, list_changes
from echosvc.probe.causes.message_ends import describe_trimming, find_trimming, trimming_facts
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import CONNECTION_ERRORS, Path
from echosvc.probe.engine.payload import FixedPayload

#: How often each value is sent.
_TIMES = 16
#: Some translate line ends, and leave CR and LF alone where they are no pair.
_PAIR = b"\r\n"


@probe(
    "bytes",
    order=40,
    summary="all 256 values of a byte come back, wherever they stand",
    needs=("path",),
)
async def values(path: Path) -> Finding:
    """Check that all 256 values come back as they were sent, also at the ends of messages."""
    connection = await path.open()
    table, skipped = _table(connection, path.settings.framing, path.settings.max_size)
    try:
        await connection.expect_no_more(await connection.exchange(FixedPayload(table)))
    except Failed as failed:
        raise await _describe_changes(path, failed) from None
    if trimmed := await _describe_trimming(path, connection):
        raise trimmed
    count = len(set(table))
    but = f" but {skipped}" if skipped else ""
    return Finding(f"all {count} values{but} come back as they were sent", facts={"values": count})


def _table(connection: ProbeConnection, framing: str, longest: int) -> tuple[bytes, str]:
    """Return all values in an order in which the prefix does not occur; and what is left out.

    :raises Skipped: they are more than the longest stream.
    """
    if longest < 256:
        raise Skipped(f"there are 256 values, and the longest stream is {longest} (--max-size)")
    times = min(_TIMES, longest // 256)
    literal = connection.prefix_matcher.literal or b""
    for step in range(1, 256, 2):
        data = bytes((step * place) % 256 for place in range(256)) * times + _PAIR
        if len(literal) < 2 or literal not in data:
            break
    data = data[:longest]
    if framing == "line":  # LF ends a message
        return data.replace(b"\n", b"") + b"\n", ""
    if connection.prefix_matcher.literal is not None:
        return data, ""
    numbers = set(connection.prefix_matcher.boundary_bytes) & set(b"0123456789")
    if numbers:
        return data.translate(None, bytes(numbers)), "the digits, which the prefix counts with"
    return data, ""


async def _describe_changes(path: Path, failed: Failed) -> Failed:
    """Return which values are changed, and to what, or which are removed at the ends of messages.

    If neither can be found out, it is the failure that was found.
    """
    path.close()
    try:
        changes = await _find_changes(path, failed)
        if not changes:
            return await _describe_trimming(path) or failed
    except (Failed, *CONNECTION_ERRORS):
        return failed
    note_changes(path, changes)
    facts = change_facts(changes)
    finding = f"{list_changes(changes)}{_describe_cutting(path, changes)}"
    return Failed(finding, explain_changes(changes), failed.fault, facts)


def _describe_cutting(path: Path, changes: Changes) -> str:
    """Return after which of the values that change all else of a message is lost; or ""."""
    cutting = [value for value in changes if set(value) <= path.context.knowledge.cutting]
    if not cutting:
        return ""
    names = ", ".join(f"0x{value.hex()}" for value in cutting)
    return f"; what follows {names} in a message is lost, too"


async def _find_changes(path: Path, failed: Failed) -> dict[bytes, bytes]:
    """Return what each value that changes comes back as.

    Where that does not explain the failure, some may have changed for the place in which they
    stood: only those count that change in another place, too.
    """
    changes = await find_changes(path)
    if not changes or (failed.fault is not None and explains(changes, failed.fault)):
        return changes
    again = await find_changes(path, backwards=True)
    return {value: came for value, came in changes.items() if again.get(value) == came}


async def _describe_trimming(
    path: Path, connection: ProbeConnection | None = None
) -> Failed | None:
    """Return which values are removed at the ends of messages; ``None``: none."""
    trimming = await find_trimming(path, connection)
    if not trimming:
        return None
    path.context.knowledge.trimmed = trimming.values
    finding, cause = describe_trimming(path, trimming)
    return Failed(finding, cause, facts=trimming_facts(trimming))
