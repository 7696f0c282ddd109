"""A flood of events makes few lines in the log. No I/O, no Twisted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Lines of one kind in one period, where nothing else is said, and its length in seconds.
LINES, PERIOD = 10, 1.0


class Cancellable(Protocol):
    """A call that is to come, as ``callLater`` gives it."""

    def cancel(self) -> None:
        """Do not make it."""


class Throttle:
    """Lets the first lines of each kind through, in every period, and counts the others.

    The count is said when the period is over, so also when the flood has just stopped.
    There is a timer only while something was said in this period.

    :param later: ``callLater``.
    :param summary: told the kind and how many of it were left out, if any.
    """

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], Cancellable],
        summary: Callable[[str, int], None],
    ) -> None:
        self._later = later
        self._summary = summary
        self._seen: dict[str, int] = {}
        self._left_out: dict[str, int] = {}
        self._call: Cancellable | None = None

    def admits(self, kind: str, most: int = LINES) -> bool:
        """Whether a line of this kind may be said now.

        :param kind: one of a few words, never anything that a peer chooses.
        :param most: so many in a period.
        """
        if self._call is None:
            self._call = self._later(PERIOD, self._over)
        seen = self._seen.get(kind, 0)
        if seen < most:
            self._seen[kind] = seen + 1
            return True
        self._left_out[kind] = self._left_out.get(kind, 0) + 1
        return False

    def flush(self) -> None:
        """Say what was left out, now; no timer is left."""
        if self._call is not None:
            self._call.cancel()
            self._over()

    def _over(self) -> None:
        self._call = None
        left_out, self._left_out, self._seen = self._left_out, {}, {}
        for kind, count in left_out.items():
            self._summary(kind, count)
