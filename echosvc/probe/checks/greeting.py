"""Probe of the greeting: whether it comes though the client says nothing."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from echosvc._text import format_duration, quote
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ConnectionEnded
from echosvc.probe.engine.findings import Failed, Finding, Skipped, Unanswered
from echosvc.probe.engine.path import Path

#: A greeting is late that takes so many seconds, and round trips, longer than one to a client that
#: speaks first.
_LATE, _LATE_TRIPS = 0.3, 4
_CAUSE = (
    "a middlebox waits for the first bytes of the client (HAProxy inspect-delay, nginx ssl_preread,"
    " Envoy tls_inspector): protocols in which the server speaks first (SMTP, SSH, MySQL) wait too"
)


@probe(
    "greeting",
    order=27,
    summary="the server's first bytes come though the client says nothing",
)
async def greeting(path: Path) -> Finding:
    """Say nothing, and time the first byte."""
    if not path.context.greeting:
        raise Skipped("the server sends nothing before it is asked")
    asked, rtt = await _time_asked(path)
    path.close()
    late = asked + _LATE + _LATE_TRIPS * rtt
    unasked = await _time_unasked(path, asked, late)
    words = f"{quote(path.context.greeting)} comes {format_duration(unasked)} after the connection"
    facts = {"unasked_seconds": round(unasked, 6), "asked_seconds": round(asked, 6)}
    if unasked > late:
        finding = f"{words}, and {format_duration(asked)} after it where the client speaks first"
        raise Failed(finding, _CAUSE, facts=facts)
    return Finding(f"{words}, though nothing was sent", facts=facts)


async def _time_asked(path: Path) -> tuple[float, float]:
    """Return how long the first answer takes where the client speaks first, and a round trip.

    Another connection is tried where one of several servers is known to be dead.
    """
    for _ in range(path.context.knowledge.retries):
        with suppress(Unanswered):
            return await _time_asked_once(path, path.retry_time)
    return await _time_asked_once(path)


async def _time_asked_once(path: Path, seconds: float | None = None) -> tuple[float, float]:
    """Do the same over one connection.

    :param seconds: how long its answer is waited for; ``None``: the time-out.
    """
    connection = await path.connect()
    began = monotonic()
    await connection.detect_prefix(seconds)
    asked = monotonic() - began
    await connection.request()
    return asked, connection.rtt


async def _time_unasked(path: Path, asked: float, late: float) -> float:
    """Return how long the first byte takes where the client says nothing.

    Another connection is tried where one of several servers is known to be dead.

    :param late: after so many seconds it is late.
    :raises Failed: none comes.
    """
    for _ in range(path.context.knowledge.retries):
        with suppress(Unanswered):
            return await _time_unasked_once(path, asked, late, path.retry_time)
    return await _time_unasked_once(path, asked, path.settings.timeout, path.answer_time)


async def _time_unasked_once(path: Path, asked: float, seconds: float, answer: float) -> float:
    """Do the same over one connection, for so many seconds.

    :param answer: how long an answer is waited for where nothing comes, seconds.
    :raises Unanswered: none comes, and no answer either: the server is dead.
    """
    connection = await path.connect()
    began = monotonic()
    try:
        await connection.receive(seconds)
    except ConnectionEnded as end:
        after = format_duration(monotonic() - began)
        if end.reason == "silence":
            await connection.detect_prefix(answer)
        raise _missing(end.reason, after, asked) from None
    return monotonic() - began


def _missing(reason: str, after: str, asked: float) -> Failed:
    """Return that no greeting came.

    :param reason: how the connection ended.
    :param after: how long it was waited for, in words.
    """
    what = f"within {after}" if reason == "silence" else f", but {reason} after {after}"
    finding = (
        f"the greeting does not come {what} where the client says nothing; it comes"
        f" {format_duration(asked)} after the connection where the client speaks first"
    )
    return Failed(finding, _CAUSE, end=reason)
