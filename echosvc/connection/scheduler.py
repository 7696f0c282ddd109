"""One clock for all connections of a factory, in place of a timer for each.

A connection says when it next wants to be looked at (:attr:`Watched.due`) and is
then asked to :meth:`~Watched.tick`. Activity only ever moves a deadline later, so
it need not tell anybody, not even the time: that bytes came is seen at the next look.
All are looked at seldom, ten times in an idle time-out; in between, those that are due
before the next look at all. To look at one that nobody used for a while takes 2 µs, since it
is in no cache. A connection to which nothing can become due is not looked at; it says when
it stirs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.runtime import seconds as wall_seconds

from echosvc._log import log

#: Shortest and longest time between two looks that must see progress, seconds.
SHORTEST, LONGEST = 0.05, 1.0
#: Looks at all in an idle time-out; so much too late may a read be seen. Seconds from one to the
#: next at least, so that with what a crowd adds it is not above 50 ms; and where there is no such
#: time-out.
IN_IDLE, QUICK, SELDOM = 10, 0.025, 60.0
#: Shortest time until a look at a deadline, seconds; and for each of those that may be due then,
#: or a crowd of them would be looked at for the sake of each.
SOONEST, FOR_EACH = 0.01, 1e-4
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
    """Looks at everything watched, regularly and at its deadlines.

    A deadline is met within a fortieth of the shortest time-out, or 12.5 ms: exactly, but for
    a crowd of them. Ages are measured by a clock that nobody can set: where the reactor
    keeps wall time, by ``time.monotonic``.

    :param clock: schedules the looks; ``None`` = the global reactor, once it is needed.
    :param timeouts: the time-outs in use, seconds; those of 0 do not count.
    :param idle: that which begins with what was read last; 0 = none.
    :ivar interval: seconds between two looks that must see progress, a tenth of the
        shortest time-out, from :data:`SHORTEST` to :data:`LONGEST`.
    :ivar watched: all of them, the oldest first, and whether they are ever due: to ask each
        would take ten times as long.
    """

    def __init__(
        self, clock: IReactorTime | None, timeouts: list[float], idle: float = 0.0
    ) -> None:
        self._clock = clock
        #: Give the time, seconds, from an arbitrary start.
        self.now = _monotonic(clock)
        self.watched: dict[Item, bool] = {}
        # Those that are due before the next look at all, by the interval in which they are.
        self._soon: dict[int, dict[Item, None]] = {}
        self._places: dict[Item, int] = {}  # in which of them one is
        self._all_at = math.inf  # when that is; never, where nobody is ever due
        self._woken = False  # somebody has become due since the last one began
        self._call: IDelayedCall | None = None
        self._call_at = math.inf
        self._looking = False
        shortest = min((seconds for seconds in timeouts if seconds > 0), default=LONGEST)
        self.interval = min(LONGEST, max(SHORTEST, shortest / 10))
        self._period = max(QUICK, idle / IN_IDLE) if idle else SELDOM

    def watch(self, item: Item) -> None:
        """Look at ``item`` from now on, if it is ever due; also where that has become sooner."""
        self.watched[item] = item.due < math.inf
        if item.due < self._all_at:
            self._hurry(item)
        elif item.due < math.inf:
            self._woken = True

    def forget(self, item: Item) -> None:
        """Look at ``item`` no more. With nothing left to look at, no timer remains."""
        self.watched.pop(item, None)
        self._take_out(item)
        if not self.watched and self._call is not None:
            self._call.cancel()
            self._call, self._all_at, self._woken = None, math.inf, False

    def later(self, seconds: float, call: Callable[[], None]) -> IDelayedCall:
        """Call ``call`` in so many seconds."""
        if self._clock is None:
            from twisted.internet import reactor

            self._clock = cast(IReactorTime, reactor)
        return self._clock.callLater(seconds, call)

    def _hurry(self, item: Item) -> None:
        """See to it that one is not looked at too late."""
        now = self.now()
        if self._all_at == math.inf:
            self._all_at = now + self._period
        if item.due < self._all_at:
            self._put_in(item)
        else:
            self._woken = True
        if not self._looking:
            self._look_at(min(item.due, self._all_at), now)

    def _put_in(self, item: Item) -> None:
        """Look at one when it is due, before the next look at all."""
        place = math.floor(item.due / self.interval)
        if self._places.get(item, math.inf) > place:
            self._take_out(item)
            self._places[item] = place
            self._soon.setdefault(place, {})[item] = None

    def _take_out(self, item: Item) -> None:
        place = self._places.pop(item, None)
        if place is not None:
            del self._soon[place][item]
            if not self._soon[place]:
                del self._soon[place]

    def _take_due(self, now: float) -> tuple[Item, ...]:
        """Take out those that may be due now."""
        last = math.floor(now / self.interval)
        due = [item for place, items in self._soon.items() if place <= last for item in items]
        for item in due:
            self._take_out(item)
        return tuple(due)

    def _look_at(self, due: float, now: float, crowd: int = 0) -> None:
        """Look at ``due``, if no look comes before; but not too soon.

        :param crowd: how many may be due then.
        """
        wait = max(SOONEST, min(self.interval / 4, crowd * FOR_EACH), due - now)
        if self._call is not None:
            if now + wait >= self._call_at:
                return
            self._call.cancel()
        self._call, self._call_at = self.later(wait, self._look), now + wait

    def _look(self) -> None:
        now = self.now()
        if now < self._all_at:
            items = self._take_due(now)
        else:
            items = tuple([item for item, due in self.watched.items() if due])
            self._soon, self._places = {}, {}
            self._all_at, self._woken = now + self._period, False
        self._look_on(items)

    def _look_on(self, items: tuple[Item, ...]) -> None:
        """Look at the first of them, and at the others in the reactor's next turn."""
        self._call, self._looking = None, True
        now, watched, all_at = self.now(), self.watched, self._all_at
        for item in items[:AT_ONCE]:  # no calls where nothing is to be done: 0.1 µs less each
            if item.due < math.inf and item in watched:
                if item.bytes_in != item.bytes_seen:
                    item.bytes_seen = item.bytes_in
                    item.stirred(now)
                if item.due <= now:
                    self._tick(item, now)
                if item not in watched:  # any more
                    continue
                if item.due < all_at:
                    self._put_in(item)
                elif item.due < math.inf:
                    self._woken = True
                else:
                    watched[item] = False
        self._looking = False
        if items[AT_ONCE:] and watched:
            self._call_at = -math.inf  # nobody is sooner, also where a set clock let us come early
            self._call = self.later(0.0, lambda: self._look_on(items[AT_ONCE:]))
        else:
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Set the timer for the next look, if there is to be one."""
        if not self.watched:
            self.watched = {}  # one that was emptied keeps its room
        if self._soon:
            self._look_at(self._next(), now, len(self._soon[min(self._soon)]))
            return
        self._places = {}
        if self._woken and self.watched:
            self._look_at(self._all_at, now)
        else:
            self._all_at = math.inf

    def _next(self) -> float:
        """When the first is due, at the latest when its interval ends: it may be due later now."""
        place = min(self._soon)
        due = min(item.due for item in self._soon[place])
        return min(due, (place + 1) * self.interval, self._all_at)

    def _tick(self, item: Item, now: float) -> None:
        """One item's fault must not stop the clock of all."""
        try:
            item.tick(now)
        except BaseException:
            item.due = now + self.interval
            log.failure("Server Error: a deadline could not be handled")
        if item.due == math.inf:
            item.rest()
        elif item in self.watched:  # its own watch() may have come before its due
            self.watched[item] = True


def _monotonic(clock: IReactorTime | None) -> Callable[[], float]:
    if clock is None or getattr(clock, "seconds", None) is wall_seconds:
        return time.monotonic
    return clock.seconds
