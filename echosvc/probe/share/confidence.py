"""A confidence sequence for a share: an interval that holds at every moment. No I/O.

Theory of operation. Of ``n`` connections ``s`` were answered by a server. If its true share is
``p``, then the likelihood of what was seen under a uniform mixture of all shares, divided by its
likelihood under ``p``, is a martingale that begins at 1:

    M = B(s + 1, n - s + 1) / (p^s (1 - p)^(n - s))

By Ville's inequality it ever reaches ``1 / error`` with a probability of at most ``error``. So all
``p`` for which it has not (Robbins 1970, "Statistical methods related to the law of the iterated
logarithm") contain the truth at every ``n`` together, with a probability of ``1 - error``. One may
look after each connection and stop at any time; with an interval for a fixed ``n`` each look would
be one more chance to be wrong.

``ln M`` has one minimum, at ``s / n``. So the set is an interval, and each of its ends is found by
bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, lgamma, log

#: Steps of a bisection: more than the digits of a float.
_STEPS = 60


def log_evidence(successes: int, total: int, share: float) -> float:
    """Return the logarithm of the evidence against a share, ``ln M``.

    :param successes: connections that the server answered.
    :param total: all connections.
    :param share: from 0 to 1.
    """
    failures = total - successes
    mixture = lgamma(successes + 1) + lgamma(failures + 1) - lgamma(total + 2)
    return mixture - _times_log(successes, share) - _times_log(failures, 1 - share)


def _times_log(count: int, value: float) -> float:
    if count == 0:
        return 0.0
    return count * log(value) if value > 0 else -inf


def excludes(successes: int, total: int, share: float, error: float) -> bool:
    """Return whether a share is excluded by what was seen, with this probability of an error."""
    return log_evidence(successes, total, share) >= -log(error)


def interval(successes: int, total: int, error: float) -> tuple[float, float]:
    """Return the shares that are not excluded, from the lowest to the highest.

    :param error: the probability that the truth is ever outside.
    """
    if total == 0:
        return 0.0, 1.0
    share = successes / total

    def is_outside(value: float) -> bool:
        return excludes(successes, total, value, error)

    low = _edge(is_outside, 0.0, share) if successes else 0.0
    high = _edge(is_outside, 1.0, share) if successes < total else 1.0
    return low, high


def _edge(is_outside: Callable[[float], bool], outside: float, inside: float) -> float:
    """Return the value between two at which the interval ends: the outer one of the last two."""
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        if is_outside(middle):
            outside = middle
        else:
            inside = middle
    return outside
