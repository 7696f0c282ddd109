"""Probe of idle connections: whether they survive."""

from __future__ import annotations

from time import monotonic

from echosvc._text import format_duration
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed, Finding
from echosvc.probe.engine.path import Path, gather

#: Bytes of the message that shows that a connection lives.
_SMALL_SIZE = 100


@probe(
    "idle",
    order=150,
    summary="idle connections survive --idle seconds",
    min_duration=lambda settings: max(settings.idle, default=0.0),
)
async def idle(path: Path) -> Finding:
    """Check that connections survive the idle times that were asked for."""
    times = path.settings.idle
    connections = await path.open_many(len(times))
    rests = [
        _stay_idle(path, connection, seconds)
        for connection, seconds in zip(connections, times, strict=True)
    ]
    ends = list(zip(times, await gather(rests), strict=True))
    survived = [seconds for seconds, end in ends if not end]
    died = "; ".join(f"{seconds:g} s: {end}" for seconds, end in ends if end)
    alive = "survived " + (", ".join(f"{seconds:g} s" for seconds in survived) or "none")
    facts = {"survived": survived}
    if died:
        raise Failed(
            f"{alive}; not {died}",
            "an idle time-out of a middlebox, or of the server; --find-idle finds it",
            facts=facts,
        )
    return Finding(alive, facts=facts)


async def _stay_idle(path: Path, connection: ProbeConnection, seconds: float) -> str:
    """Be idle, then exchange bytes; return how the connection ended; "": it did not."""
    began = monotonic()
    try:
        data = await connection.receive(seconds)
    except ConnectionEnded as end:
        if end.reason != "silence":
            return f"{end.reason} after {format_duration(monotonic() - began)}"
    else:
        raise Failed(f"{len(data)} bytes came that were not requested, while idle")
    try:
        await connection.exchange(path.payload(_SMALL_SIZE, connection))
    except Failed as failed:
        if failed.fault is not None and failed.fault.kind is not FaultKind.CUT:
            raise  # it was answered, but wrongly
        if failed.end in ("FIN", "RST"):
            return f"{failed.end} when it was used again"
        return "silence: what was sent then was not answered"
    return ""
