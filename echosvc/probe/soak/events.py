"""The events of a soak, as they happen. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from echosvc.probe.soak.result import Gap, Mark, Outage, SoakResult, json_facts, utc


@dataclass(frozen=True)
class Started:
    """The soak begins.

    :ivar when: Unix time, as in all events.
    :ivar endpoint: the server.
    :ivar options: what was asked for.
    """

    when: float
    endpoint: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Opened:
    """A connection was opened, and answered for the first time.

    :ivar connection: its number.
    :ivar local: the address of this side.
    :ivar peer: the address of the other side.
    :ivar server: who answered, by the prefix.
    """

    when: float
    connection: int
    local: str
    peer: str
    server: str


@dataclass(frozen=True)
class GapBegan:
    """A gap was noticed.

    :ivar when: when it began.
    :ivar number: of the gap.
    :ivar connection: the connection that is not answered.
    :ivar cause: what it began with.
    :ivar outage: the number of the outage that it is part of.
    :ivar first: no other connection is in a gap.
    """

    when: float
    number: int
    connection: int
    cause: str
    outage: int
    first: bool


@dataclass(frozen=True)
class Stall:
    """A moment until which this process stood still: no silence before it proves anything.

    :ivar seconds: for how long.
    """

    when: float
    seconds: float


@dataclass(frozen=True)
class Minute:
    """What happened since the last such event.

    :ivar seconds: how long that is.
    :ivar connections: how many there are.
    :ivar up: how many of them were opened, and are not in a gap.
    :ivar answered: messages that were answered.
    :ivar p50_us: the median of their latencies, µs.
    :ivar p99_us: the 99th percentile.
    :ivar max_us: the largest.
    :ivar gaps: how many gaps were noticed.
    """

    when: float
    seconds: float
    connections: int
    up: int
    answered: int
    p50_us: int
    p99_us: int
    max_us: int
    gaps: int


@dataclass(frozen=True)
class Ended:
    """The soak is over.

    :ivar result: what it has found.
    """

    when: float
    result: SoakResult


Event = Started | Opened | GapBegan | Gap | Outage | Mark | Stall | Minute | Ended

_NAMES: dict[type, str] = {
    Started: "start", Opened: "open", GapBegan: "gap-began", Gap: "gap", Outage: "outage",
    Mark: "mark", Stall: "stall", Minute: "minute",
}  # fmt: skip


def event_facts(event: Event) -> dict[str, Any]:
    """Return an event for JSON."""
    if isinstance(event, Ended):
        return {"event": "end", "time": utc(event.when), **event.result.as_dict()}
    when = event.began if isinstance(event, (Gap, Outage)) else event.when
    return {"event": _NAMES[type(event)], **json_facts(event, when)}
