"""What a probe leaves in a queue has passed before the next one begins."""

from __future__ import annotations

from echosvc.probe.engine.path import Path
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

RATE = 100_000


class Queue(MemoryServer):
    """Answers at a rate, all connections together; a queue without end takes everything.

    :ivar dead: answers nothing any more.
    """

    window = 1 << 40
    dead = False

    def __init__(self) -> None:
        super().__init__()
        self.free = 0.0

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        now = connection.clock.seconds()
        for start in range(0, len(data), 10_000):
            piece = data[start : start + 10_000]
            self.free = max(self.free, now) + len(piece) / RATE
            connection.clock.callLater(self.free - now, self._answer, connection, piece)

    def _answer(self, connection: MemoryConnection, piece: bytes) -> None:
        if not self.dead:
            connection.answer(piece)


class BacklogTests(NetworkTestCase):
    def leave(self, path: Path, size: int) -> None:
        """Send a stream, read for two seconds, and go on to the next probe."""

        async def send() -> None:
            path.begin_probe()
            connection = await path.open()
            payload = path.payload(size, connection)
            connection.verifier(payload)
            connection.send(payload).addErrback(lambda _: None)
            until = self.clock.seconds() + 2.0
            while self.clock.seconds() < until:
                await connection.receive()
            path.close()

        self.result(send())

    def test_the_next_probe_waits_until_the_queue_is_empty(self) -> None:
        server = Queue()
        path = self.path(server)
        self.leave(path, 2_000_000)
        self.result(path.wait_for_backlog(failed=False))
        self.assertGreaterEqual(self.clock.seconds(), 2_000_000 / RATE)
        self.assertGreaterEqual(self.clock.seconds(), server.free)
        self.assertLess(self.clock.seconds(), server.free + 1)

    def test_after_a_failure_it_waits_for_a_few_time_outs_at_most(self) -> None:
        server = Queue()
        path = self.path(server, timeout=1.0)
        self.leave(path, 2_000_000)
        before = self.clock.seconds()
        self.result(path.wait_for_backlog(failed=True))
        self.assertAlmostEqual(self.clock.seconds() - before, 6.0, delta=1.0)

    def test_a_path_that_has_died_is_not_waited_for_longer_than_the_queue_needs(self) -> None:
        server = Queue()
        path = self.path(server, timeout=1.0)
        self.leave(path, 500_000)
        server.dead, before = True, self.clock.seconds()
        self.result(path.wait_for_backlog(failed=True))
        self.assertLess(self.clock.seconds() - before, 2 * 500_000 / RATE + 1.5)

    def test_a_short_queue_is_not_waited_for(self) -> None:
        path = self.path(Queue())
        self.leave(path, 210_000)
        before = self.clock.seconds()
        self.result(path.wait_for_backlog(failed=False))
        self.assertEqual(self.clock.seconds(), before)
