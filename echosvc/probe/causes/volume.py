"""Connections end after so many bytes.

Theory of operation. A stream that is cut may have been cut for its size, for its age, or by chance.
So streams are sent in parts, each once the last one has come back: over one connection large ones
without a pause, over another one smaller or larger ones with pauses. A limit of bytes cuts both
within the same part. A limit of age cuts the slower one after fewer bytes.

A firewall may count packets. Those of long parts are nearly all full, so such a limit looks like an
inexact one of bytes. But messages of one byte are cut after far fewer bytes then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from twisted.internet.task import deferLater

from echosvc._text import format_bytes
from echosvc.probe.causes.damage import stall_of
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.tcp_info import Stall

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
#: So many messages of one byte are sent for each of these bytes of the limit, at least and at most
#: so many, for so many seconds.
_FULL_PACKET, _LEAST_SHORT, _MOST_SHORT, _SHORT_SECONDS = 500, 50, 2000, 4.0
#: Packets are counted if short messages are cut after less than this part of the bytes.
_FEWER = 0.25
_ADVICE = "a middlebox, or the server, ends connections that have carried so much"
_COUNTING_ADVICE = (
    "a firewall counts the packets of a connection (iptables -m connbytes --connbytes-mode"
    " packets), or a middlebox, or the server, its reads"
)
#: Where nothing comes any more, by what our kernel knew when the stream stopped.
_SILENT_ADVICE = {
    Stall.DROPPED.value: "a firewall drops the packets of connections that have carried so much:"
    " none of ours is acknowledged any more",
    Stall.NOT_READ.value: "the next hop, a proxy or the server, reads no more of connections that"
    " have carried so much",
    Stall.TAKEN.value: "a proxy, or the server, is silent on connections that have carried so much,"
    " or its packets are dropped: the next hop has acknowledged everything",
}


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


@cause(order=68, seconds=40.0 + _SHORT_SECONDS)
async def explain_by_volume(path: Path, failed: Failed) -> Cause | None:
    """Return that connections end after so many bytes, or packets, however fast they are sent."""
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
    exact = first.received == second.received
    short = None if exact else await _send_short(path, first.received)
    return _conclude(path, first, second, short, stall_of(failed))


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


async def _send_short(path: Path, limit: int) -> int | None:
    """Exchange messages of one byte; return how many bytes came until the connection was cut.

    :param limit: bytes that came where long ones were sent.
    :return: ``None``: it was not cut far earlier than that.
    """
    path.close()
    connection, end = await path.open(), path.reactor.seconds() + _SHORT_SECONDS
    for _ in range(min(_MOST_SHORT, max(_LEAST_SHORT, limit // _FULL_PACKET))):
        try:
            with path.patience(path.answer_time):
                await connection.exchange(path.payload(1, connection))
        except Failed as failed:
            came = connection.bytes_received
            return came if failed.end in _ENDS and came < _FEWER * limit else None
        if path.reactor.seconds() > end:
            break
    return None


def _rounded(size: int) -> int:
    """Return a power of two that is a little more than ``size``, or ``size``."""
    power = 1 << (size - 1).bit_length()
    return power if power - size <= _ROUNDED * size else size


def _conclude(path: Path, first: _Cut, second: _Cut, short: int | None, stall: str) -> Cause:
    """Return the limit, and keep the streams of later probes below it.

    :param short: bytes that came in answers to short messages; ``None``: those are not cut.
    :param stall: why nothing came any more, as our kernel knew it; "": it did not.
    """
    limit = max(first.received, second.received)
    path.context.knowledge.volume = limit
    path.limit_sizes(max(1, min(first.carried, second.carried) // 4))
    begin = f"connections end by {first.end} after"
    if short is not None:
        finding = (
            f"{begin} so many packets, sent fast or slowly: about {format_bytes(limit)} came in"
            f" long messages, {format_bytes(short)} in messages of 1 byte"
        )
        facts = {"volume_bytes": limit, "short_bytes": short}
        return Cause("volume", finding, _COUNTING_ADVICE, facts, avoidable=True)
    about = "" if first.received == second.received else "about "
    finding = (
        f"{begin} {about}{format_bytes(_rounded(limit))}, sent fast or slowly ({first.received} and"
        f" {second.received} bytes came)"
    )
    advice = _SILENT_ADVICE.get(stall, _ADVICE) if first.end == "silence" else _ADVICE
    return Cause("volume", finding, advice, {"volume_bytes": limit}, avoidable=True)
