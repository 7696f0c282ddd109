"""The connections of a check: when they were answered, and when one was not. No I/O, no Twisted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

#: How long an answer is remembered, seconds, and how many of them.
SPAN = 10.0
_MAX_KEPT = 10_000


class ConnectionHistory:
    """When connections were answered, and when they were not any more.

    :param now: returns the time, seconds.
    :ivar slowest: seconds that the slowest answer took, and its connection.
    :ivar opened: how many connections there were.
    :ivar answered: how many of them were answered.
    :ivar reached: how many were answered in the second before one was not.
    :ivar alive: how many others were open when the first one was not answered any more.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._times: deque[float] = deque(maxlen=_MAX_KEPT)
        self._first = 0.0
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
        now = self._now()
        self._first = self._first or now
        self._refused = None
        self.answered += 1
        self._times.append(now)

    def note_refused(self, alive: int) -> None:
        """Note that a connection was refused, or ended without an answer.

        :param alive: how many others were open.
        """
        if self._refused is None:
            self._refused, self.alive = self._now(), alive
            self.reached = self.burst(1.0)[0]

    @property
    def refused_at(self) -> float:
        """When the first connection failed since one was answered; now, if none has failed."""
        return self._now() if self._refused is None else self._refused

    @property
    def worked_for(self) -> float:
        """Seconds from the first answer to the first failure after the last one."""
        return self.refused_at - self._first if self.answered else 0.0

    def burst(self, seconds: float = SPAN) -> tuple[int, float]:
        """Return how many connections were answered right before one was not, in which time.

        :param seconds: at most so long before it.
        """
        last = self.refused_at
        times = [each for each in self._times if last - seconds <= each <= last]
        return len(times), last - times[0] if times else 0.0
