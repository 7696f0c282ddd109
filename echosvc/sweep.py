"""One clock for all connections of a factory, in place of a timer for each.

A connection says when it next wants to be looked at (:attr:`Watched.due`) and is
then asked to :meth:`~Watched.tick`. Activity only ever moves a deadline later, so
it need not tell anybody: the connection finds out when it is looked at.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.runtime import seconds as wall_seconds

from echosvc.report import log

#: Shortest and longest time between two regular looks, seconds.
SHORTEST, LONGEST = 0.05, 1.0
#: Shortest time until a look at an exact deadline, seconds.
SOONEST = 0.01


class Watched(Protocol):
    """What a sweep looks at.

    :ivar due: when to look at it next, on the sweep's clock; ``math.inf`` = never.
    """

    due: float

    def tick(self, now: float) -> None:
        """Do what is due and set :attr:`due` anew."""

    def resting(self) -> bool:
        """Whether nothing is due before it stirs, and then not for a time-out."""


class Sweep:
    """Looks at everything watched, regularly and at exact deadlines.

    A new deadline must lie at least one :attr:`interval` ahead, or up to that much
    is lost. Ages are measured by a clock that nobody can set: where the reactor
    keeps wall time, by ``time.monotonic``.

    :param clock: schedules the looks; ``None`` = the global reactor, once it is needed.
    :param timeouts: the time-outs in use, seconds; those of 0 do not count.
    :param nap: the time-out of those that rest, seconds; 0 = they never stir unsaid.
    :ivar interval: seconds between two looks, a tenth of the shortest time-out, from
        :data:`SHORTEST` to :data:`LONGEST`.
    """

    def __init__(self, clock: IReactorTime | None, timeouts: list[float], nap: float = 0.0) -> None:
        self._clock = clock
        #: Give the time, seconds, from an arbitrary start.
        self.now = _monotonic(clock)
        self._watched: set[Watched] = set()
        self._resting: set[Watched] = set()
        self._call: IDelayedCall | None = None
        self._looking = self._napping = False
        shortest = min((seconds for seconds in timeouts if seconds > 0), default=LONGEST)
        self.interval = min(LONGEST, max(SHORTEST, shortest / 10))
        # Early enough for a deadline that began right after the last time.
        self._nap = max(self.interval, nap - self.interval) if nap else math.inf
        self._nap_over = -math.inf

    def watch(self, item: Watched) -> None:
        """Look at ``item`` from now on."""
        (self._resting if item.resting() else self._watched).add(item)
        self._plan()

    def stir(self, item: Watched) -> None:
        """Look at ``item`` again within an :attr:`interval`: something is due sooner."""
        if item in self._resting:
            self._resting.discard(item)
            self._watched.add(item)
            self._plan()

    def forget(self, item: Watched) -> None:
        """Look at ``item`` no more. With nothing left to look at, no timer remains."""
        self._watched.discard(item)
        self._resting.discard(item)
        if not (self._watched or self._resting) and self._call is not None:
            self._call.cancel()
            self._call = None

    def _plan(self) -> None:
        """Look again within an interval; where all rest, when the nap is over."""
        if self._looking:
            return
        if self._call is not None and not self._napping:
            return
        if self._watched:
            self._look_in(self.interval)
        elif self._call is None and self._nap < math.inf:
            self._look_in(self._nap)

    def _look_in(self, seconds: float) -> None:
        if self._call is not None:
            self._call.cancel()
        if self._clock is None:
            from twisted.internet import reactor

            self._clock = cast(IReactorTime, reactor)
        self._napping = not self._watched
        self._call = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        self._call, self._looking = None, True
        now = self.now()
        soonest = now + self.interval
        if now >= self._nap_over:
            self._wake(now)
        for item in tuple(self._watched):
            if item.due <= now and item in self._watched:
                self._tick(item, now)
            if item.due < soonest:
                soonest = item.due
        self._looking = False
        if not self._watched:
            self._watched = set()  # a set that was emptied keeps its room
            soonest = self._nap_over
        if soonest < math.inf and (self._watched or self._resting):
            self._look_in(max(SOONEST, min(soonest, self._nap_over) - now))

    def _wake(self, now: float) -> None:
        """Take back those that have stirred; they are looked at now."""
        for item in [each for each in self._resting if not each.resting()]:
            self._resting.discard(item)
            self._watched.add(item)
            item.due = now
        self._nap_over = now + self._nap

    def _tick(self, item: Watched, now: float) -> None:
        """One item's fault must not stop the clock of all."""
        try:
            item.tick(now)
        except Exception:
            item.due = now + self.interval
            log.failure("Server Error: a deadline could not be handled")
        if item in self._watched and item.resting():
            self._watched.discard(item)
            self._resting.add(item)


def _monotonic(clock: IReactorTime | None) -> Callable[[], float]:
    if clock is None or getattr(clock, "seconds", None) is wall_seconds:
        return time.monotonic
    return clock.seconds
