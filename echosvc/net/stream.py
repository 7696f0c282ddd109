"""A connection as our listeners make it: Twisted's, without what only its log needs.

Twisted's ``Server`` composes three strings for each connection that comes, looks up
interfaces of what it knows, and closes in five calls of the kernel: a third of what a
connection of one message costs. :class:`Stream` is one, for TCP and for UNIX sockets, in
everything else: TLS can be started on it, producers registered.

A read that is answered at once is neither made an object nor joined with its prefix. The
prefix stands in a buffer that many connections share, :class:`Replies`; the kernel writes
what it has behind it, and the reply is the buffer's beginning. That saves 0.2 of the 5.3 µs
of a message of 64 bytes: CPython neither allocates the most that one read may return nor
shrinks it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
)
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure

from echosvc.net.addresses import format_address, make_address
from echosvc.net.epoll import EPOLLIN, Batches, Member

_DONE = Failure(ConnectionDone())
_RESET = struct.pack("ii", 1, 0)  # linger, for no time: a close is then a reset


def reset_at_close(handle: socket.SocketType) -> None:
    """Have a socket reset its connection when it is closed (socket(7), SO_LINGER)."""
    with suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class Stream(Member, tcp.Server):
    """An accepted connection.

    :param handle: its socket, non-blocking.
    :param protocol: who is told.
    :param peer: the client's address.
    :param reactor: who tells of events: a lean reactor or a :class:`~echosvc.net.epoll.Group`.
    :ivar replies: where the stream answers by itself what it reads. It is counted in
        ``bytes_in`` and ``messages`` of its protocol, whose ``send_rest`` gets what the kernel
        did not take: one function for reading, answering and sending is 2 % of a message.
        ``None``: the protocol does it; so it does, at any time, what is not simple.
    :ivar peer: the client's address; a proxy may say another.
    :ivar tuned: it has its socket's options from its listener.
    :ivar host: our own, where a proxy says another than the socket.
    """

    host: IAddress | None = None
    tuned = False
    #: Upstream's list of what waits; most connections never need one of their own.
    _tempDataBuffer: Any = ()

    def __init__(
        self,
        handle: socket.SocketType,
        protocol: IProtocol,
        peer: IAddress,
        reactor: Batches,
    ) -> None:
        self.socket: Any = handle
        self.reactor: Any = reactor
        self._protocol: Any = protocol
        self.replies: Replies | None = None
        self.peer = peer
        self.connected, self.interest = 1, EPOLLIN
        self._tempDataLen = 0
        # What every message asks for: to find it in the class takes CPython 3.11 longer.
        self.TLS, self.dataBuffer, self.bufferSize = False, b"", READ
        reactor.enter(handle.fileno(), self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {format_address(self.peer)}>"

    @property
    def protocol(self) -> Any:
        """Who is told. Another one is told of everything, until it has its own replies made."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: IProtocol) -> None:
        self._protocol, self.replies = protocol, None

    def logPrefix(self) -> str:
        """What Twisted's log calls it."""
        return repr(self)

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self.socket.fileno() if self.connected else -1

    def doRead(self) -> Any:
        """Read once and answer, or have the protocol do it."""
        replies = self.replies
        if replies is None or self.dataBuffer or self._tempDataLen:
            return self._read()
        try:
            size = self.socket.recv_into(replies.room)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not size:
            return self._pass_on(b"")
        reply = replies.kept[size] if size < KEPT else None
        if reply is None:
            reply = replies.to(size)
        try:
            taken = self.socket.send(reply)
        except OSError:  # the protocol's sending will meet it again
            return self._pass_on(bytes(replies.room[:size]))
        protocol = self._protocol
        protocol.bytes_in += size
        protocol.messages += 1
        if taken < len(reply):
            protocol.send_rest(bytes(reply[taken:]))
        return None

    def _read(self) -> Any:
        """Read once; the peer's FIN is told at once."""
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        return self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        """Tell the protocol what came; ``b""`` is the peer's FIN."""
        if data:
            self._protocol.dataReceived(data)
            return
        self.readConnectionLost(_DONE)
        if self.connected:
            self.stopReading()

    def write(self, data: bytes) -> None:
        """Queue ``data``."""
        self._tempDataBuffer = self._tempDataBuffer or []
        tcp.Server.write(self, data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Queue all of them."""
        self._tempDataBuffer = self._tempDataBuffer or []
        tcp.Server.writeSequence(self, iovec)

    def startTLS(self, *arguments: Any, **named: Any) -> None:
        """As Twisted's. From here on only ciphertext is for the socket."""
        self.replies, self._tempDataBuffer = None, list(self._tempDataBuffer)
        cast(Any, super()).startTLS(*arguments, **named)

    def doWrite(self) -> Any:
        """Send what waits; nothing, where the same event had us read the end before."""
        return tcp.Server.doWrite(self) if self.connected else None

    def readConnectionLost(self, reason: Failure) -> None:
        """Tell of the peer's FIN, or where nobody wants to know end."""
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        else:
            self.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        """Close, and say so.

        An aborted connection is reset, and so is one that an error ends: a FIN would tell
        the peer that it has everything.
        """
        if not self.connected:
            return
        handle, protocol, producer = self.socket, self._protocol, self.producer
        self.reactor.leave(handle.fileno(), self.interest)
        self.connected, self.disconnected = 0, 1
        self._protocol = None
        del self.socket
        if producer is not None:
            self.producer = None
            producer.stopProducing()
        if not isinstance(reason.value, ConnectionDone):
            reset_at_close(handle)
        handle.close()  # which is its FIN: no child has the descriptor, too
        protocol.connectionLost(reason)

    def getHost(self) -> IAddress:
        """Our address."""
        return self.host or make_address(self.socket.getsockname())

    def getPeer(self) -> IAddress:
        """The client's address, also when it has gone."""
        return self.peer


class TunedStream(Stream):
    """One whose socket has its options from its listener."""

    tuned = True


#: The most that one read takes, bytes. With its prefix the reply still fits the largest
#: segment (64 KiB with its headers): of a reply with four bytes more, these would go alone,
#: at the price of a whole one. Measured: a stream costs 0.6 of what reads of 64 KiB cost.
READ = 61440


#: Replies to shorter reads are kept once they were made, 200 bytes each. No peer can
#: have more of them made.
KEPT = 2048


class Replies:
    """A prefix, and room behind it for one read at a time.

    :param head: the prefix of all replies.
    :ivar room: where to read to.
    :ivar kept: the replies to reads of less than :data:`KEPT` bytes, where they were made.
    """

    __slots__ = ("_whole", "head", "kept", "room")

    def __init__(self, head: bytes) -> None:
        self.head = head
        self._whole = memoryview(bytearray(head + bytes(READ)))
        self.room = self._whole[len(head) :]
        self.kept: list[memoryview | None] = [None] * KEPT

    def to(self, size: int) -> memoryview:
        """Give the reply to what was read just now: so many bytes of :attr:`room`."""
        reply = self._whole[: len(self.head) + size]
        if size < KEPT:
            self.kept[size] = reply
        return reply
