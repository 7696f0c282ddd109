"""The probe of the order finds messages that are dropped since they are like the last one."""

from __future__ import annotations

from echosvc.probe.checks.order import order
from echosvc.probe.engine.findings import Finding
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

SIZE = 5000


class Dropping(MemoryServer):
    """Drops a read that is like the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[MemoryConnection, bytes] = {}

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        if data != self._last.get(connection):
            connection.answer(data)
        self._last[connection] = data


class Stopping(MemoryServer):
    """Answers two messages of each connection but the first one."""

    def __init__(self) -> None:
        super().__init__()
        self._reads: dict[MemoryConnection, int] = {}

    def connected(self, connection: MemoryConnection) -> None:
        self._reads[connection] = 0 if self._reads else -1000

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        self._reads[connection] += 1
        if self._reads[connection] <= 2:
            connection.answer(data)


class LosingOnce(Dropping):
    """Drops one repetition, and none after it."""

    lost = False

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        if data == self._last.get(connection) and self.lost:
            connection.answer(data)
            return
        self.lost = self.lost or data == self._last.get(connection)
        super().received(connection, data)


class OrderTests(NetworkTestCase):
    def test_a_repetition_that_comes_back_is_no_fault(self) -> None:
        finding: Finding = self.result(order(self.path(MemoryServer(), max_size=SIZE)))
        self.assertIn("none lost, repeated or out of order", finding.text)

    def test_a_repetition_that_is_dropped_is_named(self) -> None:
        for framing in ("chunk", "line", "length"):
            failed = self.failure(order(self.path(Dropping(), max_size=SIZE, framing=framing)))
            self.assertEqual(
                failed.finding,
                "a message that is like the one before it is not answered; the one behind it is",
            )

    def test_a_message_that_is_lost_once_is_not_said_to_be_dropped_as_a_repetition(self) -> None:
        failed = self.failure(order(self.path(LosingOnce(), max_size=SIZE)))
        self.assertIn("the stream stopped at offset 0", failed.finding)

    def test_a_server_that_answers_nothing_more_is_not_said_to_drop_repetitions(self) -> None:
        failed = self.failure(order(self.path(Stopping(), max_size=SIZE)))
        self.assertIn("the stream stopped at offset 0", failed.finding)
