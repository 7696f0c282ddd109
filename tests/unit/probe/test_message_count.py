"""A limit of messages is told from one of bytes, and from one of age."""

from __future__ import annotations

from typing import Any

from echosvc.probe.causes.message_count import explain_by_message_count
from echosvc.probe.engine.findings import Failed
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase


class Counting(MemoryServer):
    """Answers so many messages, then sends FIN, or nothing more."""

    def __init__(self, most: int, mute: bool = False) -> None:
        super().__init__()
        self.most, self.mute, self.counts = most, mute, dict[MemoryConnection, int]()

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        count = self.counts[connection] = self.counts.get(connection, 0) + 1
        if count <= self.most:
            connection.answer(data)
        if count == self.most and not self.mute:
            connection.finish()


class Limited(MemoryServer):
    """Answers so many bytes, then sends FIN."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(data)
        if connection.taken >= 50:
            connection.finish()


class Aged(MemoryServer):
    """Ends connections at an age."""

    def connected(self, connection: MemoryConnection) -> None:
        connection.clock.callLater(0.5, connection.cut)


class MessageCountTests(NetworkTestCase):
    def explain(self, server: MemoryServer, end: str = "FIN", delay: float = 0.005) -> Any:
        path = self.path(server, delay=delay)
        # The first connection sends two messages to detect the prefix, the others one.
        self.result(path.open())
        path.close()
        return self.result(explain_by_message_count(path, Failed("cut", end=end)))

    def test_the_number_is_found_whatever_ends_the_connection(self) -> None:
        for most, mute, end in ((2, False, "FIN"), (30, False, "FIN"), (5, True, "silence")):
            cause = self.explain(Counting(most, mute), end)
            self.assertEqual((cause.name, cause.facts), ("messages", {"messages": most}))
            self.assertTrue(cause.finding.startswith(f"connections end by {end} after {most} "))

    def test_a_limit_of_bytes_is_none_of_messages(self) -> None:
        self.assertIsNone(self.explain(Limited()))

    def test_a_limit_of_life_is_none_of_messages(self) -> None:
        self.assertIsNone(self.explain(Aged()))

    def test_a_server_without_a_limit_has_none(self) -> None:
        self.assertIsNone(self.explain(MemoryServer()))

    def test_what_was_not_cut_is_none(self) -> None:
        self.assertIsNone(self.explain(Counting(5), end=""))
