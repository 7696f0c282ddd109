"""Nothing answers any more: for good, for a while, or since too many connections were opened."""

from __future__ import annotations

from typing import Any

from echosvc.probe.causes.outage import explain_by_outage
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase, refuse

MANY = 12


class Ending(MemoryServer):
    """Refuses connections in a time.

    :ivar most: connections after which it refuses, if that is its reason.
    :ivar again: it refuses after as many once more, as long as before.
    """

    most, again = 1000, False

    def __init__(self, clock: Any, until: float) -> None:
        super().__init__()
        self._clock, self._until, self._count = clock, until, 0
        self._seconds, self.ended = until, False

    def admit(self) -> bool:
        self._count += 1
        if self.again and self.ended and self._clock.seconds() >= self._until:
            self.ended, self._count = False, 1
            self._until = self._clock.seconds() + self._seconds
        self.ended |= self._count > self.most
        if self.ended and self._clock.seconds() < self._until:
            refuse()
        return True


class OutageTests(NetworkTestCase):
    def explain(self, path: Path, failed: Failed) -> Any:
        return self.result(explain_by_outage(path, failed))

    def ended(self, seconds: float = 1e9) -> Path:
        """A path that had worked, and whose server has ended for so long."""
        server = Ending(self.clock, seconds)
        path = self.path(server)
        self.result(path.open())
        path.close()
        server.ended = True
        return path

    def test_a_server_that_has_ended_ends_the_check(self) -> None:
        path = self.ended()
        cause = self.explain(path, self.failure(path.open()))
        self.assertRegex(
            cause.finding,
            r"^nothing has answered any more for .* s, after 1 connection: no connection to"
            r" nowhere:1: ECONNREFUSED",
        )
        self.assertEqual((cause.name, cause.final, cause.avoidable), ("outage", True, False))
        self.assertTrue(cause.advice.startswith("the server has ended, or a middlebox has"))
        self.assertTrue(6.0 <= cause.facts["seconds"] < 12.0)

    def test_after_a_restart_the_probe_is_run_again(self) -> None:
        path = self.ended(3.0)
        cause = self.explain(path, self.failure(path.open()))
        self.assertEqual((cause.name, cause.final, cause.avoidable), ("outage", False, True))
        self.assertTrue(cause.advice.startswith("a restart of the server, or of a middlebox; or"))
        self.assertRegex(cause.finding, "^no connection was answered for 3.* s, after 1 connection")
        self.assertEqual(path.context.knowledge.pace, 0.0)

    def crowded(self, seconds: float = 20.0, again: bool = True) -> tuple[Path, Failed]:
        """A path that refuses everything for so long, since many connections were opened."""
        server = Ending(self.clock, seconds)
        server.most, server.again = MANY, again
        path = self.path(server)
        for _ in range(MANY):
            self.result(path.open())
            path.close()
        return path, self.failure(path.open())

    def test_after_many_connections_a_limit_a_second_is_likely_and_kept(self) -> None:
        path, failed = self.crowded()
        cause = self.explain(path, failed)
        self.assertEqual((cause.name, cause.avoidable), ("limit", True))
        self.assertRegex(cause.finding, "^no connection was answered for .* s, after 12 connection")
        self.assertIn("a limit of connections a second", cause.advice)
        self.assertAlmostEqual(path.context.knowledge.pace, 0.8 * MANY / 10)

    def test_what_shuts_once_alone_may_be_a_limit_of_bytes_or_a_restart(self) -> None:
        path, failed = self.crowded(again=False)
        cause = self.explain(path, failed)
        self.assertEqual((cause.name, cause.final, cause.avoidable), ("limit", False, True))
        self.assertIn("or one of bytes in a time; or a restart of the server", cause.advice)

    def test_a_known_limit_is_lowered(self) -> None:
        path = self.ended(3.0)
        path.context.knowledge.pace = 4.0
        cause = self.explain(path, self.failure(path.open()))
        self.assertEqual((cause.name, path.context.knowledge.pace), ("limit", 2.0))
        self.assertTrue(cause.advice.endswith("at a pace of 2 a second, so it takes longer"))

    def test_where_it_lasts_both_causes_are_named(self) -> None:
        path, failed = self.crowded(1e9)
        cause = self.explain(path, failed)
        self.assertEqual((cause.name, cause.final), ("outage", True))
        self.assertTrue(30.0 <= cause.facts["seconds"] < 45.0)
        self.assertIn("the server has ended", cause.advice)
        self.assertIn("a limit of connections a second", cause.advice)

    def test_what_answers_is_no_outage(self) -> None:
        path = self.path(MemoryServer())
        failed = Failed("the stream stopped", end="silence")
        self.assertIsNone(self.explain(path, failed))  # nothing was asked yet
        self.result(path.open())
        self.assertIsNone(self.explain(path, failed))

    def test_what_answers_wrongly_is_no_outage(self) -> None:
        class Babbling(MemoryServer):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                connection.answer(data if len(self.open) == 1 else b"HTTP/1.1 400 Bad Request")

        path = self.path(Babbling())
        self.result(path.open())
        self.assertIsNone(self.explain(path, Failed("no answer", end="silence")))

    def test_a_fault_of_bytes_is_no_outage(self) -> None:
        path = self.ended()
        failed = Failed("1 byte lost", fault=Fault(FaultKind.LOST, 7, 1))
        self.assertIsNone(self.explain(path, failed))
        cut = Failed("the stream stopped", fault=Fault(FaultKind.CUT, 7, 1), end="FIN")
        self.assertEqual(self.explain(path, cut).name, "outage")
