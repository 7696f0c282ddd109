"""A message each interval, for as long as a soak lasts. No clock."""

from __future__ import annotations

import math

#: While so many messages of a connection are not answered, no more are sent.
MAX_IN_FLIGHT = 1000


class Beat:
    """When the messages of one connection, and of those that replace it, are due.

    What could not be sent at its time is left out: after a gap one message is due, at once.

    :param interval: seconds.
    :param start: when the first one is due.
    :ivar next_time: when the next one is due.
    """

    def __init__(self, interval: float, start: float) -> None:
        self._interval, self.next_time = interval, start

    def take(self, now: float, in_flight: int) -> float | None:
        """Return the intended time of the message that is due now; ``None``: none is."""
        if now < self.next_time:
            return None
        missed = math.floor((now - self.next_time) / self._interval)
        # The sums may be rounded, up to a time that is to come, or down to one that has passed.
        intended = min(now, self.next_time + missed * self._interval)
        self.next_time = max(intended + self._interval, math.nextafter(now, math.inf))
        return intended if in_flight < MAX_IN_FLIGHT else None
