"""Connections end after so many bytes.

Theory of operation. A stream that is cut may have been cut for its size, for its age, or by chance.
So streams are sent in parts, each once the last one has come back: over one connection large ones
without a pause, over another one smaller or larger ones with pauses. A limit of bytes cuts both
within the same part. A limit of age cuts the slower one after fewer bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from twisted.internet.task import deferLater

from echosvc._text import format_bytes
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path

_ENDS = ("FIN", "RST", "silence")
#: Below the smallest limit a path carries nothing; a larger one is not looked for, bytes.
_LEAST, _MOST = 64, 512 << 20
#: Into how many parts the bytes are cut that a connection has carried, by the first, the second and
#: the third stream; each stream is longer by this factor.
_FIRST, _SECOND, _THIRD, _MORE = 16, 11, 23, 1.3
#: By how much two streams that are cut by an exact limit differ.
_EXACT = 0.01
#: How often a smaller limit is looked for where the first part is cut already.
_TRIES = 8
#: What is missing to a power of two, at most, where that is taken for the limit.
_ROUNDED = 0.01
#: By how much the second stream may be cut earlier or later, besides a part.
_TOLERANCE = 0.05


@dataclass(frozen=True)
class _Cut:
    """Where a connection was cut.

    :ivar carried: bytes of the streams that had come back.
    :ivar received: all bytes that had come.
    :ivar part: bytes of each part.
    :ivar end: how it was cut.
    :ivar seconds: its age.
    """

    carried: int
    received: int
    part: int
    end: str
    seconds: float


@cause(order=68, seconds=40.0)
async def explain_by_volume(path: Path, failed: Failed) -> Cause | None:
    """Return that connections end after so many bytes, however they are sent."""
    if failed.end not in _ENDS:
        return None
    if (known := path.context.knowledge.volume) is not None:
        return Cause("volume", f"connections end after {format_bytes(known)}")
    first = await _find_cut(path, min(_MOST, _size(failed)))
    if first is None:
        return None
    path.close()
    pause = max(0.05, first.seconds * 2 / _SECOND)
    second = await _send(path, max(first.carried, first.part), _SECOND, pause)
    if second is None:
        return None
    if not _are_beside(first, second) or not await _is_cut_again(path, first, second, pause):
        return None
    return _conclude(path, first, second)


def _are_beside(first: _Cut, second: _Cut) -> bool:
    """Return whether two streams were cut after as many bytes, as far as their parts tell."""
    allowed = max(first.part, second.part) + _TOLERANCE * first.carried
    return abs(first.carried - second.carried) <= allowed


async def _is_cut_again(path: Path, first: _Cut, second: _Cut, pause: float) -> bool:
    """Return whether a limit is exact, or a third stream is cut beside the others.

    What cuts streams at random may cut two of them in the same part.
    """
    if abs(first.received - second.received) <= _EXACT * first.received:
        return True
    path.close()
    third = await _send(path, max(first.carried, first.part), _THIRD, pause / 2)
    return third is not None and _are_beside(first, third) and _are_beside(second, third)


def _size(failed: Failed) -> int:
    """Return the size of the stream that failed, if it was cut; otherwise 0."""
    fault = failed.fault
    if fault is None:
        return int(failed.facts.get("bytes", 0))
    return fault.offset + fault.length if fault.kind is FaultKind.CUT else 0


async def _find_cut(path: Path, size: int) -> _Cut | None:
    """Return where a stream is cut that is a little longer than ``size``.

    Where the first part is cut already, the limit is smaller: then parts of that one are sent.
    """
    for _ in range(_TRIES):
        if size < _LEAST:
            return None
        cut = await _send(path, size, _FIRST, 0.0)
        if cut is None or cut.carried > cut.part:
            return cut
        size = cut.part
        path.close()
    return None


async def _send(path: Path, size: int, parts: int, pause: float) -> _Cut | None:
    """Exchange parts of ``size`` bytes, and some more, over one connection.

    :param pause: seconds after each.
    :return: where the connection was cut; ``None``: it was not.
    """
    clock, part, carried = path.reactor, math.ceil(size / parts), 0
    connection, began = await path.open(), clock.seconds()
    for _ in range(math.ceil(_MORE * parts)):
        payload = path.payload(part, connection)
        try:
            with path.patience(path.answer_time):
                await connection.exchange(payload)
        except Failed as failed:
            if failed.end not in _ENDS:
                return None
            came = failed.fault.offset if failed.fault is not None else 0
            received, seconds = connection.bytes_received, clock.seconds() - began
            return _Cut(carried + came, received, part, failed.end, seconds)
        carried += part
        await deferLater(clock, pause)
    return None


def _rounded(size: int) -> int:
    """Return a power of two that is a little more than ``size``, or ``size``."""
    power = 1 << (size - 1).bit_length()
    return power if power - size <= _ROUNDED * size else size


def _conclude(path: Path, first: _Cut, second: _Cut) -> Cause:
    limit = max(first.received, second.received)
    path.context.knowledge.volume = limit
    path.limit_sizes(max(1, min(first.carried, second.carried) // 4))
    about = "" if first.received == second.received else "about "
    finding = (
        f"connections end by {first.end} after {about}{format_bytes(_rounded(limit))}, sent fast or"
        f" slowly ({first.received} and {second.received} bytes came)"
    )
    advice = "a middlebox, or the server, ends connections that have carried so much"
    return Cause("volume", finding, advice, {"volume_bytes": limit}, avoidable=True)
