"""A greeting is waited for where a server lives, and its lateness is not that of a dead server."""

from __future__ import annotations

from echosvc.probe.checks.greeting import greeting
from echosvc.probe.engine.findings import Failed, Unanswered
from echosvc.probe.engine.path import Path
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

GREETING = b"hello\n"


class Greeting(MemoryServer):
    """Speaks first, but on connections of some numbers, which begin with 1, it says nothing."""

    def __init__(self, *dead: int) -> None:
        super().__init__()
        self.count, self._dead = 0, dead

    def connected(self, connection: MemoryConnection) -> None:
        self.count += 1
        if self.count in self._dead:
            connection.mute()
        connection.answer(GREETING)


class Waiting(Greeting):
    """Says nothing before the client does."""

    def connected(self, connection: MemoryConnection) -> None:
        pass

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        first = connection.taken == len(data)
        connection.answer(GREETING * first + data)


class GreetingTests(NetworkTestCase):
    def greeted(self, server: MemoryServer) -> Path:
        """A path whose greeting is known."""
        path = self.path(server)
        self.result(path.open())
        path.close()
        self.assertEqual(path.context.greeting, GREETING)
        return path

    def test_it_comes_though_nothing_is_sent(self) -> None:
        finding = self.result(greeting(self.greeted(Greeting())))
        self.assertRegex(finding.text, r"^'hello\\n' comes .* though nothing was sent$")

    def test_one_that_waits_for_the_client_does_not_come(self) -> None:
        failed = self.failure(greeting(self.greeted(Waiting())))
        self.assertNotIsInstance(failed, Unanswered)
        self.assertIn("the greeting does not come within", failed.finding)

    def test_a_dead_server_is_not_accused_of_waiting_for_the_client(self) -> None:
        for number in (2, 3):
            failed: Failed = self.failure(greeting(self.greeted(Greeting(number))))
            self.assertIsInstance(failed, Unanswered)

    def test_where_a_server_is_known_to_be_dead_another_one_is_soon_asked(self) -> None:
        path = self.greeted(Greeting(2, 4))
        path.context.knowledge.retries = 3
        self.result(greeting(path))
        self.assertLess(self.clock.seconds(), 3.0)
