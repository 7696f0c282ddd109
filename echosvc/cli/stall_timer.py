"""A timer that fires when a client makes no progress."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall


class StallTimer:
    """Calls back when there is no progress for a time.

    :param clock: what it runs on.
    :param deadline: that time, seconds; 0 = never.
    :param progress: returns figures that change with progress; ``None``: none is due.
    :param on_stall: what to call then, at each check.
    """

    def __init__(
        self,
        clock: IReactorTime,
        deadline: float,
        progress: Callable[[], tuple[int, int] | None],
        on_stall: Callable[[], None],
    ) -> None:
        self._deadline, self._progress, self._on_stall = deadline, progress, on_stall
        self._last: tuple[int, int] | None = None
        self._clock, self._since = clock, clock.seconds()
        self._timer = LoopingCall(self._check)
        self._timer.clock = clock

    def start(self) -> None:
        """Start checking, at least five times in each deadline."""
        self._timer.start(min(0.25, self._deadline / 5 or 0.25))

    def stop(self) -> None:
        """Stop checking."""
        self._timer.stop()

    def _check(self) -> None:
        now, before, self._last = self._clock.seconds(), self._last, self._progress()
        if self._last is None or self._last != before:
            self._since = now
        elif now - self._since >= self._deadline > 0:
            self._on_stall()
