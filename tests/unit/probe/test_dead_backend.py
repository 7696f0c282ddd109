"""A dead server of several is told from a path that has shut, and later connections avoid it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from echosvc.probe.causes.dead_backend import explain_by_dead_backend
from echosvc.probe.engine.findings import Failed, Unanswered
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase


class Balanced(MemoryServer):
    """Answers the connections for whose number a function is true; the numbers begin with 1."""

    def __init__(self, answers: Callable[[int], bool]) -> None:
        super().__init__()
        self.answers, self.count = answers, 0

    def connected(self, connection: MemoryConnection) -> None:
        self.count += 1
        if not self.answers(self.count):
            connection.mute()


class DeadBackendTests(NetworkTestCase):
    def explain(self, answers: Callable[[int], bool]) -> Any:
        """The cause where the first connection was answered, and the second was not."""
        self.searched = self.path(Balanced(answers))
        self.result(self.searched.open())
        failed = self.failure(self.searched.open())
        self.assertIsInstance(failed, Unanswered)
        self.searched.close()
        return self.result(explain_by_dead_backend(self.searched, failed))

    def test_answers_that_come_and_go_are_a_dead_server(self) -> None:
        cause = self.explain(lambda number: number % 2 == 1)
        self.assertEqual((cause.name, cause.avoidable), ("identity", True))
        self.assertRegex(
            cause.finding,
            "^5 of 10 connections got no answer: they were not answered within 3 s; ",
        )
        self.assertEqual((cause.facts["unanswered"], cause.facts["asked"]), (5, 10))
        self.searched.close()
        for _ in range(6):
            self.result(self.searched.open())

    def test_it_may_be_met_before_anything_was_answered(self) -> None:
        path = self.path(Balanced(lambda number: number % 3 != 2))
        self.result(path.connect())
        failed = self.failure(path.open())
        self.assertEqual(self.result(explain_by_dead_backend(path, failed)).name, "identity")

    def test_once_it_is_known_it_costs_little_time(self) -> None:
        self.explain(lambda number: number % 2 == 1)
        self.searched.close()
        for connect in (self.searched.open, self.searched.connect):
            before = self.clock.seconds()
            for _ in range(4):
                self.result(connect())
            self.assertLess(self.clock.seconds() - before, 4.0)
            self.searched.close()

    def test_a_limit_that_lets_some_in_again_and_again_is_no_dead_server(self) -> None:
        """Six in each two seconds, as Envoy's local_ratelimit has it; others are ended."""
        clock, times = self.clock, dict[int, int]()

        def admits(_: int) -> bool:
            interval = int(clock.seconds() / 2)
            times[interval] = times.get(interval, 0) + 1
            return times[interval] <= 6

        path = self.path(Balanced(admits))
        self.result(path.open())
        failed = self.failure(path.open_many(12))
        path.close()
        self.assertIsNone(self.result(explain_by_dead_backend(path, failed)))
        self.assertGreater(max(times.values()), 6)

    def test_a_path_that_has_shut_or_was_shut_is_none(self) -> None:
        self.assertIsNone(self.explain(lambda number: number == 1))
        self.assertIsNone(self.explain(lambda number: number != 2))
        self.assertIsNone(self.explain(lambda number: number == 1 or number > 4))
        self.assertEqual(self.searched.context.knowledge.retries, 0)

    def test_bytes_that_are_wrong_are_no_dead_server(self) -> None:
        path = self.path(MemoryServer())
        self.result(path.open())
        self.assertIsNone(self.result(explain_by_dead_backend(path, Failed("1 byte lost"))))
