"""A limit of connections is found, and whether it counts those that are open or those a second."""

from __future__ import annotations

from typing import Any

from echosvc.probe.causes.limit import explain_by_limit
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.turns import LimitReached
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase, refuse

ASKED, MOST = 10, 5


class Silent(MemoryServer):
    """Answers nothing on the connections beyond a number."""

    def connected(self, connection: MemoryConnection) -> None:
        if len(self.open) > MOST:
            connection.mute()


class Refusing(MemoryServer):
    """Refuses the connections beyond a number."""

    def admit(self) -> bool:
        if len(self.open) >= MOST:
            refuse()
        return True


class Paced(MemoryServer):
    """Ends the connections beyond a number in a second."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def connected(self, connection: MemoryConnection) -> None:
        now = connection.clock.seconds()
        self.times = [each for each in self.times if each > now - 1]
        if len(self.times) < MOST:
            self.times.append(now)
        else:
            connection.cut()


class Mixing(MemoryServer):
    """Answers to the first connection what comes on those beyond a number."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        place = self.open.index(connection)
        self.open[0 if place >= MOST else place].answer(data)


class Losing(MemoryServer):
    """Ends every connection of some numbers, whatever the pace."""

    def __init__(self, *lost: int) -> None:
        super().__init__()
        self.count, self._lost = 0, lost

    def connected(self, connection: MemoryConnection) -> None:
        self.count += 1
        if self.count in self._lost:
            connection.cut()


class LimitTests(NetworkTestCase):
    def failed(self, path: Path) -> Failed:
        """What a probe meets that needs more connections than are answered."""
        self.result(path.open())
        path.close()
        failed = self.failure(path.open_many(ASKED))
        path.close()
        self.wait(2.0)
        return failed

    def explain(self, path: Path, failed: Failed) -> Any:
        return self.result(explain_by_limit(path, failed))

    def test_a_limit_of_open_connections_is_counted_and_kept(self) -> None:
        for server, end in (
            (Silent(), "were not answered within 3 s"),
            (Refusing(), "failed with ECONNREFUSED"),
        ):
            path = self.path(server, connections=ASKED)
            cause = self.explain(path, self.failed(path))
            self.assertEqual(
                cause.finding, f"5 of 10 connections at once were answered; the others {end}"
            )
            self.assertEqual((cause.name, cause.avoidable), ("limit", True))
            self.assertIn("a limit of open connections", cause.advice)
            self.assertEqual(path.context.knowledge.connection_limit, MOST)
            path.close()
            self.assertEqual(len(self.result(path.open_many(MOST))), MOST)
            self.assertIsInstance(self.failure(path.open_many(ASKED)), LimitReached)

    def test_a_limit_a_second_is_seen_by_connections_one_after_the_other(self) -> None:
        path = self.path(Paced(), connections=ASKED)
        cause = self.explain(path, self.failed(path))
        self.assertRegex(
            cause.finding,
            r"^4 of 10 connections one after the other, within .*, were answered;"
            r" the others ended by FIN$",
        )
        self.assertIn("a limit of connections a second", cause.advice)
        self.assertIsNone(path.context.knowledge.connection_limit)
        self.assertEqual(path.context.knowledge.pace, 4 / 2)  # the fifth had shown that it works
        path.close()
        self.assertEqual(len(self.result(path.open_many(ASKED))), ASKED)

    def test_one_connection_that_is_lost_is_no_limit(self) -> None:
        """It may be lost among those in turn, among those at once, and among those kept open."""
        for lost in ((5,), (8,), (14,), (14, 23), (14, 29)):
            path = self.path(Losing(*lost), connections=ASKED)
            self.result(path.open())
            path.close()
            cause = self.explain(path, self.failed_alone(path))
            self.assertEqual((cause.name, cause.avoidable), ("identity", True), lost)
            self.assertIn("connections got no answer: they ended by FIN", cause.finding)
            self.assertEqual(path.context.knowledge.pace, 0.0)
            self.assertIsNone(path.context.knowledge.connection_limit)

    def test_where_none_is_lost_any_more_the_probe_is_asked_again(self) -> None:
        path = self.path(Losing(2))
        self.result(path.open())
        path.close()
        path.begin_probe()
        failed = self.failure(path.open())
        path.close()
        cause = self.explain(path, failed)
        self.assertEqual((cause.name, cause.avoidable), ("identity", True))
        self.assertIn("the connections that were opened after it are answered", cause.finding)

    def test_one_that_is_lost_among_others_now_and_then_is_counted(self) -> None:
        """The first ones after it are all answered: ten in turn, ten at once, and more."""
        path = self.path(Losing(30, 41), connections=ASKED)
        cause = self.explain(path, self.failed_alone(path))
        self.assertEqual((cause.name, cause.avoidable), ("identity", True))
        self.assertRegex(cause.finding, r"^2 of \d+ connections got no answer: they ended by FIN")

    def test_on_a_long_way_a_limit_a_second_is_told_from_one_at_once_by_opening_slowly(
        self,
    ) -> None:
        path = self.path(Paced(), delay=0.15, connections=ASKED)
        cause = self.explain(path, self.failed(path))
        self.assertRegex(cause.finding, "^[1-5] of 10 connections at once, within .*, were")
        self.assertIn("a limit of connections a second", cause.advice)
        self.assertIsNone(path.context.knowledge.connection_limit)

    def test_where_a_pace_is_kept_and_still_some_fail_it_is_halved(self) -> None:
        path = self.path(MemoryServer(), connections=ASKED)
        failed = self.failed_alone(path)
        self.assertIsNone(self.explain(path, failed))
        path.context.knowledge.pace = 8.0
        cause = self.explain(path, failed)
        self.assertEqual((cause.finding, cause.avoidable), (failed.finding, True))
        self.assertEqual(path.context.knowledge.pace, 4.0)

    def failed_alone(self, path: Path) -> Failed:
        """A failure of a connection though the path answers all others."""
        self.result(path.open())
        path.close()
        other = self.path(Silent())
        return self.failure(other.open_many(ASKED))

    def test_where_nothing_is_answered_there_is_another_cause(self) -> None:
        class Dead(MemoryServer):
            dead = False

            def admit(self) -> bool:
                return not self.dead

        server = Dead()
        path = self.path(server)
        self.result(path.open())
        path.close()
        server.dead = True
        self.assertIsNone(self.explain(path, self.failure(path.open())))

    def test_where_nothing_was_ever_answered_there_is_another_cause(self) -> None:
        class Full(MemoryServer):
            def admit(self) -> bool:
                refuse()

        path = self.path(Full())
        self.assertIsNone(self.explain(path, self.failure(path.open())))

    def test_bytes_that_are_wrong_are_no_limit(self) -> None:
        path = self.path(MemoryServer())
        self.result(path.open())
        self.assertIsNone(self.explain(path, Failed("1 byte lost")))

    def test_answers_that_go_to_another_connection_are_no_limit(self) -> None:
        path = self.path(Mixing(), connections=ASKED)
        self.result(path.open())
        path.close()
        failed = self.failed_alone(self.path(Silent()))
        self.assertIsNone(self.explain(path, failed))
        self.assertIsNone(path.context.knowledge.connection_limit)

    def test_a_limit_that_is_known_is_named_again_and_stays(self) -> None:
        path = self.path(MemoryServer())
        path.context.knowledge.connection_limit = 3
        cause = self.explain(path, LimitReached(3))
        self.assertEqual(cause.finding, "it needs more than 3 connections at once")
        self.assertIsNone(self.explain(path, self.failed_alone(path)))
        self.assertEqual(path.context.knowledge.connection_limit, 3)
