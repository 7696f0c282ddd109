"""A plain stream, sent and read at once: what other streams are compared with."""

from __future__ import annotations

from functools import partial

from echosvc._text import format_bytes
from echosvc.probe.engine.damage import Damage
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path

#: How often it is sent: what befalls other streams may not befall each plain one.
_TIMES = 3
#: A stream that has stopped so often is sent no more: each time takes a time-out.
_STOPS = 2


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


def ask_again_after_silence(path: Path, failed: Failed, size: int) -> None:
    """Let a stream that stopped be sent again where no cause is found, to say how often it stops.

    :param size: of the stream, bytes.
    """
    if failed.fault is not None and failed.fault.kind is FaultKind.CUT and failed.end == "silence":
        failed.control = partial(_count_stops, path, failed, size)


async def _count_stops(path: Path, failed: Failed, size: int) -> Failed:
    """Return the failure of a stream with how often it came; it is sent until it stops again."""
    times = stops = 1
    while stops < _STOPS and times <= _TIMES:
        with path.patience(path.answer_time):
            again = await send_plain_stream(path, size)
        times += 1
        stops += again is not None
    failed.finding += f" ({stops} of {times} times)"
    failed.facts |= {"times": times, "failed": stops}
    if stops == 1:
        failed.cause += "; or a machine was held up, since it came only once"
    return failed


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
