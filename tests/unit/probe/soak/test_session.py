"""A soak on a clock: gaps have the right length, waits the right limits, and days are bounded."""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.defer import CancelledError, Deferred

from echosvc.probe.soak.events import Minute, Opened, Stall
from echosvc.probe.soak.result import Gap
from echosvc.probe.soak.slices import MAX_SLICES
from tests.support.memory_network import MemoryConnection
from tests.unit.probe.soak.soaks import DELAY, EPOCH, Server, SoakTestCase


class GapTests(SoakTestCase):
    def test_a_clean_soak_sends_a_message_each_interval(self) -> None:
        result = self.soak_result(connections=3, interval=0.5, duration=10.0)
        self.assertTrue(result.ok, result.reasons)
        self.assertTrue(result.complete)
        self.near(result.messages["sent"], 3 * 20, 3)
        self.assertEqual(result.messages["sent"], result.messages["answered"])
        self.assertEqual(len(self.of(Opened)), 3)

    def test_a_gap_lasts_from_the_reset_to_the_first_answer(self) -> None:
        self.at((10.05, self.server.leave), (10.45, self.server.come_back))
        gap = self.soak_result().gaps[0]
        self.assertEqual((gap.cause, gap.end, gap.unanswered), ("reset", "reset", 0))
        self.near(gap.began, EPOCH + 10.05)
        tries = [when for when in self.server.attempts if when > 10.05]
        self.near(gap.seconds, tries[-1] + DELAY - 10.05, 2 * DELAY)
        self.assertLess(gap.seconds, 0.45 + 2 * DELAY)
        self.assertEqual(gap.failures, {"refused": len(tries) - 1})

    def test_waits_are_a_tenth_of_the_gap_and_have_a_limit(self) -> None:
        self.at((1.0, self.server.leave))
        self.soak_result(duration=60.0, max_wait=2.0)
        tries = [when for when in self.server.attempts if when > 1.0]
        for one, other in pairwise(tries):
            self.assertLessEqual(other - one, max(0.02, 0.1 * (one - 1.0)) + 2 * DELAY)
            self.assertLessEqual(other - one, 2.0 + 2 * DELAY)
        self.assertLess(len(tries), 200)

    def test_a_silence_lasts_from_the_first_message_that_waits(self) -> None:
        def hold() -> None:
            self.server.holds = True

        self.at((10.05, hold), (13.3, self.server.release))
        gap = self.soak_result().gaps[0]
        self.assertEqual((gap.cause, gap.end), ("silence", ""))
        self.near(gap.began, EPOCH + 10.2, 2 * DELAY)
        self.near(gap.seconds, 3.1, 3 * DELAY)
        self.near(gap.since_answer or 0.0, 3.3, 3 * DELAY)
        self.assertEqual(len(self.of(Opened)), 1)

    def test_a_silence_that_is_short_enough_is_no_gap(self) -> None:
        def hold() -> None:
            self.server.holds = True

        self.at((10.05, hold), (11.15, self.server.release))
        result = self.soak_result(silence=1.0)
        self.assertTrue(result.ok, result.reasons)

    def test_a_connection_that_is_silent_for_too_long_is_replaced(self) -> None:
        self.at((10.05, lambda: self.server.open[0].mute()))
        gap = self.soak_result(timeout=3.0).gaps[0]
        self.assertEqual((gap.cause, gap.end), ("silence", "timeout"))
        self.near(gap.seconds, 3.0, 0.3)
        self.assertGreater(gap.unanswered, 10)
        self.assertIsNone(gap.acknowledged)  # there is no kernel

    def test_what_is_sent_in_a_silence_is_bounded_by_the_interval(self) -> None:
        self.at((5.05, lambda: self.server.open[0].mute()))
        result = self.soak_result(interval=1.0, timeout=10.0, duration=14.0)
        self.assertLessEqual(result.gaps[0].unanswered, 10)

    def test_a_server_that_accepts_and_does_not_answer_is_no_success(self) -> None:
        def leave() -> None:
            self.server.holds = True
            self.server.reset_all()

        self.at((5.0, leave), (12.0, self.server.release))
        gap = self.soak_result(timeout=2.0, duration=20.0).gaps[0]
        self.assertEqual(gap.cause, "reset")
        self.assertEqual(set(gap.failures), {"silence"})
        self.near(gap.seconds, 7.0, 0.8)  # the wait that it may fall into

    def test_a_server_that_accepts_and_never_answers_is_a_silence_from_the_beginning(self) -> None:
        self.server.holds = True
        result = self.soak_result(connections=2, duration=5.0)
        self.assertEqual(result.reasons, ["nothing was answered", "2 gaps"])
        self.assertEqual(result.causes, {"silence": 2})
        self.near(min(gap.seconds for gap in result.gaps), 5.0, 0.2)
        self.assertEqual({gap.answered for gap in result.gaps}, {False})

    def test_wrong_bytes_replace_a_connection(self) -> None:
        class Wrong(Server):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                wrong = len(data) > 1 and 5.0 < self.clock.seconds() < 5.3
                connection.answer(data[:20] + b"#" + data[21:] if wrong else data)

        self.server = Wrong(self.clock)
        result = self.soak_result(max_gap=60.0, max_breaks=99)
        self.assertFalse(result.ok)
        gap = result.gaps[0]
        self.assertEqual(gap.end, "mismatch")
        self.assertIn("changed at byte 20", gap.detail)

    def test_what_comes_before_a_first_reply_and_is_no_greeting_is_told(self) -> None:
        class Leftover(Server):  # a middlebox gives answers to the next client
            def connected(self, connection: MemoryConnection) -> None:
                if self.clock.seconds() > 5.0:
                    connection.answer(b"an answer of another")

        self.server = Leftover(self.clock)
        self.at((6.0, self.server.reset_all))
        result = self.soak_result(max_gap=60.0, max_breaks=99)
        self.assertEqual(result.reasons, ["20 bytes that were not due"])


class RunTests(SoakTestCase):
    def test_each_minute_is_told_and_an_hour_is_bounded(self) -> None:
        self.soak = self.make_soak(interval=2.0, duration=3600.0)
        result = self.result(self.soak.run())
        minutes = self.of(Minute)
        self.near(len(minutes), 59.5, 0.5)
        self.assertEqual({(each.up, each.connections, each.gaps) for each in minutes}, {(1, 1, 0)})
        self.near(sum(each.answered for each in minutes), result.messages["answered"], 60)
        self.assertLessEqual(len(self.soak.statistics.tally.series), 2)
        self.assertLessEqual(len(result.slices), MAX_SLICES)
        answered = sum(each.answered for each in result.slices)
        self.assertEqual(answered, result.messages["answered"])

    def test_a_process_that_stood_still_accuses_nobody(self) -> None:
        running = self.begin(duration=60.0)
        self._pass(5.0)
        self.clock.advance(30.0)
        self._settle(running)
        result = self.successResultOf(running)
        self.assertTrue(result.ok, result.reasons)
        (stall,) = self.of(Stall)
        self.near(stall.seconds, 30.0, 0.3)
        self.assertEqual((result.stalls, result.longest_stall), (1, stall.seconds))

    def test_what_is_in_flight_at_the_end_is_abandoned_and_no_gap(self) -> None:
        def hold() -> None:
            self.server.holds = True

        self.at((9.9, hold))
        result = self.soak_result(duration=10.1)
        self.assertTrue(result.ok, result.reasons)
        self.assertEqual(result.messages["abandoned"], 1)
        self.assertEqual(result.messages["lost"], 0)

    def test_a_soak_that_is_stopped_early_is_not_complete(self) -> None:
        running = self.begin(duration=60.0)
        self._pass(5.0)
        self.soak.stop(complete=False)
        self._settle(running)
        result = self.successResultOf(running)
        self.assertEqual((result.ok, result.complete), (True, False))
        self.near(result.seconds, 5.0, 0.01)
        self.assertFalse(self.server.open)

    def test_a_soak_that_is_cancelled_leaves_nothing_open(self) -> None:
        running = self.begin()
        self._pass(5.0)
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self._pass(1.0)
        self.assertFalse(self.server.open)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_marks_stand_in_the_timeline_at_their_time(self) -> None:
        running = self.begin(duration=8.0)
        self._pass(5.0)
        self.soak.mark("now")
        self._settle(running)
        (mark,) = self.successResultOf(running).marks
        self.assertEqual((mark.number, mark.name), (1, "now"))
        self.near(mark.when, EPOCH + 5.0, 0.01)

    def test_a_break_at_the_very_end_is_one(self) -> None:
        self.at((9.99, self.server.leave))
        result = self.soak_result(duration=10.0)
        self.assertEqual(result.breaks, 1)
        self.assertEqual([gap.answered for gap in self.of(Gap)], [False])

    def _pass(self, seconds: float) -> None:
        """Let time pass, event by event."""
        end: Deferred[None] = Deferred()
        self.clock.callLater(seconds, end.callback, None)
        self._settle(end)
