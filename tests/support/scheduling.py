"""Items with deadlines."""

from __future__ import annotations

import math
from collections.abc import Iterable

from twisted.internet.task import Clock

from echosvc.connection.scheduler import (
    DeadlineScheduler,
)


class Item:
    """A deadline that is never moved, unless ``again`` says by how much."""

    fast_bytes = fast_bytes_seen = 0

    def __init__(self, due: float, again: float = math.inf) -> None:
        self.due = due
        self.again = again
        self.ticks: list[float] = []

    def check_deadlines(self, now: float) -> None:
        self.ticks.append(now)
        self.due = now + self.again

    def unscheduled(self) -> None:
        pass


def allowed(seconds: float) -> float:
    """How late a look may be."""
    return max(0.05, seconds / 5)


def schedule_all(scheduler: DeadlineScheduler, items: Iterable[Item]) -> None:
    for item in items:
        scheduler.schedule(item)


def run(clock: Clock, until: float) -> None:
    """Advance from call to call, as a reactor that is never late."""
    while (calls := clock.getDelayedCalls()) and calls[0].getTime() <= until:
        clock.advance(max(0.0, calls[0].getTime() - clock.seconds()))
    clock.advance(max(0.0, until - clock.seconds()))


def one_turn(clock: Clock) -> None:
    """Make the next call alone: a reactor leaves what that adds to its next turn, a Clock not."""
    call = clock.getDelayedCalls()[0]
    act, clock.rightNow = call.func, max(clock.rightNow, call.getTime())
    call.cancel()
    act()
