"""Probe of many connections at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from echosvc._text import format_bytes
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.fault import Fault
from echosvc.probe.engine.findings import Failed, Finding
from echosvc.probe.engine.path import Path, gather
from echosvc.probe.engine.payload import AnyPayload
from echosvc.probe.engine.plain_stream import compare_with_plain_stream

#: Bytes that each of many connections carries.
EACH_SIZE = 65536
#: Bytes that do not occur in two payloads by chance.
_MIN_DISTINCT = 8


@probe("connections", order=100, summary="many at once do not disturb each other", needs=("path",))
async def concurrent_connections(path: Path) -> Finding:
    """Check that each of many connections gets its own stream back."""
    count = path.allowed(path.settings.connections)
    connections = await path.open_many(count)
    payloads = [path.payload(EACH_SIZE, connection) for connection in connections]
    pairs = zip(connections, payloads, strict=True)
    try:
        await gather([_exchange_own(each, payload, payloads) for each, payload in pairs])
    except Failed as failed:
        failed.control = partial(compare_with_plain_stream, path, failed, payloads[0].size)
        raise
    size = format_bytes(payloads[0].size)
    return Finding(
        f"{count} at once, each with {size} of its own, which came back to it",
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
