"""Accepted connections over real sockets, whose reactor a test turns by itself."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from echosvc.net.addresses import make_address
from echosvc.net.reactor import LeanReactor
from echosvc.net.stream import RECV_SIZE, Stream
from tests.support.listening import Listening
from tests.support.waiting import LIMIT


@implementer(IHalfCloseableProtocol)
class Halving(Listening):
    """Is told of the end of one direction."""

    ended = False

    def readConnectionLost(self) -> None:
        self.ended = True

    def writeConnectionLost(self) -> None:
        pass


class StreamTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = LeanReactor()
        self.addCleanup(self.close)

    def close(self) -> None:
        for selectable in self.reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionDone()))
        self.reactor._poller.close()

    def made(self, kind: Callable[[], Any] = Listening) -> tuple[socket.socket, Stream]:
        """A client's socket, and the server's end of its connection."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname(), LIMIT)
            handle, name = listener.accept()
        self.addCleanup(client.close)
        handle.setblocking(False)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * RECV_SIZE)
        stream = Stream(handle, kind(), make_address(name), self.reactor)
        stream.protocol.makeConnection(stream)
        self.addCleanup(stream.connectionLost, Failure(ConnectionDone()))
        return client, stream

    def wait_for(self, stream: Stream, size: int) -> None:
        """Wait until so many bytes can be read at once."""
        end = time.monotonic() + LIMIT
        while len(stream.socket.recv(2 * size, socket.MSG_PEEK)) < size:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.001)

    def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + LIMIT
        while not true():
            self.assertLess(time.monotonic(), end)
            self.reactor.iterate(0.01)
