"""Outages: gaps that overlap in time, as one event each. No I/O, no clock.

Theory of operation. A gap of silence is noticed late: only when an answer is overdue. So an outage
is not over when its last gap ends, but only when every gap that began before that would have been
noticed. A gap that is noticed until then is part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from echosvc.probe.soak.result import Gap, Outage

#: So many gaps of an outage are looked at to find out what was at once.
MAX_EXAMINED = 20_000


class OutageRecord:
    """Gathers gaps to outages. All moments are of one clock.

    :param total: how many connections there are.
    :param delay: how late a gap may be noticed, seconds.
    :param moment: gaps that begin within so many seconds began at the same moment.
    :ivar number: of the outage that goes on, or of the last one.
    """

    def __init__(self, total: int, delay: float, moment: float) -> None:
        self._total, self._delay, self._moment = total, delay, moment
        self.number = 0
        self._open = 0
        self._gaps: list[tuple[float, float]] = []
        self._count = 0
        self._began = self._ended = 0.0
        self._answered = False  # any of its connections, before it or at the end of a gap
        self._connections: dict[int, float] = {}  # when the first gap of each began
        self._causes: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._after: Counter[str] = Counter()

    def begin(self, began: float) -> None:
        """Note that a gap was noticed, once :meth:`advance` was called with the present."""
        if not self._open and not self._count:
            self.number += 1
            self._began = began
        self._began = min(self._began, began)
        self._open += 1

    def end(self, gap: Gap) -> None:
        """Note that a gap that was noticed is over."""
        self._open -= 1
        self._count += 1
        self._ended = max(self._ended, gap.began + gap.seconds)
        if len(self._gaps) < MAX_EXAMINED:
            self._gaps.append((gap.began, gap.began + gap.seconds))
        first = self._connections.get(gap.connection, gap.began)
        self._connections[gap.connection] = min(first, gap.began)
        self._causes[gap.cause] += 1
        self._answered |= gap.answered or gap.since_answer is not None
        for counts, who in ((self._before, gap.before), (self._after, gap.after)):
            if who:
                counts[who] += 1

    def advance(self, now: float) -> Outage | None:
        """Return the outage that is known to be over."""
        over = self._count and not self._open and now > self._ended + self._delay
        return self._conclude() if over else None

    def finish(self) -> Outage | None:
        """Return the outage whose gaps are all over."""
        return self._conclude() if self._count else None

    def _conclude(self) -> Outage:
        most, all_out = overlap(self._gaps, self._total)
        alone = len(self._connections) == 1
        outage = Outage(
            self.number, self._began, self._ended - self._began,
            connections=len(self._connections),
            total=self._total,
            together=begun_together(list(self._connections.values()), self._moment),
            most=most,
            all_out=all_out,
            gaps=self._count,
            causes=dict(self._causes.most_common()),
            before=dict(self._before.most_common()),
            after=dict(self._after.most_common()),
            connection=next(iter(self._connections)) if alone else 0,
            ever_answered=self._answered or len(self._connections) < self._total,
        )  # fmt: skip
        self._gaps, self._count, self._ended, self._answered = [], 0, 0.0, False
        self._connections, self._causes = {}, Counter()
        self._before, self._after = Counter(), Counter()
        return outage


def begun_together(began: Sequence[float], moment: float) -> int:
    """Return how many of these lie within ``moment`` seconds, at most."""
    ordered, first, most = sorted(began), 0, 0
    for last, each in enumerate(ordered):
        while each - ordered[first] > moment:
            first += 1
        most = max(most, last - first + 1)
    return most


def overlap(gaps: Sequence[tuple[float, float]], total: int) -> tuple[int, float]:
    """Return how many of these intervals overlap at most, and for how long ``total`` of them do."""
    changes = [(began, 1) for began, _ in gaps] + [(ended, -1) for _, ended in gaps]
    # Of one moment, beginnings first: an interval without a length is there, too.
    changes.sort(key=lambda change: (change[0], -change[1]))
    now = most = 0
    seconds, since = 0.0, 0.0
    for when, change in changes:
        if now >= total:
            seconds += when - since
        now, since = now + change, when
        most = max(most, now)
    return most, seconds
