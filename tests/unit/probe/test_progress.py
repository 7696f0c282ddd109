"""A path is silent only once nothing has come on any of its connections for the time-out."""

from __future__ import annotations

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.probe.engine.progress import Progress


class ProgressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.progress = Progress(self.clock, 8.0)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    def test_silence_ends_the_waiting_at_the_time_out(self) -> None:
        waiting: Deferred[bytes] = self.progress.limit(Deferred())
        self.wait(7.9)
        self.assertNoResult(waiting)
        self.wait(0.2)
        self.failureResultOf(waiting, defer.TimeoutError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_comes_on_another_connection_prolongs_it(self) -> None:
        waiting: Deferred[bytes] = self.progress.limit(Deferred())
        for _ in range(5):
            self.wait(6)
            self.progress.note_received(1)
        self.wait(7.9)
        self.assertNoResult(waiting)
        self.wait(0.2)
        self.failureResultOf(waiting, defer.TimeoutError)

    def test_one_that_is_stuck_is_found_when_the_others_have_finished(self) -> None:
        stuck: Deferred[bytes] = self.progress.limit(Deferred())
        other: Deferred[bytes] = self.progress.limit(Deferred())
        self.wait(5)
        self.progress.note_received(100)
        other.callback(b"x" * 100)
        self.assertEqual(self.successResultOf(other), b"x" * 100)
        self.wait(7.9)
        self.assertNoResult(stuck)
        self.wait(0.2)
        self.failureResultOf(stuck, defer.TimeoutError)

    def test_what_is_taken_of_a_long_message_counts_for_every_connection(self) -> None:
        taken = [False]

        def sends() -> bool:
            return bool(taken[0]) and not taken.__setitem__(0, False)

        progress = Progress(self.clock, 8.0, sends)
        waits: list[Deferred[bytes]] = [progress.limit(Deferred()) for _ in range(3)]
        for _ in range(4):
            self.wait(6)
            taken[0] = True
        self.wait(8)  # it is looked at eight times in a time-out
        for waiting in waits:
            self.assertNoResult(waiting)
        self.wait(1.2)
        for waiting in waits:
            self.failureResultOf(waiting, defer.TimeoutError)

    def test_what_came_before_does_not_shorten_it(self) -> None:
        self.progress.note_received(1)
        self.wait(20)
        waiting: Deferred[bytes] = self.progress.limit(Deferred(), more=2.0)
        self.wait(9.9)
        self.assertNoResult(waiting)
        self.wait(0.2)
        self.failureResultOf(waiting, defer.TimeoutError)

    def test_a_time_in_which_this_process_did_not_run_is_no_silence(self) -> None:
        waiting: Deferred[bytes] = self.progress.limit(Deferred())
        self.wait(7.9)
        self.clock.advance(30)  # what has come meanwhile is read only after this
        self.assertNoResult(waiting)
        self.progress.note_received(1)
        self.wait(7.9)
        self.assertNoResult(waiting)
        self.wait(1.2)
        self.failureResultOf(waiting, defer.TimeoutError)

    def test_a_process_that_is_held_up_again_and_again_finds_silence_in_the_end(self) -> None:
        waiting: Deferred[bytes] = self.progress.limit(Deferred())
        for _ in range(4):
            self.wait(1.9)
            self.clock.advance(3)
        self.assertNoResult(waiting)
        self.wait(8)
        self.failureResultOf(waiting, defer.TimeoutError)

    def test_an_attempt_to_connect_ends_by_the_time_out_in_the_same_way(self) -> None:
        def attempt() -> Deferred[bytes]:
            return Deferred(lambda each: each.errback(ConnectingCancelledError(None)))

        waiting = self.progress.limit(attempt())
        self.wait(8.1)
        self.failureResultOf(waiting, defer.TimeoutError)
        cancelled = self.progress.limit(attempt())
        cancelled.cancel()
        self.failureResultOf(cancelled, ConnectingCancelledError)

    def test_a_result_and_a_cancellation_stay_what_they_are(self) -> None:
        fired: Deferred[bytes] = self.progress.limit(Deferred())
        fired.callback(b"x")
        self.assertEqual(self.successResultOf(fired), b"x")
        cancelled: Deferred[bytes] = self.progress.limit(Deferred())
        cancelled.cancel()
        self.failureResultOf(cancelled, defer.CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.successResultOf(self.progress.limit(defer.succeed(1))), 1)
