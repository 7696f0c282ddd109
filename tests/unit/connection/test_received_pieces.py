"""What a client has received waits for it, piece by piece; its size is known without counting."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.client import EchoClient, EchoClientFactory
from echosvc.connection.sender import HIGH_WATER
from tests.support.memory_network import SEGMENT, MemoryConnection, MemoryServer


class Piece(bytes):
    """A piece that counts how often its size is asked for."""

    asked = 0

    def __len__(self) -> int:
        Piece.asked += 1
        return super().__len__()


class ReceivedPiecesTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock, server = Clock(), MemoryServer()
        factory = EchoClientFactory(clock=clock)
        client = factory.buildProtocol(None)
        assert isinstance(client, EchoClient)
        self.client, Piece.asked = client, 0
        self.connection = MemoryConnection(clock, client, server, SEGMENT, 0.0)
        server.open.append(self.connection)
        client.makeConnection(self.connection)

    def test_each_of_many_small_pieces_costs_the_same(self) -> None:
        count = 2000
        for _ in range(count):
            self.client.dataReceived(Piece(b"x"))
        for _ in range(count):
            self.assertEqual(self.successResultOf(self.client.receive()), b"x")
        self.assertLessEqual(Piece.asked, 5 * count)

    def test_nothing_more_is_read_while_64_kib_wait_and_it_is_once_fewer_do(self) -> None:
        reads: list[bool] = []
        self.patch(self.connection, "pauseProducing", lambda: reads.append(False))
        self.patch(self.connection, "resumeProducing", lambda: reads.append(True))
        self.client.dataReceived(bytes(HIGH_WATER - 1))
        self.assertEqual(reads, [])
        self.client.dataReceived(b"1")
        self.assertEqual(reads, [False])
        self.successResultOf(self.client.receive())
        self.assertEqual(reads, [False, True])

    def test_waiting_receivers_are_served_in_their_order(self) -> None:
        first, second = self.client.receive(), self.client.receive()
        self.client.dataReceived(b"1")
        self.assertEqual(self.successResultOf(first), b"1")
        second.cancel()
        self.failureResultOf(second)
        self.client.dataReceived(b"2")
        self.assertEqual(self.successResultOf(self.client.receive()), b"2")
