"""When the shares changed: only changes that are sure, each with its time and uncertainty. No I/O.

Theory of operation. A part of the time is examined for one name at a time: a connection was
answered by it, or not. If its share did not change, then what was seen has some probability
``p^s (1 - p)^f``, at most that of ``p = s / (s + f)``. Against this stands a mixture: the share
changed once, at any of the moments alike, and before and after it was any share alike. By universal
inference (Wasserman, Ramdas, Balakrishnan 2020) the ratio of the two reaches ``1 / error`` with a
probability of at most ``error``. Where it does, there was a change.

A moment is excluded as that of the change where the mixture is ``1 / error`` times as probable as
the best two shares before and after that moment. The moments that are left are the uncertainty.

The parts are cut where changes were found, so which parts are examined depends on what was seen.
Therefore the error is divided by the number of all parts that there may be, and of all names: it
holds for all of them together, however often one looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, inf, lgamma, log

from echosvc.probe.share.result import ShareWindow
from echosvc.probe.share.timeline import Timeline

#: Names that are examined: the first ones, and failures.
_MOST_NAMES = 20


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
        cuts = sorted(self._cuts(0, self._size))
        for _ in range(len(cuts)):  # each change is examined once more between its neighbours
            kept = [at for at, found in self._examined(cuts) if found is not None]
            if kept == cuts:
                break
            cuts = kept
        return [self._change(cuts, at, found) for at, found in self._examined(cuts) if found]

    def _cuts(self, first: int, end: int) -> Iterator[int]:
        """Yield where parts are cut, each part in two as long as there is a change in it."""
        parts = [(first, end)]
        while parts:
            first, end = parts.pop()
            found = self._find(first, end)
            if found is not None:
                yield found.best
                parts += [(first, found.best), (found.best, end)]

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
        if end - first < 2:
            return None
        whole = _likelihood(*counts.between(first, end))
        places = range(first + 1, end)
        sides = [(counts.between(first, at), counts.between(at, end)) for at in places]
        mixtures = [_mixture(*left) + _mixture(*right) for left, right in sides]
        mixture = _log_sum(mixtures) - log(len(mixtures))
        if mixture - whole < self._needed:
            return None
        possible = [
            at
            for at, (left, right) in zip(places, sides, strict=True)
            if mixture - _likelihood(*left) - _likelihood(*right) < self._needed
        ]
        best = places[mixtures.index(max(mixtures))]
        strength = mixture - whole - self._needed
        return _Found(best, min([best, *possible]) - 1, max([best, *possible]) + 1, strength)


def _mixture(successes: int, failures: int) -> float:
    """Return the logarithm of the probability of what was seen, over all shares alike."""
    return lgamma(successes + 1) + lgamma(failures + 1) - lgamma(successes + failures + 2)


def _likelihood(successes: int, failures: int) -> float:
    """Return the logarithm of the probability of what was seen, with the best share."""
    total = successes + failures
    counts = (count for count in (successes, failures) if count)
    return sum(count * log(count / total) for count in counts)


def _log_sum(values: list[float]) -> float:
    """Return the logarithm of a sum of numbers that are given by their logarithms."""
    most = max(values, default=-inf)
    return most + log(sum(exp(value - most) for value in values))
