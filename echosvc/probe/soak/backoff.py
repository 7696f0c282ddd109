"""How long to wait before the next attempt to open a connection. No I/O."""

from __future__ import annotations

from collections.abc import Callable

#: The shortest wait, seconds, and which part of the gap so far a wait is.
SHORTEST, PART = 0.02, 0.1


def wait_before_attempt(elapsed: float, longest: float, chance: float) -> float:
    """Return how long to wait before the next attempt, seconds.

    The wait is a tenth of the time without a connection so far. So the waits grow exponentially,
    and this time is measured at most a tenth too long.

    :param elapsed: for how long no connection has been open.
    :param longest: the longest wait.
    :param chance: from 0 to 1, at random: many connections must not come at the same time.
    """
    return min(max(SHORTEST, PART * elapsed), longest) * (0.5 + 0.5 * chance)


#: Attempts of all connections together: so many a second, and so many at once.
RATE, BURST = 500.0, 50


class AttemptRate:
    """Spreads the attempts of many connections.

    A server that is back is noticed by the next attempt of any of them, if this process is not busy
    with attempts that fail.

    :param now: the clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._next = now, now() - BURST / RATE

    def reserve(self) -> float:
        """Return how long the next attempt must wait, seconds, and count it as made."""
        now = self._now()
        when = max(self._next, now - BURST / RATE)
        self._next = when + 1 / RATE
        return max(0.0, when - now)
