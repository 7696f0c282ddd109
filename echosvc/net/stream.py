"""An accepted connection: Twisted's, without what only Twisted's log needs.

Twisted's ``Server`` formats three strings for each connection, looks up interfaces of classes
that are known, and closes in five system calls: a third of the cost of a connection of one
message. :class:`Stream` behaves like it in everything else, for TCP and UNIX sockets: TLS can be
started on it and producers registered.

On the fast path the stream replies by itself. It reads into a :class:`ReplyBuffer` that many
connections share, right behind the prefix, and sends the beginning of that buffer. No object is
made for the bytes that were read, and they are not joined with the prefix. That saves 0.2 of the
5.3 µs of a message of 64 bytes: CPython neither allocates the most that one read may return nor
shrinks it afterwards.
"""

from __future__ import annotations

import mmap
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
from echosvc.net.epoll import EPOLLIN, MORE, EpollDispatcher, EpollHandler

#: The most that one reply carries, bytes. With its prefix it still fits the largest segment (64 KiB
#: with its headers). The last bytes of a longer reply would go in a segment of their own, at the
#: price of a whole one. Measured over a stream: reads of 60 KiB take 40 % less time than reads of
#: 64 KiB. A chunk, which the client sees between two prefixes, is never above 64 KiB, as with Node.
#:
#: As ``bufferSize`` it is also the high-water mark of Twisted: with more than this in the queue of
#: an accepted connection, reading stops.
RECV_SIZE = 61440
#: So many full reads are answered for one event: 1 MiB, which takes 0.4 ms. Then other connections
#: are served. libuv, below Node, reads 2 MiB.
MAX_LONG_READS = 16

#: Views of replies to shorter reads are cached, 200 bytes each. The cache cannot grow beyond
#: this many, whatever peers send.
CACHED_SIZES = 2048
_DONE = Failure(ConnectionDone())
_RESET = struct.pack("ii", 1, 0)  # linger for 0 s: close() then resets


def reset_on_close(handle: socket.SocketType) -> None:
    """Make close() of this socket reset the connection (socket(7), SO_LINGER)."""
    with suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class ReplyBuffer:
    """A prefix and space for one read behind it, so that what is read is a reply.

    :param prefix: the prefix of all replies.
    :ivar recv_view: the space to read into.
    :ivar long_reply: the reply to a read that filled it.
    :ivar cached_views: by the size of a read, views of the replies that were made so far; only for
        sizes below :data:`CACHED_SIZES`.
    """

    __slots__ = ("cached_views", "long_reply", "prefix", "recv_view")

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.long_reply = _allocate(len(prefix), len(prefix) + RECV_SIZE)
        self.long_reply[: len(prefix)] = prefix
        self.recv_view = self.long_reply[len(prefix) :]
        self.cached_views: list[memoryview | None] = [None] * CACHED_SIZES

    def view(self, size: int) -> memoryview:
        """Return the reply to a read of ``size`` bytes: the prefix and these bytes."""
        reply = self.long_reply[: len(self.prefix) + size]
        if size < CACHED_SIZES:
            self.cached_views[size] = reply
        return reply


def _allocate(prefix: int, size: int) -> memoryview:
    """Return ``size`` bytes of memory, in which what follows the prefix begins in mid-page.

    The kernel of x86-64 copies with ``rep movsb``. Some processors compare only the offsets in a
    page to find out whether a load depends on an earlier store. There a copy to an offset that is 1
    to 15 bytes behind that of its source takes ten times as long (measured on AMD EPYC). The kernel
    stores a stream from the start of a page on, so behind a short prefix at the start of a page is
    the worst place for what is read.
    """
    start = (-prefix) % mmap.PAGESIZE + mmap.PAGESIZE // 2
    memory = memoryview(mmap.mmap(-1, start + size, access=mmap.ACCESS_COPY))
    return memory[start:]


class Stream(EpollHandler, tcp.Server):
    """An accepted connection.

    :param handle: its socket, non-blocking.
    :param protocol: the protocol that receives the data.
    :param peer: the client's address.
    :param reactor: dispatches its events: a lean reactor or a group of :mod:`echosvc.net.epoll`.
    :ivar replies: the buffer with which the stream replies by itself: the fast path. It counts in
        ``fast_bytes`` and ``fast_messages`` of its protocol, and calls ``send_remainder`` with what
        the kernel did not accept. One function for reading, replying and sending saves 2 % of the
        time per message. ``None``: the protocol receives what is read, as it does while data is
        queued.
    :ivar peer: the client's address, which a PROXY header may replace.
    :ivar options_inherited: the socket has inherited its options from the listener.
    :ivar host: the local address from a PROXY header; ``None`` = the socket's own.
    """

    host: IAddress | None = None
    options_inherited = False
    TLS = False
    bufferSize = RECV_SIZE
    streamingProducer = True
    disconnected: Any = property(lambda self: not self.connected)
    #: Twisted's list of queued data; most connections never need a list of their own.
    _tempDataBuffer: Any = ()

    def __init__(
        self,
        handle: socket.SocketType,
        protocol: IProtocol,
        peer: IAddress,
        reactor: EpollDispatcher,
    ) -> None:
        self.socket: Any = handle
        self.reactor: Any = reactor
        self._protocol: Any = protocol
        self.replies: ReplyBuffer | None = None
        self.peer = peer
        self.connected, self.interest = 1, EPOLLIN
        self._tempDataLen = 0
        # Used for every message. CPython 3.11 looks up instance attributes faster than those of
        # a class. All else that Twisted has in an instance is an attribute of the class: an idle
        # connection holds 8 bytes for each.
        self.dataBuffer = b""
        reactor.register(handle.fileno(), self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {format_address(self.peer)}>"

    @property
    def protocol(self) -> Any:
        """The protocol. Setting it turns the fast path off until the new protocol enables it."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: IProtocol) -> None:
        self._protocol, self.replies = protocol, None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Register a producer of data, which is paused while too much is queued."""
        if streaming and self.streamingProducer and self.connected and self.producer is None:
            self.producer = producer
        else:
            tcp.Server.registerProducer(self, producer, streaming)

    def logPrefix(self) -> str:
        """Return its name for Twisted's log."""
        return repr(self)

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self.socket.fileno() if self.connected else -1

    def doRead(self) -> Any:
        """Read once, and reply or pass the data to the protocol."""
        replies = self.replies
        if replies is None or self.dataBuffer or self._tempDataLen:
            return self._read()
        try:
            size = self.socket.recv_into(replies.recv_view)
        except OSError as error:
            return _after_error(error)
        if not size:
            return self._deliver(b"")
        if size == RECV_SIZE:
            return self._read_long(replies)
        reply = replies.cached_views[size] if size < CACHED_SIZES else None
        if reply is None:
            reply = replies.view(size)
        try:
            taken = self.socket.send(reply)
        except OSError:  # the protocol meets the error again when it sends
            return self._deliver(bytes(replies.recv_view[:size]))
        protocol = self._protocol
        protocol.fast_bytes += size
        protocol.fast_messages += 1
        if taken < len(reply):
            protocol.send_remainder(bytes(reply[taken:]))
        return None

    def _read_long(self, replies: ReplyBuffer) -> Any:
        """Reply to a read that filled the space, and read and reply on without an event.

        It ends with a read that does not fill the space, or with a reply of which the kernel takes
        a part. An EOF stays in the socket for the next event.
        """
        recv_into, space, reply = self.socket.recv_into, replies.recv_view, replies.long_reply
        for _ in range(MAX_LONG_READS):
            if not self._send_long(reply, RECV_SIZE):
                return None
            try:
                size = recv_into(space)
            except OSError as error:
                return _after_error(error)
            if size != RECV_SIZE:
                if size:
                    self._send_long(replies.view(size), size)
                return None
        self._send_long(reply, RECV_SIZE)
        return MORE

    def _send_long(self, reply: memoryview, size: int) -> bool:
        """Send the reply to ``size`` bytes; return whether the kernel took all of it."""
        try:
            taken = self.socket.send(reply)
        except OSError:  # the protocol meets the error again when it sends
            taken = 0
        protocol = self._protocol
        protocol.fast_bytes += size
        protocol.fast_messages += 1
        if taken == len(reply):
            return True
        protocol.send_remainder(bytes(reply[taken:]))
        return False

    def _read(self) -> Any:
        """Read once, and pass the data or EOF to the protocol."""
        try:
            data = self.socket.recv(self.bufferSize)
        except OSError as error:
            return _after_error(error)
        return self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        """Pass data to the protocol; ``b""`` is EOF."""
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
        """Queue several pieces of data."""
        self._tempDataBuffer = self._tempDataBuffer or []
        tcp.Server.writeSequence(self, iovec)

    def startTLS(self, *arguments: Any, **named: Any) -> None:
        """Start TLS as Twisted's does, and end the fast path: it would send plain text."""
        self.replies, self._tempDataBuffer = None, list(self._tempDataBuffer)
        cast(Any, super()).startTLS(*arguments, **named)

    def doWrite(self) -> Any:
        """Send queued data, unless reading for the same event has closed the connection."""
        return tcp.Server.doWrite(self) if self.connected else None

    def readConnectionLost(self, reason: Failure) -> None:
        """Notify the protocol of EOF; if it is not half-closeable, close."""
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        else:
            self.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        """Close, and notify the protocol.

        After an abort or an error the connection is reset: a FIN would mean to the peer that it
        has received everything.
        """
        if not self.connected:
            return
        handle, protocol, producer = self.socket, self._protocol, self.producer
        self.reactor.unregister(handle.fileno(), self.interest)
        self.connected = 0
        self._protocol = None
        del self.socket
        if producer is not None:
            self.producer = None
            producer.stopProducing()
        if not isinstance(reason.value, ConnectionDone):
            reset_on_close(handle)
        handle.close()  # sends FIN: the descriptor is close-on-exec, so no child holds it
        protocol.connectionLost(reason)

    def getHost(self) -> IAddress:
        """Return the local address."""
        return self.host or make_address(self.socket.getsockname())

    def getPeer(self) -> IAddress:
        """Return the client's address, also after the connection is closed."""
        return self.peer


def _after_error(error: OSError) -> Exception | None:
    """Return what ``doRead`` returns after an error of ``recv``: ``None`` if nothing was there."""
    return None if isinstance(error, BlockingIOError) else CONNECTION_LOST


class InheritedOptionsStream(Stream):
    """A connection whose socket has inherited its options from the listener."""

    options_inherited = True
