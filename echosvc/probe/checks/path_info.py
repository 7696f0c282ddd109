"""Probe of the path as the own kernel sees it: MSS, MTU, options, round trip, rate."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from echosvc._text import format_bytes, format_duration, plural
from echosvc.probe.causes.deadlock import FEW
from echosvc.probe.causes.path_mtu import LongMessageLost, find_limit
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.size_limit import Answer
from echosvc.probe.engine.tcp_info import TCPInfo
from echosvc.probe.engine.trial import Trial, try_message
from echosvc.probe.settings import MIB

#: Sizes of the streams whose rate is measured, bytes. The next one is tried if the last one took
#: less than this time, seconds: so a slow path is not filled.
_STREAMS = (16384, 65536, 262_144, MIB)
_SHORT = 0.1
#: How long the search for a limit of size takes at most, seconds.
_SEARCH_TIME = 30.0


@dataclass(frozen=True)
class _Rate:
    """How fast a stream came back.

    :ivar size: its bytes; 0: none came back whole.
    """

    size: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        if not self.size:
            return "its rate is not known: no stream came back whole"
        return f"{format_bytes(self.size)} come back at {format_bytes(self.per_second)} a second"

    @property
    def per_second(self) -> int:
        """Bytes a second, in each direction; 0: not known."""
        return round(self.size / self.seconds) if self.seconds else 0


@probe(
    "path",
    order=35,
    summary="what the kernel knows of it: MSS, MTU, options, rate, losses",
    min_duration=lambda _: _SEARCH_TIME,
)
async def path_info(path: Path) -> Finding:
    """Report what the kernel knows of the connection to the next hop."""
    connection = await path.open()
    before = connection.client.tcp_info
    if before is None:
        raise Skipped("no TCP, or no Linux: the system does not tell what it knows (TCP_INFO)")
    after, rate = before, _Rate()
    longest = path.settings.max_size
    for size in sorted({min(size, longest) for size in (2 * before.send_mss + 1, *_STREAMS)}):
        began = perf_counter()
        trial = await try_message(path, connection, size)
        after = trial.info or after
        if trial.answer is not Answer.WHOLE:
            await _search_limit(path, size, trial)
            break
        rate = _Rate(size, perf_counter() - began)
        if rate.seconds > _SHORT:
            break
    return _describe(before, after, rate)


async def _search_limit(path: Path, size: int, trial: Trial) -> None:
    """Find out whether packets above some size are dropped; other probes find all else.

    Where a part of the message came, it has stopped for another reason. A longer one than
    :data:`~echosvc.probe.causes.deadlock.FEW` may have stopped for a deadlock.

    :raises LongMessageLost: they are.
    """
    if trial.answer is Answer.DAMAGED or trial.came or size > FEW:
        return
    limit = None
    with suppress(Failed):  # there is no connection any more
        limit = await find_limit(path)
    if limit is not None:
        raise LongMessageLost(f"{plural(size, 'byte')} do not come back", limit)


def _describe(before: TCPInfo, after: TCPInfo, rate: _Rate) -> Finding:
    """Return what the kernel knows, in words and as facts.

    :param before: of the connection when nothing but two short messages had passed.
    :param after: the same when the streams had passed.
    """
    options = [each for each in before.options if each != "window scale"]
    if "window scale" in before.options:
        options.append("window scale {} and {}".format(*before.window_scales))
    sent = "" if after.segments_sent is None else f" of {after.segments_sent}"
    lost = f"{after.retransmits}{sent} segments sent again"
    reported = after.path_mtu < before.path_mtu
    narrow = f" (a router reported it; before: {before.path_mtu})" if reported else ""
    text = (
        f"to the next hop: MSS {after.send_mss}, MTU {after.path_mtu}{narrow},"
        f" {', '.join(options) or 'no options'}; round trip {format_duration(before.rtt)};"
        f" {rate}, {lost}"
    )
    return Finding(text, info=True, facts=_facts(before, after, rate))


def _facts(before: TCPInfo, after: TCPInfo, rate: _Rate) -> dict[str, Any]:
    known: dict[str, Any] = {
        "mss": after.send_mss,
        "path_mtu": after.path_mtu,
        "options": list(before.options),
        "window_scales": list(before.window_scales),
        "rtt_us": round(1e6 * before.rtt),
        "retransmits": after.retransmits,
        "segments_sent": after.segments_sent,
        "out_of_order": after.out_of_order,
        "delivery_rate": after.delivery_rate,
        "bytes_per_second": rate.per_second or None,
    }
    return {name: value for name, value in known.items() if value is not None}
