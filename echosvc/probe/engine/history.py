"""The connections of a check: when they were answered, and when one was not. No I/O, no Twisted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

#: So many answers are remembered.
_MAX_KEPT = 10_000


class ConnectionHistory:
    """When connections were answered, and when they were not any more.

    A connection whose packets are dropped fails only at a time-out, long after it was begun. So
    each failure counts from the moment at which its connection was begun, or from the last answer
    to another one, if that came later.

    :param now: returns the time, seconds.
    :ivar slowest: seconds that the slowest answer took, and its connection.
    :ivar opened: how many connections there were.
    :ivar answered: how many of them were answered.
    :ivar reached: how many were answered in the second before that.
    :ivar alive: how many others were open when the first one was not answered any more.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._times: deque[float] = deque(maxlen=_MAX_KEPT)
        self._refused: float | None = None
        self.opened = self.answered = self.alive = self.reached = 0
        self.slowest = 0.0

    def note_opened(self) -> None:
        """Note that a connection was opened."""
        self.opened += 1

    def note_answered(self, seconds: float = 0.0) -> None:
        """Note that the first message of a connection was answered.

        :param seconds: that this took.
        """
        self.slowest = max(self.slowest, seconds)
        self._refused = None
        self.answered += 1
        self._times.append(self._now())

    def note_refused(self, alive: int, began: float) -> None:
        """Note that a connection was refused, or ended without an answer.

        :param alive: how many others were open.
        :param began: when it was begun.
        """
        if self._refused is None:
            last = self._times[-1] if self._times else began
            self._refused, self.alive = max(began, last), alive
            self.reached = self.burst(1.0)[0]

    @property
    def refused_at(self) -> float:
        """Since when no connection is answered any more; now, if none has failed since then."""
        return self._now() if self._refused is None else self._refused

    def burst(self, seconds: float) -> tuple[int, float]:
        """Return how many connections were answered right before one was not, in which time.

        :param seconds: at most so long before it.
        """
        last = self.refused_at
        times = [each for each in self._times if last - seconds <= each <= last]
        return len(times), last - times[0] if times else 0.0
