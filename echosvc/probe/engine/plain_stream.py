"""A plain stream, sent and read at once: what other streams are compared with."""

from __future__ import annotations

from echosvc._text import format_bytes
from echosvc.probe.engine.damage import Damage
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path

#: How often it is sent: what befalls other streams may not befall each plain one.
_TIMES = 3


async def send_plain_stream(path: Path, size: int) -> Failed | None:
    """Send a plain stream over a new connection; return how it failed, or ``None``.

    :param size: bytes.
    :raises Failed: there is no connection any more.
    """
    path.close()
    connection = await path.open()
    try:
        await connection.exchange(path.payload(size, connection, limited=False))
    except Failed as failed:
        return failed
    return None


def blame_streams(failed: Failed, size: int) -> Failed:
    """Return the failure of a plain stream of ``size`` bytes as one that is about streams."""
    failed.finding = f"{format_bytes(size)}: {failed.finding}"
    failed.subject = "sizes"
    return failed


async def compare_with_plain_stream(path: Path, failed: Failed, size: int) -> Failed:
    """Return a failure of a stream, or that of a plain stream which has such a fault, too.

    So a probe does not blame its own subject for what happens without it.

    :param size: of the plain stream, bytes.
    :raises Failed: there is no connection any more.
    """
    if failed.fault is None:
        return failed
    damage = Damage("", failed.fault, failed.end)
    for _ in range(_TIMES):
        other = await send_plain_stream(path, size)
        if other and other.fault is not None and damage.is_alike(other.fault, other.end):
            return blame_streams(other, size)
    return failed
