"""The shares that were found, for programs. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

#: Of the form of :meth:`ShareResult.as_dict`.
SCHEMA = 1
#: The name of all servers that are not listed.
OTHERS = "*"

ShareVerdict = Literal["pass", "fail", "undecided", "none"]


@dataclass(frozen=True)
class ServerShare:
    """The share of one server.

    :ivar name: the server's.
    :ivar count: connections that it answered.
    :ivar share: of all connections, those that failed included, from 0 to 1.
    :ivar low: the truth is not below this.
    :ivar high: the truth is not above this.
    :ivar expected: the share that is expected, in per cent, such as ``80±5``; "": none is.
    :ivar verdict: about that; ``none``: nothing is expected.
    """

    name: str
    count: int
    share: float
    low: float
    high: float
    expected: str = ""
    verdict: ShareVerdict = "none"

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        own = {"count": self.count, "share": self.share, "low": self.low, "high": self.high}
        if not self.expected:
            return own
        return {**own, "expected": self.expected, "verdict": self.verdict}


@dataclass(frozen=True)
class FailureCount:
    """Connections that failed by one cause.

    :ivar cause: such as ``refused``, ``reset``, ``fin``, ``timeout``, ``tls`` or ``mismatch``.
    :ivar count: how many.
    :ivar example: the first one, in words.
    """

    cause: str
    count: int
    example: str


@dataclass(frozen=True)
class ShareWindow:
    """The connections that began in a part of the time.

    :ivar start: when it begins, seconds since the first connection.
    :ivar seconds: how long it is.
    :ivar counts: of each server, how many connections it answered.
    :ivar failed: connections that failed.
    """

    start: float
    seconds: float
    counts: dict[str, int]
    failed: int

    @property
    def total(self) -> int:
        """All connections."""
        return sum(self.counts.values()) + self.failed

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        start, seconds = round(self.start, 3), round(self.seconds, 3)
        return {"start": start, "seconds": seconds, "counts": self.counts, "failed": self.failed}


@dataclass(frozen=True)
class ShareChange:
    """A change of the shares that is sure.

    :ivar at: the likeliest moment, as ISO 8601 has it, in UTC.
    :ivar earliest: it was not before this moment.
    :ivar latest: it was not after this moment.
    :ivar seconds: the likeliest moment, seconds since the first connection.
    :ivar before: what was seen since the change before it, or since the beginning.
    :ivar after: what was seen until the next change, or until the end.
    """

    at: str
    earliest: str
    latest: str
    seconds: float
    before: ShareWindow
    after: ShareWindow

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        times = {"at": self.at, "earliest": self.earliest, "latest": self.latest}
        parts = {"before": self.before.as_dict(), "after": self.after.as_dict()}
        return {**times, "seconds": round(self.seconds, 3), **parts}


@dataclass(frozen=True)
class ShareResult:
    """What was found of the servers behind a path.

    :ivar endpoint: the path, as it was given.
    :ivar dialect: the language of the servers.
    :ivar verdict: about all that is expected; ``none``: nothing is, and nothing is wrong.
    :ivar why: the verdict in words.
    :ivar connections: those that count: the first ones, all of which have ended.
    :ivar unfinished: later ones that were open when it was over, and do not count.
    :ivar seconds: how long it took.
    :ivar started: when it began, as ISO 8601 has it, in UTC.
    :ivar error: the probability that the verdict, an interval of an expected share, or a change is
        wrong.
    :ivar shares: of the servers, and of what was expected and has not answered.
    :ivar failures: connections that failed, by cause.
    :ivar basis: connections that the shares are of: all, or those since the last change.
    :ivar windows: the shares over time, where they were watched.
    :ivar changes: of the shares, where they were watched.
    :ivar interrupted: it was ended before its time.
    """

    endpoint: str
    dialect: str
    verdict: ShareVerdict
    why: str
    connections: int
    unfinished: int
    seconds: float
    started: str
    error: float
    shares: tuple[ServerShare, ...]
    failures: tuple[FailureCount, ...]
    basis: int
    windows: tuple[ShareWindow, ...] = ()
    changes: tuple[ShareChange, ...] = ()
    interrupted: bool = False

    @property
    def failed(self) -> int:
        """Connections that failed."""
        return sum(each.count for each in self.failures)

    @property
    def answered(self) -> int:
        """Connections that were answered."""
        return self.connections - self.failed

    @property
    def ok(self) -> bool:
        """Whether the shares are as expected; or nothing is expected, and no connection failed.

        Not where it was interrupted.
        """
        right = self.verdict == "pass" or (self.verdict == "none" and not self.failed)
        return right and not self.interrupted

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        counts = {"counted": self.connections, "answered": self.answered, "failed": self.failed}
        counts["unfinished"] = self.unfinished
        head = {"schema": SCHEMA, "endpoint": self.endpoint, "dialect": self.dialect}
        return {
            **head,
            "verdict": self.verdict,
            "why": self.why,
            "ok": self.ok,
            **({"interrupted": True} if self.interrupted else {}),
            "started": self.started,
            "seconds": round(self.seconds, 6),
            "error": self.error,
            "connections": counts,
            "basis": self.basis,
            "shares": {each.name: each.as_dict() for each in self.shares},
            "failures": {
                each.cause: {"count": each.count, "example": each.example} for each in self.failures
            },
            "windows": [each.as_dict() for each in self.windows],
            "changes": [each.as_dict() for each in self.changes],
        }
