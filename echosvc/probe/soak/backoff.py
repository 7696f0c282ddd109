"""How long to wait before the next attempt to open a connection. No I/O, no clock."""

from __future__ import annotations

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
