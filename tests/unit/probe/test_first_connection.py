"""The first connection of a check may be made though the first attempt fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from echosvc.probe.checks.first_connection import FirstConnection, connect_first
from echosvc.probe.engine.connect_errors import NotConnected
from tests.support.memory_network import MemoryServer, NetworkTestCase, refuse


class Balanced(MemoryServer):
    """Does with each connection what a function of its number says; the numbers begin with 1."""

    def __init__(self, admits: Callable[[int], bool]) -> None:
        super().__init__()
        self.count, self._admits = 0, admits

    def admit(self) -> bool:
        self.count += 1
        return self._admits(self.count)


def refuse_unless(works: Callable[[int], bool]) -> Callable[[int], bool]:
    return lambda number: True if works(number) else refuse()


class FirstConnectionTests(NetworkTestCase):
    def connected(self, admits: Callable[[int], bool]) -> FirstConnection:
        found: Any = self.result(connect_first(self.path(Balanced(admits))))
        return found

    def test_one_that_is_made_at_once_is_the_only_one(self) -> None:
        server = Balanced(lambda _: True)
        first = self.result(connect_first(self.path(server)))
        self.assertEqual((first.describe_others(), server.count), ("", 1))

    def test_one_that_is_refused_decides_nothing(self) -> None:
        first = self.connected(refuse_unless(lambda number: number == 3))
        self.assertEqual(
            first.describe_others(), "2 of the first 3 connections failed: ECONNREFUSED"
        )
        self.assertEqual(len(first.connection.client.local), len("192.0.2.1:1024"))

    def test_one_that_is_silent_decides_nothing_and_others_are_tried_soon(self) -> None:
        before = self.clock.seconds()
        self.connected(lambda number: number > 1)
        self.assertLess(self.clock.seconds() - before, 4.0)

    def test_where_none_is_made_the_first_failure_is_told(self) -> None:
        for admits, end, seconds in (
            (refuse_unless(lambda _: False), "ECONNREFUSED", 1.0),
            (lambda _: False, "silence", 10.5),
        ):
            path, before = self.path(Balanced(admits)), self.clock.seconds()
            failed = self.failure(connect_first(path))
            self.assertIsInstance(failed, NotConnected)
            self.assertEqual(failed.end, end)
            self.assertLess(self.clock.seconds() - before, seconds)

    def test_what_another_attempt_does_not_change_is_tried_once(self) -> None:
        server = Balanced(self.prohibit)
        self.assertEqual(self.failure(connect_first(self.path(server))).end, "EPERM")
        self.assertEqual(server.count, 1)

    @staticmethod
    def prohibit(_: int) -> bool:
        raise PermissionError(1, "Operation not permitted")

    def test_its_end_ends_all_attempts(self) -> None:
        server = Balanced(lambda _: False)
        path = self.path(server)
        waiting = Deferred.fromCoroutine(connect_first(path))
        for _ in range(32):
            self.wait(0.1)
        waiting.cancel()
        waiting.addErrback(lambda _: None)
        count = server.count
        self.assertGreater(count, 1)
        self.wait(20.0)
        self.assertEqual(server.count, count)
