"""Who answered when, in equal intervals of time: as many as were planned, however long. No I/O."""

from __future__ import annotations

from collections import Counter

from echosvc.probe.share.result import ShareWindow

#: Intervals that a time is cut into, at most: the finer, the more exact is a change of shares.
MOST_INTERVALS = 1000
#: An interval is no shorter, seconds.
SHORTEST = 0.05


class Timeline:
    """Who answered in each interval of a time whose length is known before.

    :param seconds: that length. What comes later counts for the last interval.
    :ivar width: of an interval, seconds.
    :ivar size: number of intervals.
    """

    def __init__(self, seconds: float) -> None:
        self.size = max(1, min(MOST_INTERVALS, int(seconds / SHORTEST)))
        self.width = seconds / self.size
        self._names: list[Counter[str]] = [Counter() for _ in range(self.size)]
        self._failed, self._slowest = [0] * self.size, [0.0] * self.size

    def add(self, when: float, name: str | None, seconds: float = 0.0) -> None:
        """Count a connection.

        :param when: it began, seconds since the first one.
        :param name: who answered; ``None``: it failed.
        :param seconds: how long the answer took.
        """
        at = self.index(when)
        if name is None:
            self._failed[at] += 1
            return
        self._names[at][name] += 1
        self._slowest[at] = max(self._slowest[at], seconds)

    def index(self, when: float) -> int:
        """Return in which interval a moment is."""
        return max(0, min(self.size - 1, int(when / self.width)))

    def window(self, first: int, end: int) -> ShareWindow:
        """Return what was in the intervals from ``first`` to before ``end``."""
        counts: Counter[str] = sum(self._names[first:end], Counter())
        failed = sum(self._failed[first:end])
        return ShareWindow(first * self.width, (end - first) * self.width, dict(counts), failed)

    def windows(self, number: int, end: float) -> list[ShareWindow]:
        """Return the time until ``end`` in at most ``number`` windows of the same length."""
        step = -(-self.size // max(1, number))
        last = self.index(end) + 1
        return [self.window(at, min(at + step, last)) for at in range(0, last, step)]

    def slowest(self, first: int, end: int) -> float:
        """Return how long the slowest answer took in these intervals, seconds."""
        return max(self._slowest[first:end], default=0.0)

    def names(self, first: int = 0) -> list[str]:
        """Return the names since an interval, in the order in which they came first."""
        return list(dict.fromkeys(name for each in self._names[first:] for name in each))

    def counts_of(self, name: str | None) -> list[int]:
        """Return for each interval how many connections a name answered; ``None``: failed."""
        if name is None:
            return list(self._failed)
        return [each[name] for each in self._names]

    def totals(self) -> list[int]:
        """Return the number of connections in each interval."""
        pairs = zip(self._names, self._failed, strict=True)
        return [sum(names.values()) + failed for names, failed in pairs]
