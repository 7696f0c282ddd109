"""Whether this process itself stood still. No clock."""

from __future__ import annotations


class StallWatch:
    """Notices that nothing was done for too long: the process was stopped, or got no processor.

    :param limit: so many seconds without a call are a stall.
    :param now: when it begins.
    """

    def __init__(self, limit: float, now: float) -> None:
        self._limit, self._seen = limit, now

    def seconds(self, now: float) -> float:
        """Return for how long nothing was done until now, if that is a stall; else 0."""
        passed, self._seen = now - self._seen, now
        return passed if passed > self._limit else 0.0
