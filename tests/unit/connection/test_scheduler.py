"""One clock for many deadlines: never early, little late, nothing left behind."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.python.runtime import seconds as wall_seconds
from twisted.trial.unittest import SynchronousTestCase

from echosvc.connection import scheduler as scheduler_module
from echosvc.connection.scheduler import (
    BATCH,
    MAX_INTERVAL,
    MIN_DELAY,
    MIN_INTERVAL,
    SCANS_PER_IDLE,
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


class Broken(Item):
    def check_deadlines(self, now: float) -> None:
        super().check_deadlines(now)
        self.due = now
        raise RuntimeError("broken on purpose")


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
    @settings(deadline=None)
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


class SweepTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def scheduler(self, *timeouts: float) -> DeadlineScheduler:
        return DeadlineScheduler(self.clock, list(timeouts))

    @given(st.floats(0.001, 100), st.floats(0, 100), st.floats(0.01, 100))
    def test_a_look_is_never_early_and_little_late(
        self, timeout: float, start: float, other: float
    ) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [timeout, other])
        scheduler.schedule(Item(math.inf))
        run(clock, start)
        item = Item(start + timeout)
        scheduler.schedule(item)
        run(clock, start + 2 * timeout + 1)
        self.assertEqual(len(item.ticks), 1)
        self.assertGreaterEqual(item.ticks[0], start + timeout)
        self.assertLessEqual(item.ticks[0], start + timeout + allowed(timeout) + 1e-6)

    def test_a_deadline_far_enough_is_met_exactly(self) -> None:
        scheduler = self.scheduler(0.5)
        item = Item(0.5)
        scheduler.schedule(item)
        run(self.clock, 3)
        self.assertEqual(len(item.ticks), 1)
        self.assertTrue(0.5 <= item.ticks[0] <= 0.5 + MIN_DELAY, item.ticks)

    def test_many_deadlines_are_each_met(self) -> None:
        scheduler = self.scheduler(1.0)
        items = [Item(0.2 + number / 7) for number in range(20)]
        dues = [item.due for item in items]
        schedule_all(scheduler, items)
        run(self.clock, 5)
        for item, due in zip(items, dues, strict=True):
            self.assertEqual(len(item.ticks), 1)
            self.assertTrue(due <= item.ticks[0] <= due + MIN_DELAY + 1e-9, (due, item.ticks))

    def test_between_looks_at_many_others_have_their_turn(self) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [1.0])
        items = [Item(0.0) for _ in range(2 * BATCH + 1)]
        schedule_all(scheduler, items)
        looked = []
        for _ in range(3):
            one_turn(clock)
            looked.append(sum(bool(item.ticks) for item in items))
        self.assertEqual(looked, [BATCH, 2 * BATCH, len(items)])
        self.assertLessEqual(clock.seconds(), scheduler.interval)

    def test_who_is_forgotten_or_watched_between_them_leaves_one_timer(self) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [1.0])
        items = [Item(0.0) for _ in range(2 * BATCH)]
        schedule_all(scheduler, items)
        one_turn(clock)
        for item in items:
            scheduler.cancel(item)
        self.assertEqual(clock.getDelayedCalls(), [])
        scheduler.schedule(late := Item(0.0, 1.0))
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        clock.advance(scheduler.interval)
        self.assertEqual(sum(len(item.ticks) for item in items), BATCH)
        self.assertEqual(len(late.ticks), 1)
        self.assertEqual(len(clock.getDelayedCalls()), 1)

    def test_a_deadline_moved_later_is_met_later(self) -> None:
        scheduler = self.scheduler(0.5)
        item = Item(0.5)
        scheduler.schedule(item)
        run(self.clock, 0.45)
        item.due = 0.95
        run(self.clock, 0.9)
        self.assertEqual(item.ticks, [])
        run(self.clock, 2)
        self.assertEqual(len(item.ticks), 1)
        self.assertTrue(0.95 <= item.ticks[0] <= 0.95 + MIN_DELAY, item.ticks)

    def test_a_deadline_moved_to_now_is_met_within_one_interval(self) -> None:
        scheduler = self.scheduler(1.0)
        item = Item(60.0)
        scheduler.schedule(item)
        run(self.clock, 5.03)
        item.due = 0.0
        scheduler.schedule(item)
        run(self.clock, 5.03 + scheduler.interval)
        self.assertEqual(len(item.ticks), 1)

    def test_one_fault_does_not_stop_the_others(self) -> None:
        scheduler = self.scheduler(0.5)
        items = [Broken(0.5), *(Item(0.5, 1.0) for _ in range(3)), Broken(0.5)]
        schedule_all(scheduler, items)
        run(self.clock, 3.6)
        for item in items[1:4]:
            self.assertEqual(len(item.ticks), 4)
        faults = self.flushLoggedErrors(RuntimeError)
        self.assertEqual(len(faults), len(items[0].ticks) + len(items[4].ticks))

    def test_a_fault_is_not_repeated_faster_than_the_regular_look(self) -> None:
        scheduler = self.scheduler(0.5)
        item = Broken(0.0)
        scheduler.schedule(item)
        run(self.clock, 1.0)
        self.assertLessEqual(len(self.flushLoggedErrors(RuntimeError)), 1.0 / scheduler.interval)

    def test_no_timer_is_left_once_nothing_is_watched(self) -> None:
        scheduler = self.scheduler(0.5)
        items = [Item(0.5), Item(0.7)]
        schedule_all(scheduler, items)
        run(self.clock, 0.6)
        scheduler.cancel(items[0])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        scheduler.cancel(items[1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        scheduler.cancel(items[1])
        scheduler.schedule(items[1])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_no_timer_is_left_once_nothing_is_ever_due(self) -> None:
        scheduler = self.scheduler(0.5)
        items = [Item(0.5), Item(math.inf)]
        schedule_all(scheduler, items)
        run(self.clock, 1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        items[1].due = 2.0
        scheduler.schedule(items[1])
        run(self.clock, 2.0 + scheduler.interval)
        self.assertEqual([len(item.ticks) for item in items], [1, 1])

    def test_who_wakes_between_the_looks_at_others_is_not_missed(self) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [1.0])
        woken, *others = [Item(math.inf), *(Item(0.0) for _ in range(2 * BATCH))]
        schedule_all(scheduler, (woken, *others))
        one_turn(clock)
        woken.due = clock.seconds() + 0.5
        scheduler.schedule(woken)
        run(clock, clock.seconds() + 0.5 + scheduler.interval)
        self.assertEqual(len(woken.ticks), 1)

    def test_who_is_due_at_once_does_not_supplant_those_whose_turn_it_is(self) -> None:
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [1.0])
        items = [Item(0.0) for _ in range(2 * BATCH)]
        schedule_all(scheduler, items)
        one_turn(clock)
        scheduler.schedule(Item(-1.0))
        clock.advance(0.0)
        self.assertEqual([len(item.ticks) for item in items], [1] * len(items))

    def test_nobody_supplants_those_whose_turn_it_is_where_the_timer_came_early(self) -> None:
        """As it does where somebody sets the time of day, on which the timers of Twisted run."""
        clock = Clock()
        scheduler = DeadlineScheduler(clock, [3.0])
        scheduler.now = lambda: now
        now, items = 0.0, [Item(0.15) for _ in range(2 * BATCH)]
        schedule_all(scheduler, items)
        one_turn(clock)
        scheduler.schedule(Item(0.02))
        now = 1.0
        run(clock, 2.0)
        self.assertEqual([len(item.ticks) for item in items], [1] * len(items))

    def test_who_is_watched_before_it_says_when_is_looked_at_again(self) -> None:
        scheduler = self.scheduler(0.5)

        class Late(Item):
            def check_deadlines(self, now: float) -> None:
                self.due = math.inf
                scheduler.schedule(self)
                super().check_deadlines(now)

        item = Late(0.5, again=70.0)
        scheduler.schedule(item)
        run(self.clock, 300.0)
        self.assertEqual(len(item.ticks), 5)

    def test_no_fault_of_any_kind_stops_the_clock(self) -> None:
        scheduler = self.scheduler(0.5)

        class Exiting(Item):
            def check_deadlines(self, now: float) -> None:
                super().check_deadlines(now)
                raise SystemExit("on purpose")

        other = Item(0.7)
        schedule_all(scheduler, (Exiting(0.5), other))
        run(self.clock, 1.0)
        self.assertEqual(len(other.ticks), 1)
        self.assertTrue(self.flushLoggedErrors(SystemExit))

    def test_who_is_forgotten_in_a_look_leaves_no_timer(self) -> None:
        scheduler = self.scheduler(0.5)

        class Leaving(Item):
            def check_deadlines(self, now: float) -> None:
                super().check_deadlines(now)
                scheduler.cancel(self)

        scheduler.schedule(Leaving(0.5))
        run(self.clock, 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_is_forgotten_in_a_look_leaves_no_timer_even_if_it_says_when_next(self) -> None:
        scheduler = self.scheduler(0.5)

        class Leaving(Item):
            def check_deadlines(self, now: float) -> None:
                super().check_deadlines(now)
                scheduler.cancel(self)

        scheduler.schedule(Leaving(0.5, again=1.0))
        run(self.clock, 0.6)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_comes_does_not_put_off_the_next_look(self) -> None:
        scheduler = self.scheduler(2.0)
        first = Item(0.0)
        scheduler.schedule(first)
        for _ in range(300):
            scheduler.schedule(Item(0.0))
            self.clock.advance(0.001)
        self.assertEqual(len(first.ticks), 1)

    def test_who_is_watched_from_in_a_look_adds_no_second_timer(self) -> None:
        scheduler = self.scheduler(0.5)
        late = Item(1.2)

        class Bringing(Item):
            def check_deadlines(self, now: float) -> None:
                super().check_deadlines(now)
                scheduler.cancel(self)
                scheduler.schedule(late)

        scheduler.schedule(Bringing(0.5))
        run(self.clock, 1.0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        run(self.clock, 2.0)
        self.assertEqual(len(late.ticks), 1)
        scheduler.cancel(late)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_is_forgotten_by_another_is_not_looked_at(self) -> None:
        scheduler = self.scheduler(0.5)

        class Killer(Item):
            other: Item

            def check_deadlines(self, now: float) -> None:
                super().check_deadlines(now)
                scheduler.cancel(self.other)

        first, second = Killer(0.5), Killer(0.5)
        first.other, second.other = second, first
        scheduler.schedule(first)
        scheduler.schedule(second)
        run(self.clock, 2)
        self.assertEqual(len(first.ticks) + len(second.ticks), 1)

    def test_the_regular_look_is_a_tenth_of_the_shortest_time_out(self) -> None:
        for timeouts, interval in (
            ((2.0, 5.0), 0.2),
            ((0.0, 3.0), 0.3),
            ((0.01,), MIN_INTERVAL),
            ((60.0,), MAX_INTERVAL),
        ):
            self.assertAlmostEqual(self.scheduler(*timeouts).interval, interval)

    def test_without_time_outs_looks_stay_rare(self) -> None:
        for timeouts in ((), (0.0, 0.0)):
            self.assertTrue(MIN_INTERVAL <= self.scheduler(*timeouts).interval <= MAX_INTERVAL)

    def test_who_is_never_due_is_never_looked_at(self) -> None:
        scheduler = self.scheduler(0.5)
        item = Item(math.inf)
        scheduler.schedule(item)
        run(self.clock, 50)
        self.assertEqual(item.ticks, [])


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
    @settings(deadline=None, max_examples=200)
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
    @settings(deadline=None, max_examples=30)
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
