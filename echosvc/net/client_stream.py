"""A client's connection whose events go to its owner by one call, under any reactor.

Twisted connects, and passes the connection on. From then on its socket is a handler of
:mod:`echosvc.net.epoll`: a read costs one call, without the reactor's log context and lists. At the
end Twisted's transport closes the socket, so that its protocol and its endpoint see the end as
usual.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Any, Protocol

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from echosvc.net.attempts import TCPAttempt, UNIXAttempt
from echosvc.net.epoll import EPOLLIN, HAS_EPOLL, MORE, EpollDispatcher, EpollHandler
from echosvc.net.socket_options import tune

#: Bytes of one read: at first, and at most. CPython allocates the most that a read may return, and
#: shrinks it: for a long one that takes longer than the read of a short message. A read that was
#: filled is followed by longer ones.
READ_SIZE, MAX_READ_SIZE = 4096, 262144


class StreamOwner(Protocol):
    """What uses a stream."""

    def received(self, data: bytes) -> None:
        """Take what came, at least one byte."""

    def writable(self) -> None:
        """Send again: everything that was sent is in the kernel."""

    def eof_received(self) -> None:
        """Note the peer's FIN: nothing more will come."""

    def lost(self, error: BaseException | None) -> None:
        """Note the end of the connection.

        :param error: why it broke; ``None``: both sides have finished.
        """


def can_take_over(transport: object) -> bool:
    """Return whether a transport is bare TCP or UNIX of a client, on a system with epoll."""
    return HAS_EPOLL and type(transport) in (TCPAttempt, UNIXAttempt)


def _do_nothing() -> None:
    """Handle an event of a transport whose socket is another one's."""


class ClientStream(EpollHandler):
    """A connection that was taken over from Twisted.

    :param transport: :func:`can_take_over` returns true of it, and its connection is made.
    :param dispatcher: dispatches its events: a lean reactor or a group of :mod:`echosvc.net.epoll`.
    :ivar owner: what its events go to.
    :ivar socket: its socket; it is open until the owner was notified of the end.
    :ivar takes: whether :meth:`send` may be called: nothing waits for the kernel.
    """

    owner: StreamOwner

    def __init__(self, transport: Any, dispatcher: EpollDispatcher) -> None:
        transport.doWrite()  # what was queued when the connection was made: a PROXY header
        transport.stopReading()
        transport.stopWriting()
        # The event that made the connection may be of writing, too. Twisted would write nothing
        # next, and close the socket below the stream where the peer has reset it meanwhile.
        transport.doRead = transport.doWrite = _do_nothing
        self._transport, self.reactor = transport, dispatcher
        self.socket: Any = transport.socket
        tune(self.socket, nagle=False, keep_alive=0, stall=0.0)
        self.connected, self.interest = True, EPOLLIN
        self.takes, self._finishing, self._read_size = True, False, READ_SIZE
        self._rest: deque[memoryview] = deque()
        dispatcher.register(self.socket.fileno(), self)

    def logPrefix(self) -> str:
        """Return the name of its events in Twisted's log."""
        return type(self).__name__

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self.socket.fileno() if self.connected else -1

    # -- receiving ------------------------------------------------------------

    def doRead(self) -> Any:
        """Read once, and pass the data or EOF to the owner."""
        size = self._read_size
        try:
            data = self.socket.recv(size)
        except BlockingIOError:
            return None
        except OSError as error:
            self._end(error)
            return None
        if not data:
            self._eof_received()
            return None
        self.owner.received(data)
        if len(data) < size:
            return None
        self._read_size = min(4 * size, MAX_READ_SIZE)
        return MORE

    def _eof_received(self) -> None:
        self.stopReading()
        self.owner.eof_received()

    def readConnectionLost(self, reason: Failure) -> None:  # noqa: ARG002 (a hang-up without data)
        """Handle a hang-up: read once more, for EOF or the error."""
        self.doRead()

    # -- sending --------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send; what the kernel does not take now is kept, and :attr:`takes` becomes false."""
        try:
            taken = self.socket.send(data)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._end(error)
            return
        if taken < len(data):
            self._rest.append(memoryview(data)[taken:])
            self.takes = False
            self.startWriting()

    def doWrite(self) -> Any:
        """Send what is kept, and notify the owner when all of it is sent."""
        while self._rest and self.connected:
            data = self._rest.popleft()
            try:
                taken = self.socket.send(data)
            except BlockingIOError:
                taken = 0
            except OSError as error:
                self._end(error)
                return
            if taken < len(data):
                self._rest.appendleft(data[taken:])
                return
        self._all_sent()

    def _all_sent(self) -> None:
        if not self.connected:
            return
        self.stopWriting()
        self.takes = True
        if self._finishing:
            self._send_fin()
        else:
            self.owner.writable()

    # -- ending ---------------------------------------------------------------

    def finish(self) -> None:
        """Send FIN, once everything is sent."""
        self._finishing = True
        if self.takes:
            self._send_fin()

    def _send_fin(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._end(error)

    def close(self) -> None:
        """Close, and notify nobody."""
        self._close(Failure(ConnectionDone()))

    def abort(self) -> None:
        """Reset the connection, and notify nobody."""
        self._close(Failure(ConnectionAborted()))

    def connectionLost(self, reason: Failure) -> None:
        """Close, because the reactor stops or an event could not be handled."""
        self._end(reason.value)

    def _end(self, error: BaseException | None) -> None:
        """Notify the owner of an error, and close; meanwhile the kernel may be asked about it."""
        if not self.connected:
            return
        self._stop()
        try:
            self.owner.lost(error)
        finally:
            self._transport.connectionLost(Failure(ConnectionLost()))

    def _close(self, reason: Failure) -> None:
        if self.connected:
            self._stop()
            self._transport.connectionLost(reason)

    def _stop(self) -> None:
        self.reactor.unregister(self.socket.fileno(), self.interest)
        self.connected, self.takes = False, False
        self._rest.clear()
