"""Answers that are read late are missed where they are lost, and the time after which is found."""

from __future__ import annotations

from echosvc.probe.checks.late_answers import SHORTER, SIZES, WAIT, late_answers
from echosvc.probe.engine.findings import Failed, Skipped
from echosvc.probe.settings import MIB
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

#: Longer times than this are such that a probe waits before it reads; how late it may be then.
REST, LATE = 0.08, 1.1


class Buffering(MemoryServer):
    """Takes streams of up to a size while nothing is read."""

    def __init__(self, window: int = MIB) -> None:
        super().__init__()
        self.window = window


class Impatient(Buffering):
    """Ends a half-closed connection after a time, whatever is due on it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def finished(self, connection: MemoryConnection) -> None:
        connection.clock.callLater(self.seconds, connection.cut)


class Forgetting(Buffering):
    """Forgets a half-closed connection soon."""

    def finished(self, connection: MemoryConnection) -> None:
        connection.clock.callLater(0.5, connection.mute)


class Reusing(Buffering):
    """Gives what a half-closed connection has to the next one, but for the first ones."""

    def connected(self, connection: MemoryConnection) -> None:
        for other in self.open[1:-1]:
            other.mute()


class Hasty(Buffering):
    """Ends each connection on which more is due than a reader leaves for a second."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        super().received(connection, data)
        if connection.unread:
            connection.clock.callLater(1.0, lambda: connection.unread and connection.cut())


class LateAnswersTests(NetworkTestCase):
    #: Which of the times in which nothing is due end late, counted from 1, and how many there were.
    late: frozenset[int] | set[int] = frozenset()
    rests = 0

    def test_a_path_that_keeps_what_is_due_passes(self) -> None:
        path = self.path(Buffering())
        finding = self.result(late_answers(path))
        self.assertRegex(
            finding.text,
            r"^with 3 streams of 256 KiB to 1 MiB due and nothing read for 2\.8 s after FIN,",
        )
        self.assertEqual(finding.facts, {"asked_seconds": WAIT, "sizes": list(SIZES[:3])})
        self.assertEqual(path.context.knowledge.max_segment, 0)

    def test_no_more_streams_wait_at_once_than_connections_are_allowed(self) -> None:
        for limit, sizes in ((4, SIZES[-3:]), (3, SIZES[-2:]), (2, SIZES[:1])):
            server = Buffering(8 * MIB)
            path = self.path(server)
            path.context.knowledge.connection_limit = limit
            finding = self.result(late_answers(path))
            self.assertEqual(finding.facts["sizes"], list(sizes))
            self.assertEqual(path.most_open, limit)
        self.assertIn("with 1 stream of 256 KiB due", finding.text)

    def test_the_time_after_which_they_are_lost_is_found(self) -> None:
        for seconds in (0.05, 0.3, 1.2, 2.0):
            failed = self.judged(Impatient(seconds))
            alive, dead = failed.facts["alive"], failed.facts["dead"]
            self.assertTrue(alive < seconds < dead, (alive, seconds, dead))
            self.assertIn(dead, (*SHORTER, WAIT))
            self.assertRegex(
                failed.finding, r"^read 2\.8 s after .* and FIN: .* FIN.* \(3 of 3 tim"
            )
            self.assertEqual((failed.facts["failed"], failed.facts["times"]), (3, 3))
            if alive:
                words = f"; read after {alive:g} s it comes, after {dead:g} s it does not"
                self.assertTrue(failed.finding.endswith(words), failed.finding)
                self.assertIn("a short time-out of half-closed connections", failed.cause)
            else:
                self.assertEqual(failed.cause, "a middlebox closes both directions at the FIN")

    def test_a_wait_is_not_taken_for_shorter_than_it_was_where_this_process_was_late(self) -> None:
        for seconds in (0.3, 1.2):
            for rests in (range(2), range(1, 3), range(2, 5), range(0, 20, 2), range(20)):
                self.late = {number + 2 for number in rests}  # those of the first wait are in time
                self.rests = 0
                failed = self.judged(Impatient(seconds))
                alive, dead = failed.facts["alive"], failed.facts["dead"]
                self.assertTrue(alive < seconds < dead, (rests, alive, seconds, dead))

    def test_a_connection_that_is_forgotten_is_told_without_a_search(self) -> None:
        failed = self.judged(Forgetting())
        self.assertIn("a firewall forgets half-closed connections", failed.cause)
        self.assertNotIn("dead", failed.facts)

    def test_at_a_limit_what_comes_alone_is_not_lost_for_its_lateness(self) -> None:
        for server, comes_alone in ((Reusing(8 * MIB), True), (Forgetting(8 * MIB), False)):
            path = self.path(server)
            path.context.knowledge.connection_limit = 5
            failed = self.failure(late_answers(path))
            assert failed.control is not None
            if comes_alone:
                skipped = self.error(failed.control(), Skipped)
                self.assertEqual(skipped.see, "limit")
                self.assertIn("come alone, and not always while other", str(skipped))
            else:
                self.assertIn("a firewall forgets", self.result(failed.control()).cause)

    def test_what_is_lost_without_fin_too_is_not_blamed_on_the_fin(self) -> None:
        failed = self.judged(Hasty())
        self.assertRegex(failed.finding, r"^read after 2\.8 s, with FIN and without: ")
        self.assertEqual(failed.subject, "sizes")

    def test_a_path_that_takes_nothing_while_nothing_is_read_cannot_be_asked(self) -> None:
        skipped = self.skipped(self.path(Buffering(100_000)))
        self.assertRegex(skipped, "^the path does not take 256 KiB within .* while nothing is read")

    def test_where_half_close_has_failed_it_is_not_asked(self) -> None:
        path = self.path(Buffering())
        path.context.knowledge.half_close_fails = True
        self.assertRegex(self.skipped(path), "^see half-close")

    def wait(self, seconds: float) -> None:
        """Let time pass; where nothing is due for long, the process may then be late."""
        if seconds > REST:
            self.rests += 1
            seconds += LATE if self.rests in self.late else 0.0
        super().wait(seconds)

    def judged(self, server: MemoryServer) -> Failed:
        """How the probe fails, after the control that no known cause spares it."""
        failed = self.failure(late_answers(self.path(server)))
        assert failed.control is not None
        return self.result(failed.control())

    def skipped(self, path: object) -> str:
        """Why the probe does not apply."""
        return str(self.error(late_answers(path), Skipped))
