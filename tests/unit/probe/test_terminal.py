"""A terminal is told by what it echoes or edits; a path without one is not waited for."""

from __future__ import annotations

from typing import Any

from echosvc.probe.causes.terminal import explain_by_terminal
from echosvc.probe.engine.findings import Failed
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

#: Seconds of a round trip, and at least those without a byte after which nothing more comes.
DELAY, QUIET = 0.05, 0.3


class Terminal(MemoryServer):
    """Behind a terminal that echoes what comes, and may edit it before the server answers."""

    def __init__(self, edits: bool) -> None:
        super().__init__()
        self.edits = edits

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        if b"\x01" in data:
            connection.answer(data.replace(b"\x01", b"^A"))
        connection.answer(data.replace(b"b\x7f", b"") if self.edits else data)


class Appending(MemoryServer):
    """Sends something behind each answer."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(data + b"." if b"\x01" in data else data)


class TerminalTests(NetworkTestCase):
    def explain(self, server: MemoryServer) -> tuple[Any, float]:
        """What is found, and after how many seconds."""
        path = self.path(server, delay=DELAY)
        self.result(path.open())
        path.close()
        began = self.clock.seconds()
        found = self.result(explain_by_terminal(path, Failed("cut", end="FIN")))
        self.assertEqual(path.context.knowledge.no_terminal, found is None)
        return found, self.clock.seconds() - began

    def test_a_terminal_that_echoes_is_found_whether_it_edits_or_not(self) -> None:
        for edits in (False, True):
            cause, _ = self.explain(Terminal(edits))
            self.assertEqual((cause.name, cause.final), ("terminal", True))
            self.assertIn("^Aab", cause.finding)

    def test_nothing_more_is_waited_for_once_everything_came_as_it_was_sent(self) -> None:
        found, seconds = self.explain(MemoryServer())
        self.assertIsNone(found)
        self.assertLess(seconds, QUIET)

    def test_what_came_otherwise_may_not_be_all(self) -> None:
        found, seconds = self.explain(Appending())
        self.assertIsNone(found)
        self.assertGreater(seconds, QUIET)
