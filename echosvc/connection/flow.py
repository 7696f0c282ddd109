"""What waits to be sent, and the socket that it waits for, whatever is between."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import cast

from twisted.internet import tcp
from twisted.internet.interfaces import IProtocol

from echosvc.net.socket_options import set_tcp, tune
from echosvc.net.stream import ReplyBuffer

#: ReplyBuffer waiting in a transport's queue above this stop the reading, bytes. It is
#: Twisted's own mark for TCP and UNIX sockets (``FileDescriptor.bufferSize``).
HIGH_WATER = 65536


class Sender:
    """The sending side of one transport; :mod:`echosvc.connection.sending` has its kinds.

    :param bottom: the socket below everything; ``None`` where there is none.
    :ivar broke: the kernel has refused a write. It tells of a reset only once: to the
        read that comes after, the reset looks like a FIN.
    """

    __slots__ = ("_bottom", "broke")

    def __init__(self, bottom: tcp.Connection | None) -> None:
        self._bottom = bottom
        self.broke = False

    # -- what it is -----------------------------------------------------------

    @property
    def half_closes(self) -> bool:
        """Whether one direction can end alone; not so on Twisted's own TLS."""
        return False

    @property
    def handshakes(self) -> bool:
        """Whether Twisted's own TLS is below, whose handshake a pause would stop."""
        return True

    @property
    def ready(self) -> bool:
        """Whether bytes can be exchanged, now."""
        return True

    @property
    def cut(self) -> bool:
        """Whether the peer's end of the stream may be somebody else's doing."""
        return False

    @property
    def holding(self) -> bool:
        """Whether bytes were read that are not delivered yet."""
        return False

    # -- what it does ---------------------------------------------------------

    def deliver(self) -> None:
        """Deliver what was read already, and read no more."""

    def send(self, data: bytes, later: bool = False) -> bool:
        """Send ``data`` after everything that was sent before it.

        Errors are not raised: the reactor meets them at its next read or write and
        ends the connection.

        :param later: leave it to the reactor's next turn, whatever the kernel takes.
        :return: whether the kernel has taken it all; ``False`` where that is not known.
        """
        raise NotImplementedError

    def send_both(self, head: bytes, data: bytes) -> bool:
        """As :meth:`send` of ``head + data``."""
        return self.send(head + data)

    def queue(self, data: bytes) -> None:
        """Send after everything else, by the transport's queue."""
        self.send(data, later=True)

    def answer_by_itself(self, protocol: IProtocol, replies: ReplyBuffer | None) -> None:
        """Have the stream answer so what it would tell ``protocol``; ``None``: no more.

        A transport that cannot do so, or tells somebody else, hands on what it reads, as before.
        """

    def close(self) -> bool:
        """Close at once, if nothing waits to be sent; give whether that was so.

        Only for when the reactor tells of the peer's FIN: it then does the same itself
        with a protocol that wants no half-close. ``loseConnection`` takes another turn.
        """
        return False

    def lose(self) -> None:
        """End the transport as the reactor does where a write finds it broken."""

    def abort(self) -> bool:
        """End now: what is queued is dropped, the peer sees a reset where there is one.

        :return: whether the transport will tell its protocol that the connection is lost.
        """
        raise NotImplementedError

    # -- the socket below -----------------------------------------------------

    @property
    def tuned(self) -> bool:
        """Whether the socket has its options from its listener."""
        return self._bottom is not None and getattr(self._bottom, "options_inherited", False)

    def limit_reads(self, size: int) -> None:
        """Read at most ``size`` bytes at once; more than that in the queue stops it, too."""
        if self._bottom is not None:
            self._bottom.bufferSize = size

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
                set_tcp(handle, "TCP_CORK", 1)

    def broken(self) -> bool:
        """Whether a reset has come that the reactor, while not reading, cannot see."""
        handle = self._handle()
        return handle is not None and handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def ending(self) -> bool:
        """Whether the socket below is to close once its queue is empty.

        So it is when the peer ended Twisted's own TLS, which tells no protocol of that.
        """
        return self._bottom is not None and bool(self._bottom.disconnecting)

    def _handle(self) -> socket.SocketType | None:
        """The socket below, through TLS too; ``None`` where there is none."""
        return getattr(self._bottom, "socket", None)

    # -- what waits -----------------------------------------------------------

    def room(self) -> int:
        """How many bytes more may be queued."""
        return HIGH_WATER - self.queued()

    def unsent(self) -> int:
        """Bytes that the peer has not taken: queued here, or in the kernel."""
        return self.queued() + self.unacknowledged()

    def waiting(self) -> int:
        """:meth:`unsent` bytes, but 0 where all is the kernel's, and so written.

        The kernel takes more only when the peer has read about a megabyte: by that
        alone, a slow reader would look like one that has stopped.
        """
        return self.queued() and self.unsent()

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
        except (OSError, ValueError, AttributeError):  # no such call, or closed already
            return 0
        return cast(int, struct.unpack("i", answer)[0])
