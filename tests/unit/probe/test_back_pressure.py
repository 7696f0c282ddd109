"""A path that takes no bytes any more is told from one that has no processor for a while."""

from __future__ import annotations

from echosvc.probe.checks import back_pressure
from echosvc.probe.checks.back_pressure import BLOCKED_TIME, _UnreadSender
from echosvc.probe.settings import MIB
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase


class Resting(MemoryServer):
    """Takes everything, answers what is small, and rests once.

    :param at: after so many bytes.
    :param seconds: for how long.
    """

    def __init__(self, at: int, seconds: float) -> None:
        super().__init__()
        self._at, self._seconds, self.rested = at, seconds, False

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        if len(data) < 1000:
            connection.answer(data)
        if connection.taken > self._at and not self.rested:
            self.rested = True
            connection.stop()
            connection.clock.callLater(self._seconds, connection.go_on)


class UnreadSenderTests(NetworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(back_pressure, "MAX_UNREAD", 16 * MIB)
        self.patch(back_pressure, "MAX_KERNELS", 4 * MIB)

    def sent(self, server: MemoryServer) -> int:
        path = self.path(server)

        async def send() -> int:
            connection = await path.open()
            payload = path.payload(16 * MIB, connection, limited=False)
            return await _UnreadSender(path, connection, payload).run()

        sent: int = self.result(send())
        path.close()
        return sent

    def test_a_path_that_rests_after_more_than_kernels_hold_is_waited_for(self) -> None:
        self.assertEqual(self.sent(Resting(6 * MIB, 3 * BLOCKED_TIME)), 16 * MIB)

    def test_a_path_that_takes_nothing_any_more_is_not(self) -> None:
        self.assertLess(self.sent(Resting(6 * MIB, 1000.0)), 8 * MIB)
        self.assertLess(self.sent(Resting(MIB, 3 * BLOCKED_TIME)), 3 * MIB)
