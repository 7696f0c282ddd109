"""A bounded part of many incidents: the longest and the earliest of them. No I/O, no clock."""

from __future__ import annotations

from heapq import nlargest
from typing import Generic, Protocol, TypeVar


class _Incident(Protocol):
    @property
    def number(self) -> int:
        """Counted from 1."""

    @property
    def began(self) -> float:
        """When it began."""

    @property
    def seconds(self) -> float:
        """How long it lasted."""


Incident = TypeVar("Incident", bound=_Incident)


class LongestAndEarliest(Generic[Incident]):
    """Keeps the longest and the earliest incidents.

    :param limit: so many of each.
    :ivar total: how many there were.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._earliest: list[Incident] = []
        self._long: list[Incident] = []
        self.total = 0

    def add(self, incident: Incident) -> None:
        """Keep an incident, or only count it."""
        self.total += 1
        if len(self._earliest) < self._limit:
            self._earliest.append(incident)
            return
        self._long.append(incident)
        if len(self._long) >= 2 * self._limit:
            self._long = self._longest()

    def _longest(self) -> list[Incident]:
        return nlargest(self._limit, self._long, key=lambda each: (each.seconds, -each.number))

    def kept(self) -> tuple[Incident, ...]:
        """Return those that are kept, by their beginning."""
        found = [*self._earliest, *self._longest()]
        return tuple(sorted(found, key=lambda each: (each.began, each.number)))
