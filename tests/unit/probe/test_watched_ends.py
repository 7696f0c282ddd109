"""Experiments that watch connections until they end: an age, a rest, or a restart."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from echosvc.probe.causes.lifetime import EndedTogether, explain_by_lifetime, explain_common_end
from echosvc.probe.causes.lost_connections import report_one_lost
from echosvc.probe.checks import find_idle
from echosvc.probe.checks.idle import idle
from echosvc.probe.engine import client, watch
from echosvc.probe.engine.endings import Ending
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import Failed, Skipped
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

#: How old connections become, or how long they may rest, seconds.
MOST = 0.6
#: How late an answer is, seconds: far more than what an idle time may differ by.
LATE = 0.3


class EndingServer(MemoryServer):
    """Ends connections.

    :param life: at this age, seconds.
    :param rest: after so many seconds without a byte.
    """

    def __init__(self, life: float = 0.0, rest: float = 0.0) -> None:
        super().__init__()
        self._life, self._rest = life, rest
        self._timers: dict[MemoryConnection, IDelayedCall] = {}

    def connected(self, connection: MemoryConnection) -> None:
        if self._life:
            connection.clock.callLater(self._life, connection.finish)
        if self._rest:
            timer = connection.clock.callLater(self._rest, connection.finish)
            self._timers[connection] = timer

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        if self._rest and self._timers[connection].active():
            self._timers[connection].reset(self._rest)
        super().received(connection, data)


class LateAnswering(MemoryServer):
    """Answers late, and ends a connection some time after its last answer.

    :param rest: that time, seconds.
    :param silent: end it without a sign.
    """

    def __init__(self, rest: float, silent: bool) -> None:
        super().__init__()
        self._rest, self._silent = rest, silent
        self._timers: dict[MemoryConnection, IDelayedCall] = {}

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        timer = self._timers.pop(connection, None)
        if timer is not None and timer.active():
            timer.cancel()
        connection.clock.callLater(LATE, self._answer, connection, data)

    def _answer(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(data)
        end = connection.mute if self._silent else connection.finish
        self._timers[connection] = connection.clock.callLater(self._rest, end)


class Restarting(MemoryServer):
    """Ends all connections at the same moment, again and again."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._restart()

    def _restart(self) -> None:
        for each in self.open:
            each.cut()
        self._clock.callLater(5 * MOST, self._restart)


class LastingFirst(EndingServer):
    """Lets the first connection live for long, and the others for a short time."""

    def connected(self, connection: MemoryConnection) -> None:
        self._life = 2 * MOST if self._timers else 100 * MOST
        self._timers[connection] = connection.clock.callLater(0.0, int)
        super().connected(connection)


class LivingByChance(EndingServer):
    """Ends each connection at an age of its own."""

    def connected(self, connection: MemoryConnection) -> None:
        self._life = 5 * MOST * (1.0, 1.5, 0.7, 1.2)[len(self.open) % 4]
        super().connected(connection)


def cut(age: float, pause: float = 0.0) -> Failed:
    """What a probe meets whose connection is ended."""
    failed = Failed("then came FIN", end="FIN")
    failed.age, failed.pause = age, pause
    return failed


def together(age: float) -> EndedTogether:
    """A busy connection and one at rest that ended together."""
    ends = [Ending(busy, 0.0, age - 0.1 if busy else 0.1, age, "FIN") for busy in (True, False)]
    return EndedTogether("all ended", ends)


class EndsTestCase(NetworkTestCase):
    """Connections are timed by the same clock."""

    def setUp(self) -> None:
        super().setUp()
        for module in (client, watch, find_idle):
            self.patch(module, "perf_counter", self.clock.seconds)


class OneEndTests(EndsTestCase):
    def test_busy_connections_that_end_at_an_age_have_a_limit_of_life(self) -> None:
        path = self.path(EndingServer(life=MOST))
        cause = self.result(explain_by_lifetime(path, cut(MOST)))
        self.assertEqual((cause.name, cause.facts["how"]), ("lifetime", "FIN"))
        self.assertAlmostEqual(path.context.knowledge.lifetime, MOST, places=2)
        began = self.clock.seconds()
        again = self.result(explain_by_lifetime(path, cut(path.context.knowledge.lifetime)))
        self.assertEqual(again.name, "lifetime")
        self.assertEqual(self.clock.seconds(), began)  # it is known, and not watched again

    def test_a_connection_that_rested_and_ended_has_an_idle_time_out(self) -> None:
        path = self.path(EndingServer(rest=MOST))
        cause = self.result(explain_by_lifetime(path, cut(2 * MOST, pause=2 * MOST)))
        self.assertEqual((cause.name, cause.facts["how"]), ("idle", "FIN"))
        path.close()
        self.assertIsNone(self.result(explain_by_lifetime(path, cut(2 * MOST, pause=0.1))))

    def test_where_connections_live_on_there_is_another_cause(self) -> None:
        path = self.path(EndingServer())
        self.assertIsNone(self.result(explain_by_lifetime(path, cut(MOST))))

    def test_connections_that_end_together_meet_a_restart(self) -> None:
        path = self.path(Restarting(self.clock))
        for number in range(3):
            cause = self.result(explain_by_lifetime(path, cut(4 * MOST)))
            self.assertEqual(cause.name, "restart")
            self.assertEqual(cause.avoidable, number < 2)  # then it is asked no more
            path.close()
        lost = report_one_lost(path, Failed("no answer", end="FIN"))
        self.assertEqual(lost.name, "restart")

    def test_connections_that_end_at_ages_of_their_own_have_a_life_that_varies(self) -> None:
        path = self.path(LivingByChance())
        cause = self.result(explain_by_lifetime(path, cut(5 * MOST)))
        self.assertEqual(cause.name, "lifetime")
        self.assertRegex(cause.finding, r"^connections live .* to .* at most, busy or not")

    def test_what_is_no_end_at_an_age_is_not_watched(self) -> None:
        lost = Failed("1 byte lost", fault=Fault(FaultKind.LOST, 5, 1))
        for failed in (cut(0.1), cut(1000.0), lost, EndedTogether("all ended", ())):
            path = self.path(EndingServer(life=MOST))
            self.assertIsNone(self.result(explain_by_lifetime(path, failed)))
            self.assertEqual(path.context.history.opened, 0)


class CommonEndTests(EndsTestCase):
    def explain(self, server: EndingServer, failed: Failed) -> Any:
        return self.result(explain_common_end(self.path(server), failed))

    def test_connections_that_ended_together_reached_an_age(self) -> None:
        cause = self.explain(EndingServer(life=MOST), together(MOST))
        self.assertEqual((cause.name, cause.avoidable), ("lifetime", True))
        self.assertIsNone(self.explain(EndingServer(life=MOST), cut(MOST)))

    def test_or_they_were_restarted(self) -> None:
        cause = self.explain(EndingServer(), together(MOST))
        self.assertEqual((cause.name, cause.avoidable), ("restart", True))
        expected = "all 2 connections, busy or not, ended at the same moment, by FIN"
        self.assertEqual(cause.finding, expected)


class IdleTests(EndsTestCase):
    def test_idle_times_are_asked_one_after_the_other_where_no_more_are_allowed(self) -> None:
        path = self.path(EndingServer(rest=MOST), idle=(0.1, 2 * MOST))
        path.context.knowledge.connection_limit = 1
        failed = self.failure(idle(path))
        self.assertEqual(failed.facts["survived"], [0.1])
        self.assertTrue(failed.finding.startswith("survived 0.1 s; not 1.2 s: FIN after "), failed)

    def test_one_busy_connection_that_lives_for_long_does_not_accuse_the_rest(self) -> None:
        """The others are as busy, and end."""
        failed = self.failure(idle(self.path(LastingFirst(), idle=(3 * MOST,))))
        self.assertIsInstance(failed, EndedTogether)
        self.assertGreaterEqual(sum(each.busy for each in failed.endings), 2)

    def test_idle_times_that_connections_do_not_reach_are_not_asked(self) -> None:
        path = self.path(EndingServer(), idle=(2.0,))
        path.context.knowledge.lifetime = 1.0
        skipped = self.error(idle(path), Skipped)
        self.assertTrue(str(skipped).startswith("see lifetime: connections live 1 s at most"))
        self.assertEqual(path.context.history.opened, 0)


class SearchTests(EndsTestCase):
    def test_a_search_for_an_idle_time_out_finds_a_limit_of_life_as_such(self) -> None:
        path = self.path(EndingServer(life=0.8), find_idle=10.0)
        failed = self.failure(find_idle.find_idle(path))
        cause = self.result(explain_common_end(path, failed))
        self.assertEqual((cause.name, cause.avoidable), ("lifetime", True))
        path.close()
        finding = self.result(find_idle.find_idle(path))
        self.assertTrue(finding.info)
        expected = r"none up to 7\d\d ms: connections live 8\d\d ms at most, see lifetime"
        self.assertRegex(finding.text, f"^{expected}$")

    def test_an_idle_time_counts_from_the_last_byte_and_not_from_the_opening(self) -> None:
        """Whether the end is seen when it comes, or only when the connection is used again."""
        for silent, how in ((False, "FIN"), (True, "silence")):
            with self.subTest(how=how):
                server = LateAnswering(5 * MOST, silent)
                facts = self.result(
                    find_idle.find_idle(self.path(server, find_idle=10.0, timeout=2.0))
                ).facts
                self.assertEqual(facts["how"], how)
                self.assertLessEqual(abs(facts["idle_seconds"] / (5 * MOST) - 1), 0.02)
