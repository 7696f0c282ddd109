"""One timer for the deadlines of all connections of a factory.

Theory of operation. A timer for each connection would have to be moved at each read. Here a
connection has an attribute instead, :attr:`HasDeadline.due`: when to check it next. Activity
only ever moves a deadline later, so it need not be reported: a check that comes too early finds
that bytes were read meanwhile, and moves ``due``.

Two kinds of checks share one timer:

- A *full scan* checks everything that is ever due, ten times in an idle time-out.
- What is due before the next full scan stands in a *bucket* of its interval, as in a hashed
  timing wheel (Varghese and Lauck, 1987), and is checked when that is over.

Most connections need the full scan alone, which costs no memory for each of them and reads
little of it: to check one that is in no processor cache takes 2 us. One to which nothing can
become due is not checked at all; its next activity schedules it again.

A wheel alone, with each connection in the bucket of its next check, was measured with 10,000
connections and an idle time-out of a minute: 0.42 in place of 0.33 us to schedule and cancel one,
3.1 in place of 2.4 us a minute for its checks, and 15 bytes more. Reads do not report themselves,
so the wheel, too, has to check each connection ten times in its time-out, and moves it each time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.runtime import seconds as wall_seconds

from echosvc._log import log

#: Shortest and longest time between two checks that must see progress, seconds.
MIN_INTERVAL, MAX_INTERVAL = 0.05, 1.0
#: Full scans in an idle time-out. A read may be seen too late by as much.
SCANS_PER_IDLE = 10
#: Shortest time between two full scans, seconds. With :data:`COALESCE_PER_ITEM` for many
#: connections it stays below 50 ms.
MIN_SCAN_PERIOD = 0.025
#: Time between two full scans where there is no idle time-out, seconds.
DEFAULT_SCAN_PERIOD = 60.0
#: Shortest time until a check, seconds.
MIN_DELAY = 0.01
#: Longer by so much for each connection that may be due then, seconds: else many of them, due
#: one after the other, would each have a check of the whole bucket.
COALESCE_PER_ITEM = 1e-4
#: Shortest time between two log lines about checks that raise, seconds. Such a check is made again
#: and would write a line, with its traceback, each time.
FAILURE_LOG_INTERVAL = 60.0
#: So many are checked in one turn of the reactor; then the reactor serves clients. A check takes
#: 5 to 10 us: with 5,000 clients that do not read, others waited for 30 to 70 ms.
BATCH = 500


class HasDeadline(Protocol):
    """What a scheduler checks.

    :ivar due: when to check it next, on the scheduler's clock; ``math.inf``: not before it is
        scheduled again, not even for its activity.
    :ivar fast_bytes: a change of it is activity.
    :ivar fast_bytes_seen: its value at the last check.
    """

    due: float
    fast_bytes: int
    fast_bytes_seen: int

    def activity_seen(self, now: float) -> None:
        """There was activity since the last check, ``now`` at the latest."""

    def check_deadlines(self, now: float) -> None:
        """Do what is due and set :attr:`due` anew."""

    def unscheduled(self) -> None:
        """A check has found that nothing is due: there is no other until it is scheduled."""


Item = TypeVar("Item", bound=HasDeadline)


class DeadlineScheduler(Generic[Item]):
    """Checks everything scheduled, regularly and at its deadlines.

    A deadline is met exactly where few are due together. Where many are, it is met within a
    fortieth of the shortest time-out, or 12.5 ms. Times are of a monotonic clock: where the reactor
    keeps wall time, of ``time.monotonic``.

    :param clock: schedules the checks; ``None`` = the global reactor, once it is needed.
    :param timeouts: the time-outs in use, seconds; those of 0 do not count.
    :param idle: the one that begins with what was read last; 0 = none.
    :ivar now: returns the time, seconds, from an arbitrary start.
    :ivar interval: seconds between two checks that must see progress, a tenth of the
        shortest time-out, from :data:`MIN_INTERVAL` to :data:`MAX_INTERVAL`.
    :ivar items: everything scheduled, the oldest first, and whether it is ever due: to ask each
        would take ten times as long.
    """

    def __init__(
        self, clock: IReactorTime | None, timeouts: list[float], idle: float = 0.0
    ) -> None:
        self._clock = clock
        self.now = _monotonic(clock)
        self.items: dict[Item, bool] = {}
        self._buckets: dict[int, dict[Item, None]] = {}
        self._bucket_of: dict[Item, int] = {}
        self._next_full_scan = math.inf  # where nothing is ever due, there is none
        self._pending_full_scan = False  # something became due since the last one began
        self._call: IDelayedCall | None = None
        self._call_at = math.inf
        self._running = False
        self._next_failure_log = -math.inf
        shortest = min((seconds for seconds in timeouts if seconds > 0), default=MAX_INTERVAL)
        self.interval = min(MAX_INTERVAL, max(MIN_INTERVAL, shortest / 10))
        self._period = max(MIN_SCAN_PERIOD, idle / SCANS_PER_IDLE) if idle else DEFAULT_SCAN_PERIOD

    def schedule(self, item: Item) -> None:
        """Check ``item`` from now on, if it is ever due; also where it is due sooner now."""
        self.items[item] = item.due < math.inf
        if item.due < self._next_full_scan:
            self._reschedule(item)
        elif item.due < math.inf:
            self._pending_full_scan = True

    def cancel(self, item: Item) -> None:
        """Check ``item`` no more. With nothing left to check, no timer remains."""
        self.items.pop(item, None)
        self._remove(item)
        if not self.items and self._call is not None:
            self._call.cancel()
            self._call, self._next_full_scan, self._pending_full_scan = None, math.inf, False

    def call_later(self, seconds: float, call: Callable[[], None]) -> IDelayedCall:
        """Call ``call`` in so many seconds."""
        if self._clock is None:
            from twisted.internet import reactor

            self._clock = cast(IReactorTime, reactor)
        return self._clock.callLater(seconds, call)

    def _reschedule(self, item: Item) -> None:
        """Arm the timer so that ``item`` is not checked too late."""
        now = self.now()
        if self._next_full_scan == math.inf:
            self._next_full_scan = now + self._period
        if item.due < self._next_full_scan:
            self._insert(item)
        else:
            self._pending_full_scan = True
        if not self._running:
            self._arm(min(item.due, self._next_full_scan), now)

    def _insert(self, item: Item) -> None:
        """Check ``item`` when it is due, before the next full scan."""
        bucket = math.floor(item.due / self.interval)
        if self._bucket_of.get(item, math.inf) > bucket:
            self._remove(item)
            self._bucket_of[item] = bucket
            self._buckets.setdefault(bucket, {})[item] = None

    def _remove(self, item: Item) -> None:
        bucket = self._bucket_of.pop(item, None)
        if bucket is not None:
            del self._buckets[bucket][item]
            if not self._buckets[bucket]:
                del self._buckets[bucket]

    def _take_due(self, now: float) -> tuple[Item, ...]:
        """Remove and return those that may be due now."""
        last = math.floor(now / self.interval)
        due = [item for bucket, items in self._buckets.items() if bucket <= last for item in items]
        for item in due:
            self._remove(item)
        return tuple(due)

    def _arm(self, due: float, now: float, may_be_due: int = 0) -> None:
        """Run at ``due``, unless the timer is earlier; but not too soon.

        :param may_be_due: how many may be due then.
        """
        coalesced = min(self.interval / 4, may_be_due * COALESCE_PER_ITEM)
        delay = max(MIN_DELAY, coalesced, due - now)
        if self._call is not None:
            if now + delay >= self._call_at:
                return
            self._call.cancel()
        self._call, self._call_at = self.call_later(delay, self._run), now + delay

    def _run(self) -> None:
        now = self.now()
        if now < self._next_full_scan:
            items = self._take_due(now)
        else:
            items = tuple([item for item, due in self.items.items() if due])
            self._buckets, self._bucket_of = {}, {}
            self._next_full_scan, self._pending_full_scan = now + self._period, False
        self._check_batch(items)

    def _check_batch(self, items: tuple[Item, ...]) -> None:
        """Check the first of them, and the others in the reactor's next turn."""
        self._call, self._running = None, True
        now, scheduled, next_full_scan = self.now(), self.items, self._next_full_scan
        for item in items[:BATCH]:  # no calls where nothing is to be done: 0.1 us less each
            if item.due < math.inf and item in scheduled:
                if item.fast_bytes != item.fast_bytes_seen:
                    item.fast_bytes_seen = item.fast_bytes
                    item.activity_seen(now)
                if item.due <= now:
                    self._check(item, now)
                if item not in scheduled:  # any more
                    continue
                if item.due < next_full_scan:
                    self._insert(item)
                elif item.due < math.inf:
                    self._pending_full_scan = True
                else:
                    scheduled[item] = False
        self._running = False
        if items[BATCH:] and scheduled:
            self._call_at = -math.inf  # sooner than any time: _arm() must not replace this call
            self._call = self.call_later(0.0, lambda: self._check_batch(items[BATCH:]))
        else:
            self._rearm(now)

    def _rearm(self, now: float) -> None:
        """Set the timer for the next check, if there is to be one."""
        if not self.items:
            self.items = {}  # a dict that was emptied keeps its memory
        if self._buckets:
            self._arm(self._next_due(), now, len(self._buckets[min(self._buckets)]))
            return
        self._bucket_of = {}
        if self._pending_full_scan and self.items:
            self._arm(self._next_full_scan, now)
        else:
            self._next_full_scan = math.inf

    def _next_due(self) -> float:
        """Return when the first is due; at the latest the end of its bucket, since it may have
        become due later.
        """
        bucket = min(self._buckets)
        due = min(item.due for item in self._buckets[bucket])
        return min(due, (bucket + 1) * self.interval, self._next_full_scan)

    def _check(self, item: Item, now: float) -> None:
        """Check one item. Its exception must not stop the timer of all."""
        try:
            item.check_deadlines(now)
        except BaseException:
            item.due = now + self.interval
            self._log_failure(now)
        if item.due == math.inf:
            item.unscheduled()
        elif item in self.items:  # its own schedule() may have come before its due
            self.items[item] = True

    def _log_failure(self, now: float) -> None:
        """Log the exception that is being handled, unless another was logged a short while ago."""
        if now >= self._next_failure_log:
            self._next_failure_log = now + FAILURE_LOG_INTERVAL
            log.failure(
                "Server Error: a deadline could not be handled, and is tried again; "
                "such errors are logged once in {seconds:g} s",
                seconds=FAILURE_LOG_INTERVAL,
            )


def _monotonic(clock: IReactorTime | None) -> Callable[[], float]:
    if clock is None or getattr(clock, "seconds", None) is wall_seconds:
        return time.monotonic
    return clock.seconds
