"""Deadlines of items that rest, in any order, and of many."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.python.runtime import seconds as wall_seconds
from twisted.trial.unittest import SynchronousTestCase

from echosvc.connection import scheduler as scheduler_module
from echosvc.connection.scheduler import (
    SCANS_PER_IDLE,
    DeadlineScheduler,
)
from tests.support.examples import examples
from tests.support.scheduling import Item, allowed, one_turn, run, schedule_all


class Sleeper(Item):
    """Reads at times that it tells only while it rests; due ``timeout`` after each."""

    def __init__(self, clock: Clock, scheduler: DeadlineScheduler, timeout: float) -> None:
        super().__init__(clock.seconds() + timeout)
        self.clock, self.timers, self.timeout = clock, scheduler, timeout
        self.active = clock.seconds()
        self.reports: list[float] = []
        self.asleep = False

    def read(self) -> None:
        self.fast_bytes += 1
        if self.asleep:
            self.asleep, self.active = False, self.clock.seconds()
            self.due = self.active + self.timeout
            self.timers.schedule(self)

    def activity_seen(self, now: float) -> None:
        self.active = now

    def check_deadlines(self, now: float) -> None:
        self.ticks.append(now)
        if now < self.active + self.timeout:
            self.due = self.active + self.timeout
        else:
            self.reports.append(now)
            self.due = math.inf

    def unscheduled(self) -> None:
        self.asleep = True


class RestTests(SynchronousTestCase):
    @given(
        st.sampled_from([0.01, 0.06, 0.5, 3.0, 60.0]),
        st.lists(st.floats(0.001, 10.0), min_size=1, max_size=5),
    )
    def test_a_read_is_met_never_early_and_little_late(
        self, timeout: float, pauses: list[float]
    ) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [timeout], timeout)
        item = Sleeper(clock, scheduler, timeout)
        scheduler.schedule(item)
        for pause in pauses:
            run(clock, clock.seconds() + pause)
            item.read()
            count, began = len(item.reports), clock.seconds()
            run(clock, began + timeout + allowed(timeout) + 1e-6)
            self.assertEqual(len(item.reports), count + 1)
            self.assertGreaterEqual(item.reports[-1], began + timeout)

    def test_who_rests_costs_nothing(self) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [0.5], 0.5)
        items = [Sleeper(clock, scheduler, 0.5) for _ in range(10)]
        schedule_all(scheduler, items)
        run(clock, 0.6)
        self.assertEqual([len(item.ticks) for item in items], [1] * 10)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_who_rests_is_not_even_asked_while_others_are_looked_at(self) -> None:
        class Asked(Sleeper):
            asked = 0

            @property
            def due(self) -> float:
                self.asked += 1
                return self._due

            @due.setter
            def due(self, due: float) -> None:
                self._due = due

        clock = Clock()
        scheduler = DeadlineScheduler(clock, [0.5], 0.5)
        item, busy = Asked(clock, scheduler, 0.5), Item(0.1, again=0.1)
        scheduler.schedule(item)
        scheduler.schedule(busy)
        run(clock, 1.0)
        self.assertTrue(item.asleep)
        asked, ticks = item.asked, len(busy.ticks)
        run(clock, 10.0)
        self.assertEqual(item.asked, asked)
        self.assertGreater(len(busy.ticks), ticks + 50)

    def test_who_stirs_is_met_within_an_interval(self) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [60.0], 60.0)
        item = Sleeper(clock, scheduler, 60.0)
        scheduler.schedule(item)
        run(clock, 100)
        item.due = 0.0
        scheduler.schedule(item)
        run(clock, 100 + scheduler.interval)
        self.assertEqual(len(item.ticks), 2)

    def test_who_rests_can_be_forgotten(self) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [0.5], 0.5)
        item = Sleeper(clock, scheduler, 0.5)
        scheduler.schedule(item)
        run(clock, 1)
        scheduler.cancel(item)
        self.assertEqual(clock.getDelayedCalls(), [])


class Restless(Item):
    """At its looks it does anything to itself and to others."""

    act: Callable[[], None]

    def check_deadlines(self, now: float) -> None:
        super().check_deadlines(now)
        self.act()

    def activity_seen(self, now: float) -> None:
        pass


class AnyOrderTests(SynchronousTestCase):
    @given(st.integers(0, 2**32))
    @examples(60)
    def test_whatever_they_do_nobody_who_is_due_is_forgotten(self, seed: int) -> None:
        self.patch(scheduler_module, "BATCH", 3)
        rng, clock = random.Random(seed), Clock()
        idle = rng.choice([0.0, 0.5, 20.0])
        scheduler = DeadlineScheduler(clock, [idle, 1.0], idle)
        late = (
            scheduler.interval
        )  # the looks at others between, three at a time, take turns of 1 ms
        items: list[Restless] = []

        def act() -> None:
            """Come, go, be due sooner, later or never, as a connection may: see HasDeadline.due."""
            item = rng.choice(items) if items else None
            what = rng.random()
            if item is None or (what < 0.3 and len(items) < 15):
                item = Restless(clock.seconds() + rng.choice([0.05, 1, 30]), rng.choice([0.3, 9]))
                item.act = lambda: act() if rng.random() < 0.5 else None
                items.append(item)
                scheduler.schedule(item)
            elif what < 0.5:
                items.remove(item)
                scheduler.cancel(item)
            elif what < 0.7:
                item.due = min(item.due, clock.seconds() + rng.random())
                scheduler.schedule(item)
            else:
                item.due = math.inf if what < 0.85 else item.due + 100.0

        for _ in range(100):
            act()
            end = clock.seconds() + rng.choice([0.0, 0.02, 0.3, 5.0])
            while (calls := clock.getDelayedCalls()) and calls[0].getTime() <= end:
                one_turn(clock)
                clock.rightNow += 0.001
            clock.rightNow = max(clock.rightNow, end)
            self.assertLessEqual(clock.seconds(), min((i.due for i in items), default=end) + late)
            self.assertLessEqual(len(calls), 1)
            self.assertTrue(items or not calls)
            self.assertEqual(list(scheduler.items), items)


class Counted(Item):
    """Counts the looks at it."""

    looks = 0

    @property
    def fast_bytes_seen(self) -> int:
        self.looks += 1
        return self.fast_bytes


class CrowdTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_who_is_due_much_later_is_not_looked_at_for_the_sake_of_others(self) -> None:
        scheduler = DeadlineScheduler(self.clock, [60.0, 0.5], 60.0)
        calm = [Counted(60.0) for _ in range(10)]
        schedule_all(scheduler, (*calm, Item(0.05, again=0.05)))
        run(self.clock, 59.0)
        for item in calm:
            self.assertTrue(0 < item.looks <= SCANS_PER_IDLE, item.looks)

    def test_deadlines_one_after_the_other_do_not_burn(self) -> None:
        """Not all are looked at whenever one is due."""
        scheduler = DeadlineScheduler(self.clock, [12.0], 12.0)
        items = [Counted(12.0 + number / 1000) for number in range(2000)]
        schedule_all(scheduler, items)
        run(self.clock, 20.0)
        self.assertEqual([len(item.ticks) for item in items], [1] * len(items))
        self.assertLess(sum(item.looks for item in items), 20 * len(items))

    @given(st.sampled_from([0.3, 2.0, 60.0]), st.integers(1, 1200), st.floats(0.0, 1.0))
    @examples(30)
    def test_in_a_crowd_too_none_is_early_or_much_too_late(
        self, timeout: float, count: int, spread: float
    ) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [timeout], timeout)
        dues = [timeout * (1 + spread * number / count) for number in range(count)]
        items = [Item(due) for due in dues]
        schedule_all(scheduler, items)
        run(clock, 3 * timeout)
        for item, due in zip(items, dues, strict=True):
            self.assertEqual(len(item.ticks), 1)
            self.assertTrue(due <= item.ticks[0] <= due + max(0.05, timeout / 40) + 1e-6)


class TimeTests(SynchronousTestCase):
    def test_a_clock_that_can_be_set_is_not_trusted(self) -> None:
        """A reactor's ``seconds`` is wall time."""

        class Reactor(Clock):
            seconds = staticmethod(wall_seconds)

        for clock in (Reactor(), None):
            before = time.monotonic()
            self.assertTrue(before <= DeadlineScheduler(clock, []).now() <= time.monotonic())

    def test_any_other_clock_is_asked(self) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [])
        clock.advance(7.5)
        self.assertEqual(scheduler.now(), 7.5)
