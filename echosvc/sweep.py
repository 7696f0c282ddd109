"""One clock for all connections of a factory, in place of a timer for each.

A connection says when it next wants to be looked at (:attr:`Watched.due`) and is
then asked to :meth:`~Watched.tick`. Activity only ever moves a deadline later, so
it need not tell anybody, not even the time: that bytes came is seen at the next look.
A connection to which nothing can become due is not looked at; it says when it stirs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.runtime import seconds as wall_seconds

from echosvc.report import log

#: Shortest and longest time between two regular looks, seconds.
SHORTEST, LONGEST = 0.05, 1.0
#: Shortest time until a look at an exact deadline, seconds.
SOONEST = 0.01
#: So many are looked at in one go, then the clients have their turn. A look takes 5 to 10 µs:
#: at 5,000 clients that do not read, others waited for 30 to 70 ms.
AT_ONCE = 500


class Watched(Protocol):
    """What a sweep looks at.

    :ivar due: when to look at it next, on the sweep's clock; ``math.inf``: not before it
        says so, not even at what it has read.
    :ivar bytes_in: that it changes is activity.
    :ivar bytes_seen: what it was at the last look.
    """

    due: float
    bytes_in: int
    bytes_seen: int

    def stirred(self, now: float) -> None:
        """There was activity, at the latest now, since the last look."""

    def tick(self, now: float) -> None:
        """Do what is due and set :attr:`due` anew."""

    def rest(self) -> None:
        """A look has found that nothing is due: there is no other until it is watched again."""


Item = TypeVar("Item", bound=Watched)


class Sweep(Generic[Item]):
    """Looks at everything watched, regularly and at exact deadlines.

    A new deadline must lie at least one :attr:`interval` ahead, or up to that much
    is lost. Ages are measured by a clock that nobody can set: where the reactor
    keeps wall time, by ``time.monotonic``.

    :param clock: schedules the looks; ``None`` = the global reactor, once it is needed.
    :param timeouts: the time-outs in use, seconds; those of 0 do not count.
    :ivar interval: seconds between two looks, a tenth of the shortest time-out, from
        :data:`SHORTEST` to :data:`LONGEST`.
    :ivar watched: all of them, the oldest first. A dictionary has half the room of a set.
    """

    def __init__(self, clock: IReactorTime | None, timeouts: list[float]) -> None:
        self._clock = clock
        #: Give the time, seconds, from an arbitrary start.
        self.now = _monotonic(clock)
        self.watched: dict[Item, None] = {}
        self._call: IDelayedCall | None = None
        self._looking = False
        self._woken = False  # somebody has become due since the look began
        shortest = min((seconds for seconds in timeouts if seconds > 0), default=LONGEST)
        self.interval = min(LONGEST, max(SHORTEST, shortest / 10))

    def watch(self, item: Item) -> None:
        """Look at ``item`` from now on, within an :attr:`interval`, if it is ever due."""
        self.watched[item] = None
        if item.due < math.inf:
            self._woken = True
            if self._call is None and not self._looking:
                self._look_in(self.interval)

    def forget(self, item: Item) -> None:
        """Look at ``item`` no more. With nothing left to look at, no timer remains."""
        self.watched.pop(item, None)
        if not self.watched and self._call is not None:
            self._call.cancel()
            self._call = None

    def later(self, seconds: float, call: Callable[[], None]) -> IDelayedCall:
        """Call ``call`` in so many seconds."""
        if self._clock is None:
            from twisted.internet import reactor

            self._clock = cast(IReactorTime, reactor)
        return self._clock.callLater(seconds, call)

    def _look_in(self, seconds: float) -> None:
        self._call = self.later(seconds, self._look)

    def _look(self) -> None:
        self._woken = False
        self._look_on(tuple(self.watched), self.now(), math.inf)

    def _look_on(self, items: tuple[Item, ...], began: float, soonest: float) -> None:
        """Look at the first of them, and at the others in the reactor's next turn.

        :param soonest: when the next of those that were looked at is due.
        """
        self._call, self._looking = None, True
        now, watched = self.now(), self.watched
        for item in items[:AT_ONCE]:  # no calls where nothing is to be done: 0.1 µs less each
            if item.due < math.inf and item in watched:
                if item.bytes_in != item.bytes_seen:
                    item.bytes_seen = item.bytes_in
                    item.stirred(now)
                if item.due <= now:
                    self._tick(item, now)
                if item.due < soonest:
                    soonest = item.due
        self._looking, items = False, items[AT_ONCE:]
        if not watched:
            self.watched = {}  # one that was emptied keeps its room
        elif items:
            self._call = self.later(0.0, lambda: self._look_on(items, began, soonest))
        elif soonest < math.inf or self._woken:
            self._look_in(max(SOONEST, min(soonest - began, self.interval)))

    def _tick(self, item: Item, now: float) -> None:
        """One item's fault must not stop the clock of all."""
        try:
            item.tick(now)
        except Exception:
            item.due = now + self.interval
            log.failure("Server Error: a deadline could not be handled")
        if item.due == math.inf:
            item.rest()


def _monotonic(clock: IReactorTime | None) -> Callable[[], float]:
    if clock is None or getattr(clock, "seconds", None) is wall_seconds:
        return time.monotonic
    return clock.seconds
