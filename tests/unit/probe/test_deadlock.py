"""A deadlock of two full directions is told from a server that stops, and from a limit."""

from __future__ import annotations

from typing import Any

from echosvc.probe.causes.deadlock import FEW, explain_by_deadlock
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import Failed
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

HELD = 200_000


class Blind(MemoryServer):
    """Stops once it holds too many answers that are not read."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        super().received(connection, data)
        if connection.unread > HELD:
            connection.stop()


class Narrow(MemoryServer):
    """Stops once more is on its way than a terminal holds."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        super().received(connection, data)
        if connection.unread > 4096 + 200:
            connection.stop()


class Stopping(MemoryServer):
    """Stops after a number of bytes."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        super().received(connection, data)
        if connection.taken > HELD:
            connection.stop()


class Ending(MemoryServer):
    """Ends after a number of bytes."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        super().received(connection, data)
        if connection.taken > HELD:
            connection.cut()


def stopped(size: int = 1 << 20, stall: str = "not read", end: str = "silence") -> Failed:
    """What a probe meets whose stream stops in the middle."""
    fault = Fault(FaultKind.CUT, size // 2, size - size // 2)
    return Failed("the stream stopped", fault=fault, facts={"tcp": {"stall": stall}}, end=end)


class DeadlockTests(NetworkTestCase):
    def explain(self, server: MemoryServer, failed: Failed) -> Any:
        return self.result(explain_by_deadlock(self.path(server), failed))

    def test_what_carries_by_turns_and_stops_when_full_is_a_deadlock(self) -> None:
        path = self.path(Blind())
        cause = self.result(explain_by_deadlock(path, stopped()))
        self.assertEqual(cause.name, "deadlock")
        self.assertRegex(cause.finding, "neither takes nor gives while both directions are full")
        self.assertGreater(cause.facts["taken"], HELD)
        self.assertEqual(path.context.knowledge.deadlock_size, cause.facts["taken"])
        self.assertEqual(path.context.knowledge.max_segment, 0)
        path.close()
        now = self.clock.seconds()
        self.assertEqual(self.result(explain_by_deadlock(path, stopped())), cause)
        self.assertEqual(self.clock.seconds(), now)  # it is not asked again

    def test_a_path_that_stops_with_few_bytes_too_is_asked_with_fewer(self) -> None:
        cause = self.explain(Narrow(), stopped())
        self.assertEqual(cause.name, "deadlock")
        self.assertRegex(cause.finding, "if no more than 4 KiB are on their way")

    def test_a_server_that_stops_after_a_number_of_bytes_is_none(self) -> None:
        self.assertIsNone(self.explain(Stopping(), stopped()))

    def test_a_connection_that_ends_is_none(self) -> None:
        self.assertIsNone(self.explain(Ending(), stopped()))

    def test_a_stream_that_fits_into_buffers_is_none(self) -> None:
        self.assertIsNone(self.explain(Blind(), stopped(FEW)))

    def test_where_packets_are_dropped_or_an_end_came_it_is_none(self) -> None:
        self.assertIsNone(self.explain(Blind(), stopped(stall="dropped")))
        self.assertIsNone(self.explain(Blind(), stopped(end="FIN")))
        self.assertIsNone(self.explain(Blind(), Failed("no answer", end="silence")))

    def test_a_limit_of_bytes_that_is_known_explains_it(self) -> None:
        path = self.path(Blind())
        path.context.knowledge.volume = 100_000
        self.assertIsNone(self.result(explain_by_deadlock(path, stopped())))
