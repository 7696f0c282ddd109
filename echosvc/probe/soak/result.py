"""What a soak has found, for programs: gaps, outages, marks, and all of it in one result.

All moments are Unix times, all lengths seconds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

#: Causes of a gap, besides the names of other errors: how a connection ended, that wrong bytes
#: came, that nothing came at all, or that no connection could be opened.
FIN, RESET, MISMATCH, SILENCE, REFUSED, TIMEOUT = (
    "fin", "reset", "mismatch", "silence", "refused", "timeout",
)  # fmt: skip


def utc(when: float) -> str:
    """Return a Unix time in UTC, to the millisecond, as RFC 3339 has it."""
    text = datetime.fromtimestamp(when, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def json_facts(event: Any, when: float) -> dict[str, Any]:
    """Return the fields of an event for JSON, its time in UTC first; times to the microsecond."""
    fields = asdict(event).items()
    rounded = {name: round(each, 6) if isinstance(each, float) else each for name, each in fields}
    return {"time": utc(when), **rounded}


@dataclass(frozen=True)
class Gap:
    """A time in which a connection was not answered.

    It begins when the connection ended, or when the first message was sent that was not answered
    in time, whichever is earlier. It ends with the first answer, which may come over the connection
    that replaces it.

    :ivar number: counted from 1, in the order in which gaps are noticed.
    :ivar connection: which of the connections, from 1.
    :ivar began: when it began.
    :ivar seconds: how long it lasted.
    :ivar cause: what it began with: ``fin``, ``reset``, ``silence``, ``mismatch``, ``refused``,
        ``timeout`` or another error's name.
    :ivar end: how the connection ended; "": it did not end, or there was none.
    :ivar answered: an answer has ended the gap; otherwise the soak has.
    :ivar since_answer: from the last answer before the gap to its end; ``None``: there was none.
    :ivar local: the address of this side before the gap.
    :ivar peer: the address of the other side before the gap.
    :ivar local_after: the address of this side at its end; "": it is the same connection.
    :ivar peer_after: the address of the other side at its end.
    :ivar last: the number of the last message that was answered before, counted from 0 on each
        connection; -1: none was.
    :ivar before: who answered before, by the prefix; "": it is not known.
    :ivar after: who answered after.
    :ivar unanswered: messages of the connection that were sent and not answered.
    :ivar unanswered_bytes: their size.
    :ivar acknowledged: how many bytes of these the kernel of the next hop has acknowledged when the
        connection ended; ``None``: it is not known.
    :ivar failures: attempts that failed in the gap, by cause.
    :ivar detail: more about the cause, in words.
    :ivar outage: the number of the outage that it is part of.
    """

    number: int
    connection: int
    began: float
    seconds: float
    cause: str
    end: str = ""
    answered: bool = True
    since_answer: float | None = None
    local: str = ""
    peer: str = ""
    local_after: str = ""
    peer_after: str = ""
    last: int = -1
    before: str = ""
    after: str = ""
    unanswered: int = 0
    unanswered_bytes: int = 0
    acknowledged: int | None = None
    failures: dict[str, int] = field(default_factory=dict)
    detail: str = ""
    outage: int = 0

    @property
    def is_break(self) -> bool:
        """Whether a connection ended."""
        return bool(self.end)

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        return json_facts(self, self.began)


@dataclass(frozen=True)
class Outage:
    """Gaps that overlap in time, as one event.

    :ivar number: counted from 1.
    :ivar began: when the first gap began.
    :ivar seconds: until the last one ended.
    :ivar connections: how many connections had a gap.
    :ivar total: of how many.
    :ivar together: of how many connections the first gap began at the same moment, at most.
    :ivar most: how many connections were in a gap at once, at most.
    :ivar all_out: seconds in which all connections were.
    :ivar gaps: how many gaps there were.
    :ivar causes: how many of them had each cause.
    :ivar before: who answered before, and on how many connections.
    :ivar after: who answered after.
    :ivar connection: the connection, if it is one alone; else 0.
    :ivar ever_answered: an answer came before it or at its end, on any connection.
    """

    number: int
    began: float
    seconds: float
    connections: int
    total: int
    together: int
    most: int
    all_out: float
    gaps: int
    causes: dict[str, int]
    before: dict[str, int]
    after: dict[str, int]
    connection: int = 0
    ever_answered: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        return json_facts(self, self.began)


@dataclass(frozen=True)
class Mark:
    """A moment that the user has marked.

    :ivar number: counted from 1.
    :ivar when: the moment.
    :ivar name: what the user calls it, or "".
    """

    number: int
    when: float
    name: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        return json_facts(self, self.when)


@dataclass(frozen=True)
class Slice:
    """What happened in one of the equal slices of the time of a soak.

    :ivar answered: messages that were answered.
    :ivar largest: the largest latency, µs.
    :ivar fewest: how many connections were open and not in a gap, at least; -1: it is not known.
    """

    answered: int = 0
    largest: int = 0
    fewest: int = -1

    def add(self, other: Slice) -> Slice:
        """Return both as one."""
        known = [each for each in (self.fewest, other.fewest) if each >= 0]
        return Slice(
            self.answered + other.answered, max(self.largest, other.largest), min(known, default=-1)
        )


@dataclass(frozen=True)
class Failure:
    """A reason why a soak has failed.

    :ivar subject: one of :data:`SUBJECTS`.
    :ivar words: the reason.
    """

    subject: str
    words: str


#: What is judged: wrong replies, answers at all and at the end, gaps, and breaks.
SUBJECTS = ("replies", "answers", "gaps", "breaks")


@dataclass(frozen=True)
class SoakResult:
    """What a soak has found.

    :ivar endpoint: the server, as it was given.
    :ivar options: what was asked for.
    :ivar started: when it began.
    :ivar seconds: how long it lasted.
    :ivar complete: it has lasted as long as was asked for.
    :ivar why: why it has failed; nothing: it has not.
    :ivar messages: how many were sent, answered, lost, damaged …
    :ivar latency_us: percentiles of the time from sending to the answer, µs.
    :ivar breaks: connections that ended.
    :ivar gap_count: gaps, with those that are not kept.
    :ivar causes: how many gaps had each cause.
    :ivar failures: attempts to open a connection that failed, by cause.
    :ivar longest: the longest gap.
    :ivar gaps: the longest and the earliest ones, by their beginning.
    :ivar outage_count: outages, with those that are not kept.
    :ivar outages: the longest and the earliest ones, by their beginning.
    :ivar mark_count: marks, with those that are not kept.
    :ivar marks: the earliest ones.
    :ivar servers: who answered, and how many connections.
    :ivar stalls: how often this process itself stood still.
    :ivar longest_stall: for how long at most.
    :ivar slice_seconds: the length of a slice.
    :ivar slices: all of them, one after the other.
    """

    endpoint: str
    options: dict[str, Any]
    started: float
    seconds: float
    complete: bool
    why: tuple[Failure, ...]
    messages: dict[str, int]
    latency_us: dict[str, int]
    breaks: int
    gap_count: int
    causes: dict[str, int]
    failures: dict[str, int]
    longest: float
    gaps: tuple[Gap, ...]
    outage_count: int
    outages: tuple[Outage, ...]
    mark_count: int
    marks: tuple[Mark, ...]
    servers: dict[str, int]
    stalls: int
    longest_stall: float
    slice_seconds: float
    slices: tuple[Slice, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was above the limits."""
        return not self.why

    @property
    def reasons(self) -> list[str]:
        """Why it has failed, in words."""
        return [each.words for each in self.why]

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        names = ("gaps", "outages", "marks", "slices")
        own = {name: value for name, value in vars(self).items() if name not in names}
        listed = {name: [each.as_dict() for each in getattr(self, name)] for name in names[:3]}
        return {"schema": 1, **own, "why": self.reasons, **listed, "ok": self.ok}
