"""What happened in each second, aligned by Unix time so that runs can be added."""

from __future__ import annotations

from typing import Any

from echosvc.probe.traffic.checked import checked_count, checked_each, checked_items
from echosvc.probe.traffic.histogram import HIGHEST

#: Latencies of a second are kept in 16 classes a power of two: 6 % wide at most.
_BITS = 5
#: No latency reaches this class: it begins at more than 2**63 µs.
_PLACES = 1024


class Second:
    """One second of a run.

    :ivar sent: messages that were sent in it.
    :ivar answered: messages that were answered in it.
    :ivar wrong: messages that were found lost, duplicated, reordered, damaged or late in it.
    :ivar failed: connections that could not be opened, or ended before their time, in it.
    :ivar largest: the largest latency of its answers, from the intended time, µs.
    :ivar latencies: how many of its answers had which latency, by class. Answers of the warm-up
        have none.
    """

    __slots__ = ("answered", "failed", "largest", "latencies", "sent", "wrong")

    def __init__(self) -> None:
        self.sent = self.answered = self.wrong = self.failed = self.largest = 0
        self.latencies: dict[int, int] = {}

    def answer(self, latency: int) -> None:
        """Count an answer with its latency, µs."""
        self.answered += 1
        if latency > self.largest:
            self.largest = latency
        shift = latency.bit_length() - 5
        found = (shift << 4) + (latency >> shift) if shift > 0 else latency
        latencies = self.latencies
        latencies[found] = latencies.get(found, 0) + 1

    def add(self, other: Second) -> None:
        """Add what another one counted."""
        self.sent += other.sent
        self.answered += other.answered
        self.wrong += other.wrong
        self.failed += other.failed
        self.largest = max(self.largest, other.largest)
        for place, found in other.latencies.items():
            self.latencies[place] = self.latencies.get(place, 0) + found

    def percentile(self, wanted: float) -> int:
        """Return a percentile of the latencies, µs, at most 6 % too high; 0: there are none."""
        needed, passed = wanted / 100 * sum(self.latencies.values()), 0
        for place, found in sorted(self.latencies.items()):
            passed += found
            if passed >= needed:
                return min(_highest_at(place), self.largest)
        return 0

    def dump(self) -> list[Any]:
        """Return the same for JSON."""
        counts = [self.sent, self.answered, self.wrong, self.failed, self.largest]
        return [*counts, sorted(self.latencies.items())]

    @classmethod
    def load(cls, dumped: list[Any]) -> Second:
        """Return the second that was dumped.

        :raises ValueError: it is none.
        """
        second, (*counts, latencies) = cls(), checked_items(dumped, 6)
        second.sent, second.answered, second.wrong, second.failed, second.largest = map(
            checked_count, counts
        )
        second.latencies = dict(checked_each(latencies, _PLACES, _load_class))
        return second

    def __eq__(self, other: object) -> bool:
        return self.dump() == other.dump() if isinstance(other, Second) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def _load_class(dumped: Any) -> tuple[int, int]:
    place, count = map(checked_count, checked_items(dumped, 2))
    if place >= _PLACES:
        raise ValueError(f"no class of latencies: {place}")
    return place, count


def _highest_at(place: int) -> int:
    """Return the highest latency of a class, µs."""
    shift = max(0, (place >> (_BITS - 1)) - 1)
    return min(((place - (shift << (_BITS - 1)) + 1) << shift) - 1, HIGHEST)
