"""When the shares changed: only changes that are sure, each with its time and uncertainty. No I/O.

Theory of operation. A part of the time is examined for one name at a time: a connection was
answered by it, or not. If its share did not change, then what was seen has some probability
``p^s (1 - p)^f``, at most that of ``p = s / (s + f)``. Against this stands a mixture: the share
changed once, at any of the moments alike, and before and after it was any share alike. By universal
inference (Wasserman, Ramdas, Balakrishnan 2020) the ratio of the two reaches ``1 / error`` with a
probability of at most ``error``. Where it does, there was a change.

A moment is excluded as that of the change where the mixture is ``1 / error`` times as probable as
the best two shares before and after that moment. The moments that are left are the uncertainty.

Parts of many lengths are examined, each of which overlaps the next one by half (seeded binary
segmentation, Kovács et al. 2023). A short change in the middle is not seen in the whole. The
shortest part in which a change is sure is cut there; then the next one that has no cut in it
(narrowest over threshold, Baranowski et al. 2019). In the end each change is examined once more in
the part between its neighbours.

Which parts are examined last depends on what was seen. Therefore the error is divided by the number
of all parts that there may be, and of all names: it holds for all of them together, however often
one looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, inf, lgamma, log

from echosvc.probe.share.result import ShareWindow
from echosvc.probe.share.timeline import Timeline

#: Names that are examined: the first ones, and failures.
_MOST_NAMES = 6


@dataclass(frozen=True)
class Change:
    """A change of the shares.

    :ivar at: the likeliest moment, seconds since the first connection.
    :ivar earliest: it was not before this moment.
    :ivar latest: it was not after this moment.
    :ivar before: what was seen between the change before it, or the beginning, and this one.
    :ivar after: what was seen from then on until the next change, or the end.
    """

    at: float
    earliest: float
    latest: float
    before: ShareWindow
    after: ShareWindow


@dataclass(frozen=True)
class _Found:
    """A change within a part: between intervals ``first`` and ``last`` at the boundaries.

    :ivar strength: how much the logarithm of the ratio is above what is needed.
    """

    best: int
    first: int
    last: int
    strength: float


class _Counts:
    """One name's connections and all others, summed up from the first interval on."""

    def __init__(self, own: Sequence[int], totals: Sequence[int]) -> None:
        self._own = [0, *accumulate(own)]
        self._all = [0, *accumulate(totals)]

    def between(self, first: int, end: int) -> tuple[int, int]:
        """Return the successes and failures in the intervals from ``first`` to before ``end``."""
        own = self._own[end] - self._own[first]
        return own, self._all[end] - self._all[first] - own

    def mixtures(self, first: int, end: int) -> list[float]:
        """Return for each moment inside a part the probability of what was seen, as a logarithm.

        Before that moment it is the mean over all shares alike, and after it, too.
        """
        own, every, found = self._own, self._all, []
        first_own, first_all, own_end, all_end = own[first], every[first], own[end], every[end]
        for at in range(first + 1, end):  # a hundred thousand times: no function is called here
            s, n = own[at] - first_own, every[at] - first_all
            t, m = own_end - own[at], all_end - every[at]
            before = lgamma(s + 1) + lgamma(n - s + 1) - lgamma(n + 2)
            found.append(before + lgamma(t + 1) + lgamma(m - t + 1) - lgamma(m + 2))
        return found

    def best(self, first: int, at: int, end: int) -> float:
        """Return the same with the best shares before and after one moment."""
        return _likelihood(*self.between(first, at)) + _likelihood(*self.between(at, end))


def find_changes(timeline: Timeline, end: float, error: float) -> list[Change]:
    """Return all changes that are sure, in their order.

    :param end: until when was looked, seconds since the first connection.
    :param error: the probability that any of them was none.
    """
    return _Search(timeline, timeline.index(end) + 1, error).changes()


class _Search:
    """Searches changes in the first ``size`` intervals."""

    def __init__(self, timeline: Timeline, size: int, error: float) -> None:
        names: list[str | None] = [None, *timeline.names()[:_MOST_NAMES]]
        totals = timeline.totals()
        self._timeline, self._size = timeline, size
        self._counts = [_Counts(timeline.counts_of(name), totals) for name in names]
        parts = timeline.size * (timeline.size + 1) / 2
        self._needed = log(parts * (_MOST_NAMES + 1) / error)

    def changes(self) -> list[Change]:
        cuts = self._cuts()
        for _ in range(len(cuts)):  # without one that is not sure, its neighbours have longer parts
            kept = [at for at, found in self._examined(cuts) if found is not None]
            if kept == cuts:
                break
            cuts = kept
        return [self._change(cuts, at, found) for at, found in self._examined(cuts) if found]

    def _cuts(self) -> list[int]:
        """Return where parts are cut, the shortest part with a change first."""
        cuts: list[int] = []
        for first, end in reversed(list(_parts(self._size))):
            if not any(first < cut < end for cut in cuts):
                found = self._find(first, end)
                cuts += [] if found is None else [found.best]
        return sorted(cuts)

    def _examined(self, cuts: list[int]) -> Iterator[tuple[int, _Found | None]]:
        edges = [0, *cuts, self._size]
        for before, at, after in zip(edges, cuts, edges[2:], strict=False):
            yield at, self._find(before, after)

    def _change(self, cuts: list[int], at: int, found: _Found) -> Change:
        timeline, place = self._timeline, cuts.index(at)
        before = cuts[place - 1] if place else 0
        after = cuts[place + 1] if place + 1 < len(cuts) else self._size
        # A server is chosen between the beginning of a connection and its answer.
        late = timeline.slowest(max(0, found.first - 1), found.last + 1)
        return Change(
            found.best * timeline.width,
            found.first * timeline.width,
            found.last * timeline.width + late,
            timeline.window(before, at),
            timeline.window(at, after),
        )

    def _find(self, first: int, end: int) -> _Found | None:
        """Return the change in a part that is surest, if one is sure."""
        found = [self._find_of(counts, first, end) for counts in self._counts]
        sure = [each for each in found if each is not None]
        return max(sure, key=lambda each: each.strength, default=None)

    def _find_of(self, counts: _Counts, first: int, end: int) -> _Found | None:
        whole = _likelihood(*counts.between(first, end))
        if -whole < self._needed:  # the mixture is less than 1
            return None
        mixtures = counts.mixtures(first, end)
        mixture = _log_sum(mixtures) - log(len(mixtures))
        if mixture - whole < self._needed:
            return None
        places = range(first + 1, end)
        possible = [at for at in places if mixture - counts.best(first, at, end) < self._needed]
        best = places[mixtures.index(max(mixtures))]
        strength = mixture - whole - self._needed
        return _Found(best, min([best, *possible]) - 1, max([best, *possible]) + 1, strength)


def _parts(size: int) -> Iterator[tuple[int, int]]:
    """Yield parts, the longest first, each length half of the one before."""
    length = size
    while length >= 2:
        step = length // 2
        yield from ((first, first + length) for first in range(0, size - length + 1, step))
        if (size - length) % step:
            yield size - length, size
        length = step


def _likelihood(successes: int, failures: int) -> float:
    """Return the logarithm of the probability of what was seen, with the best share."""
    total = successes + failures
    counts = (count for count in (successes, failures) if count)
    return sum(count * log(count / total) for count in counts)


def _log_sum(values: list[float]) -> float:
    """Return the logarithm of a sum of numbers that are given by their logarithms."""
    most = max(values, default=-inf)
    return most + log(sum(exp(value - most) for value in values))
