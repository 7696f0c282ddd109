"""Transports in memory that record what they are told."""

from __future__ import annotations

import contextlib
import os
import socket

from twisted.internet import unix
from twisted.internet.interfaces import IProtocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport


class _ManualReactor(SelectReactor):
    """Sockets are real, time is a clock's."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.callLater = clock.callLater
        self.seconds = clock.seconds


class Line:
    """A protocol at one end of a socket pair; the test is the other end.

    :param send_buffer: SO_SNDBUF of the protocol's end, which the kernel doubles.
    """

    def __init__(self, protocol: IProtocol, clock: Clock | None = None, send_buffer: int = 0):
        self.clock = clock or Clock()
        self.reactor = _ManualReactor(self.clock)
        self._ours, self.peer = socket.socketpair()
        for end in (self._ours, self.peer):
            end.setblocking(False)
        if send_buffer:
            self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.transport = unix.Server(self._ours, protocol, b"", None, 1, self.reactor)
        protocol.makeConnection(self.transport)

    def turn(self, times: int = 1) -> None:
        """Let the reactor handle what is ready, once or more."""
        for _ in range(times):
            self.clock.advance(0)
            self.reactor.doIteration(0)
        self.clock.advance(0)

    def wait(self, seconds: float) -> None:
        """Let time pass, as on a reactor that is never late."""
        end = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and calls[0].getTime() <= end:
            self.clock.advance(max(0.0, calls[0].getTime() - self.clock.seconds()))
            self.turn()
        self.clock.advance(max(0.0, end - self.clock.seconds()))
        self.turn()

    def receive(self) -> bytes:
        """What the peer can read now."""
        pieces = []
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while piece := self.peer.recv(1 << 20):
                pieces.append(piece)
        return b"".join(pieces)

    def receive_all(self) -> bytes:
        """What the peer reads until nothing more comes, however slowly it reads."""
        pieces, quiet = [], 0
        while quiet < 3:
            pieces.append(self.receive())
            quiet = 0 if pieces[-1] else quiet + 1
            self.turn()
        return b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Send all of it, and let it be read; it must fit."""
        while data:
            data = data[self.peer.send(data) :]
            self.turn()

    def offer(self, data: bytes, give_up: int = 5) -> int:
        """Send until it is not read any more; give how much was sent."""
        sent = refused = 0
        while sent < len(data) and refused < give_up:
            try:
                sent += self.peer.send(data[sent : sent + 65536])
                refused = 0
            except BlockingIOError:
                refused += 1
            self.turn()
        return sent

    def finish(self) -> None:
        """The peer's FIN."""
        self.peer.shutdown(socket.SHUT_WR)
        self.turn()

    def at_end(self) -> bool:
        """Return whether the peer sees our FIN next."""
        try:
            return self.peer.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Free everything."""
        self.peer.close()
        self._ours.close()
        self.reactor.removeAll()
        for end in (self.reactor.waker.i, self.reactor.waker.o):
            os.close(end)


class Below(StringTransport):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def loseWriteConnection(self) -> None:
        self.asked.append("half-close")

    def loseConnection(self) -> None:
        self.asked.append("close")

    def abortConnection(self) -> None:
        self.asked.append("abort")
