"""A limit of bytes is told from one of age, by the same bytes sent slowly."""

from __future__ import annotations

from typing import Any

from echosvc.probe.causes.volume import explain_by_volume
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.tcp_info import Stall
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

#: Bytes of a long message: it is acknowledged with what answers it.
LONG = 10_000


class Limited(MemoryServer):
    """Gives so many bytes of answers, then FIN, or nothing."""

    def __init__(self, most: int, mute: bool = False) -> None:
        super().__init__()
        self.most, self.mute = most, mute

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        before = connection.taken - len(data)
        connection.answer(data[: max(0, self.most - before)])
        if before < self.most <= connection.taken and not self.mute:
            connection.finish()


class CountingPackets(MemoryServer):
    """Ends a connection once it has carried so many packets, both directions together.

    What is written while much else is on its way is acknowledged less often.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most, self._counts = most, dict[MemoryConnection, float]()

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        for start in range(0, len(data), connection.segment):
            piece = data[start : start + connection.segment]
            each = 2.0 if len(data) > LONG else 2.5
            count = self._counts[connection] = self._counts.get(connection, 0.0) + each
            if count > self._most:
                connection.finish()
                return
            connection.answer(piece)


class Aged(MemoryServer):
    """Ends connections at an age."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def connected(self, connection: MemoryConnection) -> None:
        connection.clock.callLater(self.seconds, connection.cut)


class VolumeTests(NetworkTestCase):
    def cut(self, path: Path, size: int) -> Failed:
        """What a probe meets whose stream is cut."""

        async def exchange() -> None:
            connection = await path.open()
            await connection.exchange(path.payload(size, connection))

        failed = self.failure(exchange())
        path.close()
        return failed

    def explain(self, path: Path, failed: Failed) -> Any:
        return self.result(explain_by_volume(path, failed))

    def test_a_limit_is_found_whatever_ends_the_connection(self) -> None:
        for most, mute, end in (
            (100_000, False, "FIN"),
            (300, False, "FIN"),
            (5000, True, "silence"),
        ):
            path = self.path(Limited(most, mute))
            cause = self.explain(path, self.cut(path, 4 * most))
            self.assertEqual((cause.name, cause.avoidable), ("volume", True))
            self.assertEqual(cause.facts, {"volume_bytes": most})
            self.assertRegex(
                cause.finding, f"^connections end by {end} after .*, sent fast or slow"
            )
            self.assertLess(path.settings.max_size, most / 2)
            again = self.explain(path, Failed("cut", end="FIN"))
            self.assertRegex(again.finding, "^connections end after")

    def test_who_is_silent_is_told_as_far_as_the_kernel_knew(self) -> None:
        for stall, says in (
            (Stall.DROPPED, "a firewall drops the packets"),
            (Stall.NOT_READ, "the next hop, a proxy or the server, reads no more"),
            (Stall.TAKEN, "the next hop has acknowledged everything"),
            (Stall.SENDING, "a middlebox, or the server, ends connections"),
        ):
            path = self.path(Limited(5000, mute=True))
            failed = self.cut(path, 20_000)
            failed.facts["tcp"] = {"stall": stall.value}
            self.assertIn(says, self.explain(path, failed).advice)

    def test_an_end_that_came_is_no_drop_of_packets(self) -> None:
        path = self.path(Limited(5000))
        failed = self.cut(path, 20_000)
        failed.facts["tcp"] = {"stall": Stall.DROPPED.value}
        self.assertNotIn("drops", self.explain(path, failed).advice)

    def test_a_limit_of_packets_is_called_that(self) -> None:
        path = self.path(CountingPackets(200))
        cause = self.explain(path, self.cut(path, 400_000))
        self.assertEqual((cause.name, cause.avoidable), ("volume", True))
        self.assertRegex(
            cause.finding, "^connections end by FIN after so many packets.* messages of 1 byte$"
        )
        self.assertLess(cause.facts["short_bytes"], cause.facts["volume_bytes"] / 4)

    def test_a_power_of_two_is_called_that(self) -> None:
        path = self.path(Limited(65536 - 40))
        self.assertIn(
            "after 64 KiB, sent fast or slowly", self.explain(path, self.cut(path, 200_000)).finding
        )

    def test_a_limit_of_age_is_none_of_bytes(self) -> None:
        path = self.path(Aged(0.5), delay=0.02)
        self.assertIsNone(self.explain(path, self.cut(path, 4 << 20)))
        self.assertIsNone(path.context.knowledge.volume)

    def test_a_cut_that_does_not_come_again_is_none(self) -> None:
        path = self.path(MemoryServer())
        failed = self.cut(self.path(Limited(5000)), 20_000)
        self.assertIsNone(self.explain(path, failed))

    def test_what_was_not_cut_is_none(self) -> None:
        path = self.path(Limited(5000))
        self.assertIsNone(self.explain(path, Failed("7 bytes lost")))
        self.assertIsNone(self.explain(path, Failed("no answer", end="silence")))
