"""A flood makes a bounded number of lines, and nothing is left out unsaid."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.server.events import BURST, PERIOD, Throttle


class ThrottleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.suppressed: list[tuple[str, int]] = []
        self.throttle = Throttle(
            self.clock.callLater, lambda kind, count: self.suppressed.append((kind, count))
        )

    def say(self, kind: str, count: int) -> int:
        return sum(self.throttle.allow(kind) for _ in range(count))

    def test_few_lines_are_all_said(self) -> None:
        self.assertEqual(self.say("a", BURST), BURST)
        self.clock.advance(PERIOD)
        self.assertEqual(self.suppressed, [])

    def test_of_a_flood_the_first_are_said_and_the_others_counted(self) -> None:
        self.assertEqual(self.say("a", 1000), BURST)
        self.clock.advance(PERIOD)
        self.assertEqual(self.suppressed, [("a", 1000 - BURST)])
        self.assertEqual(self.say("a", 3), 3)

    def test_each_kind_has_its_own_share(self) -> None:
        self.say("a", 1000)
        self.assertEqual(self.say("b", 3), 3)
        self.clock.advance(PERIOD)
        self.assertEqual(self.suppressed, [("a", 1000 - BURST)])

    def test_no_timer_is_left_when_all_is_said(self) -> None:
        self.say("a", 1000)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(PERIOD)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_flush_says_the_rest_now(self) -> None:
        self.throttle.flush()
        self.say("a", BURST + 1)
        self.throttle.flush()
        self.throttle.flush()
        self.assertEqual(self.suppressed, [("a", 1)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 0.5)), max_size=200))
    def test_every_event_is_said_or_counted_once(self, events: list[tuple[str, float]]) -> None:
        self.setUp()
        said = 0
        for kind, pause in events:
            said += self.throttle.allow(kind)
            self.clock.advance(pause)
        self.throttle.flush()
        self.assertEqual(said + sum(count for _, count in self.suppressed), len(events))
