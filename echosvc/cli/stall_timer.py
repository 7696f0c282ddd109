"""A timer that fires when a client makes no progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall


class StallTimer:
    """Calls back when there is no progress for a time.

    :param deadline: that time, seconds; 0 = never.
    :param progress: returns figures that change with progress; ``None``: none is due.
    :param on_stall: what to call then, at each check.
    """

    def __init__(
        self,
        deadline: float,
        progress: Callable[[], tuple[int, int] | None],
        on_stall: Callable[[], None],
    ) -> None:
        self._deadline, self._progress, self._on_stall = deadline, progress, on_stall
        self._last: tuple[int, int] | None = None
        self._since = time.monotonic()
        self._timer = LoopingCall(self._check)

    def start(self, clock: Any) -> None:
        """Start checking, at least five times in each deadline."""
        self._timer.clock = clock
        self._timer.start(min(0.25, self._deadline / 5 or 0.25))

    def stop(self) -> None:
        """Stop checking."""
        self._timer.stop()

    def _check(self) -> None:
        now, before, self._last = time.monotonic(), self._last, self._progress()
        if self._last is None or self._last != before:
            self._since = now
        elif now - self._since >= self._deadline > 0:
            self._on_stall()
