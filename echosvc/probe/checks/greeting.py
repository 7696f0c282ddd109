"""Probe of the greeting: whether it comes though the client says nothing."""

from __future__ import annotations

from time import monotonic

from echosvc._text import format_duration, quote
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ConnectionEnded
from echosvc.probe.engine.findings import Failed, Finding, Skipped
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
    unasked = await _time_unasked(path, asked)
    words = f"{quote(path.context.greeting)} comes {format_duration(unasked)} after the connection"
    facts = {"unasked_seconds": round(unasked, 6), "asked_seconds": round(asked, 6)}
    if unasked > asked + _LATE + _LATE_TRIPS * rtt:
        finding = f"{words}, and {format_duration(asked)} after it where the client speaks first"
        raise Failed(finding, _CAUSE, facts=facts)
    return Finding(f"{words}, though nothing was sent", facts=facts)


async def _time_asked(path: Path) -> tuple[float, float]:
    """Return how long the first answer takes where the client speaks first, and a round trip."""
    connection = await path.connect()
    began = monotonic()
    await connection.detect_prefix()
    asked = monotonic() - began
    await connection.request()
    return asked, connection.rtt


async def _time_unasked(path: Path, asked: float) -> float:
    """Return how long the first byte takes where the client says nothing.

    :raises Failed: none comes.
    """
    connection = await path.connect()
    began = monotonic()
    try:
        await connection.receive()
    except ConnectionEnded as end:
        after = format_duration(monotonic() - began)
        what = f"within {after}" if end.reason == "silence" else f", but {end.reason} after {after}"
        raise Failed(
            f"the greeting does not come {what} where the client says nothing; it comes"
            f" {format_duration(asked)} after the connection where the client speaks first",
            _CAUSE,
            end=end.reason,
        ) from None
    return monotonic() - began
