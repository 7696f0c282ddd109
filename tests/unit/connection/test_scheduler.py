"""One clock for many deadlines: never early, little late, nothing left behind."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.connection.scheduler import (
    BATCH,
    FAILURE_LOG_INTERVAL,
    MAX_INTERVAL,
    MIN_DELAY,
    MIN_INTERVAL,
    DeadlineScheduler,
)
from tests.support.scheduling import Item, allowed, one_turn, run, schedule_all


class Broken(Item):
    def check_deadlines(self, now: float) -> None:
        super().check_deadlines(now)
        self.due = now
        raise RuntimeError("broken on purpose")


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
        for broken in (items[0], items[4]):  # they are tried again, for as long as they fail
            self.assertGreater(len(broken.ticks), 4)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_fault_is_not_repeated_faster_than_the_regular_look(self) -> None:
        scheduler = self.scheduler(0.5)
        item = Broken(0.0)
        scheduler.schedule(item)
        run(self.clock, 1.0)
        self.assertLessEqual(len(item.ticks), 1.0 / scheduler.interval)
        self.flushLoggedErrors(RuntimeError)

    def test_a_fault_that_repeats_writes_one_line_an_interval(self) -> None:
        scheduler = self.scheduler(0.5)
        scheduler.schedule(Broken(0.0))
        run(self.clock, FAILURE_LOG_INTERVAL / 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        run(self.clock, FAILURE_LOG_INTERVAL * 1.5)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

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
