"""The search for a time between one that is survived and one that is not. No I/O, no Twisted.

Theory of operation. That a path has forgotten a connection can be seen once for each connection
only: by using it, and then it is idle no more. So a search takes rounds. In each one several
connections rest, each for a time of its own, and the time-out lies between the longest time that
was survived and the shortest that was not. The times of the first round are spread evenly by their
ratio over everything that is possible, those of the next rounds evenly over what is left. With N
connections a round divides what is left by N + 1.
"""

from __future__ import annotations

import math

#: The shortest idle time that is tried in a first round, seconds.
SHORTEST = 0.5
#: An interval is narrow enough if it is no longer than this part of its end, or these seconds.
NARROW_PART, NARROW_SECONDS = 0.02, 0.02


class IdleInterval:
    """What is known of an idle time-out.

    :param longest: the longest idle time that is asked for, seconds.
    :ivar dead: the shortest idle time that was not survived; ``math.inf``: each was.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._survived = [0.0]
        self.dead = math.inf

    @property
    def alive(self) -> float:
        """The longest idle time that was survived and is shorter than ``dead``."""
        return max(each for each in self._survived if each < self.dead)

    @property
    def differs(self) -> bool:
        """Whether a longer idle time than ``dead`` was survived: the path is not alike for all."""
        return max(self._survived) > self.dead

    def note(self, seconds: float, survived: bool) -> None:
        """Note the outcome of one connection that was idle for so many seconds."""
        if survived:
            self._survived.append(seconds)
        else:
            self.dead = min(self.dead, seconds)

    @property
    def is_narrow(self) -> bool:
        """Whether the time-out is known as well as it is asked for."""
        known = self.dead < math.inf
        return known and self.dead - self.alive <= max(NARROW_SECONDS, NARROW_PART * self.dead)

    @property
    def middle(self) -> float:
        """The middle of the interval, seconds."""
        return (self.alive + self.dead) / 2

    def next_times(self, count: int) -> list[float]:
        """Return the idle times of the next round, ascending."""
        if self.dead == math.inf:
            return _spread_by_ratio(
                max(self.alive, min(SHORTEST, self._longest)), self._longest, count
            )
        step = (self.dead - self.alive) / (count + 1)
        return [self.alive + step * number for number in range(1, count + 1)]


def _spread_by_ratio(first: float, last: float, count: int) -> list[float]:
    """Return ``count`` times up to ``last``, each longer by the same ratio."""
    if count < 2 or first >= last:
        return [last]
    ratio = (last / first) ** (1 / (count - 1))
    return [*(first * ratio**number for number in range(count - 1)), last]


def interleaved(times: list[float]) -> list[float]:
    """Return the times in such an order that the first ones of it always span all of them.

    If a limit is reached while the connections are opened, those that are open still serve.
    """
    bits = max(1, (len(times) - 1).bit_length())
    from_last = times[::-1]
    order = sorted(range(1 << bits), key=lambda place: int(f"{place:0{bits}b}"[::-1], 2))
    return [from_last[place] for place in order if place < len(times)]
