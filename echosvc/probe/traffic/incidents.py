"""What went wrong, one by one: gaps in which nothing was answered, and replies that were wrong.

Of each kind a bounded number is kept: the longest gaps, and the earliest mismatches. Which ones
these are does not depend on the order in which results are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import nsmallest
from typing import Any, Generic, NamedTuple, TypeVar

from echosvc.probe.traffic.checked import (
    checked_bytes,
    checked_items,
    checked_number,
    checked_text,
    checked_whole,
)

#: So many of each kind are kept.
MAX_GAPS = 1000
MAX_MISMATCHES = 100


class Gap(NamedTuple):
    """A time in which messages were due on a connection, and none was answered.

    :ivar began: when the last answer came, or the first message was due; Unix time.
    :ivar seconds: how long it was.
    :ivar connection: its number.
    :ivar cause: ``fin``, ``reset``, ``silence``, ``mismatch``, ``refused`` …
    :ivar last: the number of the last message that was answered; -1: none was.
    :ivar local: the address of this side.
    :ivar peer: the address of the other side.
    :ivar before: who answered before the gap; "": it is not known.
    :ivar after: who answered after it.
    """

    began: float
    seconds: float
    connection: int
    cause: str
    last: int = -1
    local: str = ""
    peer: str = ""
    before: str = ""
    after: str = ""

    def dump(self) -> list[Any]:
        """Return the same for JSON."""
        return list(self)

    @classmethod
    def load(cls, dumped: list[Any]) -> Gap:
        """Return the gap that was dumped.

        :raises ValueError: it is none.
        """
        began, seconds, connection, cause, last, *texts = checked_items(dumped, len(cls._fields))
        times = checked_number(began), checked_number(seconds)
        return cls(
            *times,
            checked_whole(connection),
            checked_text(cause),
            checked_whole(last),
            *map(checked_text, texts),
        )


class Mismatch(NamedTuple):
    """A place where what came was not what was due.

    :ivar when: Unix time.
    :ivar connection: its number.
    :ivar message: the number of the message that was due.
    :ivar kind: as :class:`~echosvc.probe.engine.fault.FaultKind` names it.
    :ivar offset: the first wrong byte, counted from the beginning of the reply that was due.
    :ivar length: of what is lost, repeated, changed or inserted, bytes; 0: it is not known.
    :ivar expected: what was due there.
    :ivar seen: what came there.
    """

    when: float
    connection: int
    message: int
    kind: str
    offset: int
    length: int
    expected: bytes
    seen: bytes

    def dump(self) -> list[Any]:
        """Return the same for JSON."""
        return [*self[:6], self.expected.hex(), self.seen.hex()]

    @classmethod
    def load(cls, dumped: list[Any]) -> Mismatch:
        """Return the mismatch that was dumped.

        :raises ValueError: it is none.
        """
        when, connection, message, kind, offset, length, expected, seen = checked_items(dumped, 8)
        return cls(
            checked_number(when),
            checked_whole(connection),
            checked_whole(message),
            checked_text(kind),
            checked_whole(offset),
            checked_whole(length),
            checked_bytes(expected),
            checked_bytes(seen),
        )


Incident = TypeVar("Incident", Gap, Mismatch)


class Kept(Generic[Incident]):
    """The most important incidents of a kind, and how many there were.

    :param limit: how many are kept.
    :param rank: those of the lowest rank are kept; no two incidents have the same.
    :ivar total: how many there were.
    """

    def __init__(self, limit: int, rank: Callable[[Incident], Any]) -> None:
        self._limit = limit
        self._rank: Callable[[Incident], Any] = rank
        self._all: list[Incident] = []
        self.total = 0

    def append(self, incident: Incident) -> None:
        """Note an incident."""
        self.extend([incident], 1)

    def extend(self, incidents: Iterable[Incident], total: int) -> None:
        """Note incidents, of which there were ``total``."""
        self._all += incidents
        self.total += total
        if len(self._all) >= 2 * self._limit:
            self._all = nsmallest(self._limit, self._all, self._rank)

    def add(self, other: Kept[Incident]) -> None:
        """Note what another one has."""
        self.extend(other.best, other.total)

    @property
    def best(self) -> list[Incident]:
        """Those that are kept, by rank."""
        return nsmallest(self._limit, self._all, self._rank)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kept):
            return NotImplemented
        return self.total == other.total and self.best == other.best

    __hash__ = None  # type: ignore[assignment]


def kept_gaps() -> Kept[Gap]:
    """Return where the longest gaps are kept."""
    return Kept(MAX_GAPS, lambda gap: (-gap.seconds, gap))


def kept_mismatches() -> Kept[Mismatch]:
    """Return where the earliest mismatches are kept."""
    return Kept(MAX_MISMATCHES, lambda mismatch: mismatch)
