"""Probe of the first answer: how long a fresh connection takes to open and to answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from time import monotonic
from typing import Any

from echosvc._text import format_duration, plural
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.findings import Finding, Unanswered
from echosvc.probe.engine.path import Path

#: A first answer is slow that takes longer than later ones by so many seconds.
_SLOW = 0.2
#: No further connection is opened after this share of the time-out.
_SHARE = 0.2


@dataclass(frozen=True)
class _Opening:
    """How a connection began.

    :ivar connect: seconds until it was open.
    :ivar answer: seconds from then to its first answer.
    :ivar later: seconds of its second answer.
    :ivar lost: how many SYNs were sent again.
    """

    connect: float
    answer: float
    later: float
    lost: int


@probe(
    "first-answer",
    order=32,
    summary="how long fresh connections take to open, and to answer first",
)
async def first_answer(path: Path) -> Finding:
    """Time the opening and the first answer of several connections, one after the other."""
    began, openings = monotonic(), list[_Opening]()
    while len(openings) < path.settings.connections:
        openings.append(await _time(path))
        if monotonic() - began > _SHARE * path.settings.timeout:
            break
    return Finding(_describe(openings), info=True, facts=_facts(openings))


async def _time(path: Path) -> _Opening:
    """Time one connection; another one where one of several servers is known to be dead."""
    for _ in range(path.context.knowledge.retries):
        with suppress(Unanswered):
            return await _time_one(path, path.retry_time)
    return await _time_one(path)


async def _time_one(path: Path, seconds: float | None = None) -> _Opening:
    """Time one connection.

    :param seconds: how long its answer is waited for; ``None``: the time-out.
    """
    connection = await path.connect()
    opened = monotonic()
    await connection.detect_prefix(seconds)
    answered = monotonic()
    await connection.request()
    known = connection.client.handshake
    connection.close()
    lost = known.syn_retransmits if known is not None else 0
    return _Opening(connection.connect_seconds, answered - opened, connection.rtt, lost)


def _describe(openings: Sequence[_Opening]) -> str:
    count = plural(len(openings), "connection")
    answers = [each.answer for each in openings]
    text = f"{count}: first answer after {format_duration(median(answers))}"
    if len(openings) > 1:
        text += f", the slowest after {format_duration(max(answers))}"
    slowest = max(each.connect for each in openings)
    text += f"; open within {format_duration(slowest)}"
    later = median(each.later for each in openings)
    if min(answers) > later + _SLOW:
        text += (
            f"; later answers take {format_duration(later)}: something waits before the first one"
        )
    return text + _describe_lost(openings)


def _describe_lost(openings: Sequence[_Opening]) -> str:
    lost = [each for each in openings if each.lost]
    if not lost:
        return ""
    slowest = format_duration(max(each.connect for each in lost))
    took = slowest if len(lost) == 1 else f"up to {slowest}"
    return f"; {len(lost)} of {len(openings)} took {took} to open: a SYN was lost, or its answer"


def _facts(openings: Sequence[_Opening]) -> dict[str, Any]:
    return {
        "connections": len(openings),
        "median_seconds": round(median(each.answer for each in openings), 6),
        "slowest_seconds": round(max(each.answer for each in openings), 6),
        "slowest_connect_seconds": round(max(each.connect for each in openings), 6),
        "connections_with_lost_syn": sum(each.lost > 0 for each in openings),
    }
