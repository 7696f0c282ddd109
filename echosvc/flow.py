"""Sending: at once when nothing waits, else through the transport's queue.

Twisted's transports put every write into a queue that the reactor empties one turn
later, at the price of two more system calls and a second dispatch a message
(Twisted issue 5303). :class:`Sender` hands the bytes to the kernel first and leaves
to the transport only what the kernel does not take, with its back-pressure.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import cast

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from echosvc.replies import Replies
from echosvc.stream import Stream, TunedStream
from echosvc.transport import Layer, Transport

#: Replies waiting in a transport's queue above this stop the reading, bytes. It is
#: Twisted's own mark for TCP and UNIX sockets (``FileDescriptor.bufferSize``).
HIGH_WATER = 65536

# Only on exactly these is the queue known and what is sent the plain text: a TLS
# transport passes unknown attributes on to the socket below it, so that sending
# "directly" would put plain text on the wire.
_PLAIN = frozenset((Stream, TunedStream, tcp.Server, tcp.Client, unix.Server, unix.Client))

#: From this size on, bytes, a message is not copied to be joined with its prefix: one
#: system call for two pieces costs more, but less than that. Measured: 4 to 9 % of a stream.
LARGE = 16384

#: The kernel takes no longer TCP_USER_TIMEOUT, ms.
_LONGEST_LIMIT = 2**31 - 1

#: The kernel has no room now; any other error is the connection's end.
_FULL = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS))


class Sender:
    """The sending side of one transport.

    :param transport: any Twisted stream transport.
    :ivar layer: the transport, where it is a :class:`Layer`.
    :ivar half_closes: one direction can end alone; not so on Twisted's own TLS.
    :ivar broke: the kernel has refused a write. It tells of a reset only once: to the
        read that comes after, the reset looks like a FIN.
    :ivar plain: a TCP or UNIX socket without TLS: its queue is known, and bytes may go
        to the kernel directly.
    """

    __slots__ = ("_bottom", "_direct", "_over", "broke", "half_closes", "layer")

    def __init__(self, transport: Transport) -> None:
        self.broke = False
        self._bottom: tcp.Connection | None
        self._direct: tcp.Connection | None
        self._over: Transport | None
        self.layer: Layer | None
        if type(transport) in _PLAIN:
            bottom = cast(tcp.Connection, transport)
            self._bottom, self._direct, self._over, self.layer = bottom, bottom, None, None
            self.half_closes = not bottom.TLS
            return
        self._bottom, self._direct, self._over = _bottom(transport), None, transport
        self.layer = transport if isinstance(transport, Layer) else None
        self.half_closes = self.layer is not None

    def room(self) -> int:
        """How many bytes more may be queued."""
        return HIGH_WATER - self.queued()

    @property
    def tuned(self) -> bool:
        """Whether the socket has its options from its listener."""
        return self._bottom is not None and getattr(self._bottom, "tuned", False)

    @property
    def plain(self) -> bool:
        """Whether this is a socket with nothing between."""
        return self._direct is not None and not self._direct.TLS

    @property
    def cut(self) -> bool:
        """Whether the peer's end of the stream may be somebody else's doing."""
        return self.layer is not None and self.layer.cut

    @property
    def holding(self) -> bool:
        """Whether bytes were read that are not delivered yet."""
        return self.layer is not None and self.layer.holding

    def deliver(self) -> None:
        """Deliver what was read already, and read no more."""
        if self.layer is not None:
            self.layer.deliver()

    def limit_reads(self, size: int) -> None:
        """Read at most ``size`` bytes at once; more than that in the queue stops it, too."""
        if self._bottom is not None:
            self._bottom.bufferSize = size

    def send(self, data: bytes, later: bool = False) -> bool:
        """Send ``data`` after everything that was sent before it.

        Errors are not raised: the reactor meets them at its next read or write and
        ends the connection.

        :param later: leave it to the reactor's next turn, whatever the kernel takes.
        :return: whether the kernel has taken it all; ``False`` where that is not known.
        """
        direct = self._direct
        if direct is None:
            return self._send_through(data, later)
        if not (later or direct._tempDataLen or direct.dataBuffer or direct.TLS):
            try:
                taken = direct.socket.send(data)
            except OSError as error:
                self.broke = error.errno not in _FULL and not direct._writeDisconnected
            else:
                if taken == len(data):
                    return True
                data = data[taken:]
        direct.write(data)
        return False

    def send_both(self, head: bytes, data: bytes) -> bool:
        """As :meth:`send` of ``head + data``, without the copy that joining them is."""
        direct = self._direct
        if direct is None or direct._tempDataLen or direct.dataBuffer or direct.TLS:
            return self.send(head + data)
        try:
            taken = direct.socket.sendmsg((head, data))
        except OSError:
            return self.send(head + data)  # which will meet it again
        if taken == len(head) + len(data):
            return True
        direct.write((head + data)[taken:])
        return False

    def answer_by_itself(self, protocol: IProtocol, replies: Replies | None) -> None:
        """Have the stream answer so what it would tell ``protocol``; ``None``: no more.

        A transport that cannot do so, or tells somebody else, hands on what it reads, as before.
        """
        direct = self._direct
        if isinstance(direct, Stream) and self.plain and direct.protocol is protocol:
            direct.replies = replies

    def queue(self, data: bytes) -> None:
        """Send after everything else, by the transport's queue."""
        cast(tcp.Connection, self._direct).write(data)

    def _send_through(self, data: bytes, later: bool) -> bool:
        over = self._over
        if isinstance(over, Layer):
            return over.send(data, later)
        _write(cast(Transport, over), data)
        return False

    def close(self) -> bool:
        """Close at once, if nothing waits to be sent; give whether that was so.

        Only for when the reactor tells of the peer's FIN: it then does the same itself
        with a protocol that wants no half-close. ``loseConnection`` takes another turn.
        """
        direct = self._direct
        if direct is None or direct.TLS or self.queued():
            return False
        direct.connectionLost(connectionDone)
        return True

    def lose(self) -> None:
        """End the transport as the reactor does where a write finds it broken."""
        if self._direct is not None:
            self._direct.connectionLost(Failure(ConnectionLost()))

    def tune(self, nagle: bool, keep_alive: int, stall: float = 0.0) -> None:
        """Set Nagle's algorithm and keep-alive, where there is TCP below.

        :param keep_alive: seconds until the first probe; then one a second, ten in
            all, as Node sets them. 0 = off.
        :param stall: seconds that a peer may take nothing of what the kernel has for it;
            a little later the kernel gives up (RFC 5482). 0 = off.
        """
        handle = self._handle()
        if handle is not None:
            with suppress(OSError):  # already reset: the next read says so
                tune(handle, nagle, keep_alive, stall)

    def cork(self) -> None:
        """Hold small writes back until the FIN, or 200 ms, so that they leave in one segment.

        Where there is TCP below, on Linux (tcp(7), TCP_CORK).
        """
        handle = self._handle()
        if handle is not None and handle.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):
                handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)

    def broken(self) -> bool:
        """Whether a reset has come that the reactor, while not reading, cannot see."""
        handle = self._handle()
        return handle is not None and handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def unsent(self) -> int:
        """Bytes that the peer has not taken: queued here, or in the kernel."""
        return self.queued() + self.unacknowledged()

    def ending(self) -> bool:
        """Whether the socket below is to close once its queue is empty.

        So it is when the peer ended Twisted's own TLS, which tells no protocol of that.
        """
        known = self._bottom is not None and self.layer is None
        return known and bool(cast(tcp.Connection, self._bottom).disconnecting)

    def waiting(self) -> int:
        """:meth:`unsent` bytes, but 0 where all is the kernel's, and so written.

        The kernel takes more only when the peer has read about a megabyte: by that
        alone, a slow reader would look like one that has stopped.
        """
        return self.queued() and self.unsent()

    def _handle(self) -> socket.socket | None:
        """The socket below, through TLS too; ``None`` where there is none."""
        return None if self._bottom is None else self._bottom.getHandle()

    def queued(self) -> int:
        """Bytes in the transport's queue, which the kernel has not taken yet.

        For TLS: of the socket below it. 0 where that cannot be known.
        """
        bottom = self._bottom
        return 0 if bottom is None else len(bottom.dataBuffer) - bottom.offset + bottom._tempDataLen

    def unacknowledged(self) -> int:
        """Bytes in the kernel's queue that the peer's kernel has not confirmed.

        0 where that cannot be known. Source: tcp(7), SIOCOUTQ.
        """
        if self._bottom is None:
            return 0
        try:
            answer = fcntl.ioctl(self._bottom.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):  # no such call, or closed already
            return 0
        return cast(int, struct.unpack("i", answer)[0])


def tune(handle: socket.socket, nagle: bool, keep_alive: int, stall: float) -> None:
    """As :meth:`Sender.tune`. What a listening socket has, its connections have from it.

    :raises OSError: the connection is gone.
    """
    if handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not nagle)
    if keep_alive:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keep_alive)
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 10)
    if stall:
        # Later than we would find out: then the connection has its own word for it.
        limit = min(int(1000 * (1.25 * stall + 1)), _LONGEST_LIMIT)
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit)


def _write(transport: Transport, data: bytes) -> None:
    """The transport's ``write``; on Twisted's own TLS the one that encrypts at once.

    That collects small writes until its next turn. A reply to data that came with the
    client's close_notify is thrown away before.
    """
    if isinstance(transport, TLSMemoryBIOProtocol):
        TLSMemoryBIOProtocol.write(transport, data)
    else:
        transport.write(data)


def _bottom(transport: object) -> tcp.Connection | None:
    """The socket under a transport and its wrappers."""
    below: object = transport
    while not isinstance(below, FileDescriptor) and hasattr(below, "transport"):
        below = below.transport
    return below if isinstance(below, tcp.Connection) else None
