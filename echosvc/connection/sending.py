"""Sending: at once when nothing waits, else through the transport's queue.

Twisted's transports put every write into a queue that the reactor empties one turn
later, at the price of two more system calls and a second dispatch a message
(Twisted issue 5303). :class:`Direct` hands the bytes to the kernel first and leaves
to the transport only what the kernel does not take, with its back-pressure.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from echosvc.connection.flow import Sender
from echosvc.connection.transport import Layer, Transport, abort_transport
from echosvc.net.attempts import TCPAttempt, UNIXAttempt
from echosvc.net.stream import InheritedOptionsStream, ReplyBuffer, Stream

# Only on exactly these is the queue known and what is sent the plain text: a TLS
# transport passes unknown attributes on to the socket below it, so that sending
# "directly" would put plain text on the wire.
_PLAIN = frozenset(
    {Stream, InheritedOptionsStream, tcp.Server, tcp.Client, TCPAttempt}
    | {unix.Server, unix.Client, UNIXAttempt}
)

#: From this size on, bytes, a message is not copied to be joined with its prefix: one
#: system call for two pieces costs more, but less than that. Measured: 4 to 9 % of a stream.
LARGE = 16384

#: The kernel has no room now; any other error is the connection's end.
_FULL = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS))


def make_sender(transport: Any) -> Sender:
    """Give the sending side of any Twisted stream transport."""
    if type(transport) in _PLAIN:
        return Direct(transport)
    return Layered(transport) if isinstance(transport, Layer) else Foreign(transport)


class Direct(Sender):
    """To a socket with nothing between; TLS may be started on it later."""

    __slots__ = ()
    _bottom: tcp.Connection

    @property
    def half_closes(self) -> bool:
        """Unless TLS was started on it: Twisted's does not."""
        return not self._bottom.TLS

    def send(self, data: bytes, later: bool = False) -> bool:
        """Send ``data``: now, if the kernel takes it and nothing waits."""
        direct = self._bottom
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
        direct = self._bottom
        if direct._tempDataLen or direct.dataBuffer or direct.TLS:
            return self.send(head + data)
        try:
            taken = direct.socket.sendmsg((head, data))
        except OSError:
            return self.send(head + data)  # which will meet it again
        if taken == len(head) + len(data):
            return True
        direct.write((head + data)[taken:])
        return False

    def queue(self, data: bytes) -> None:
        """Send after everything else, by the transport's queue."""
        self._bottom.write(data)

    def answer_by_itself(self, protocol: IProtocol, replies: ReplyBuffer | None) -> None:
        """Have the stream answer, where it is one of ours and tells ``protocol``."""
        direct = self._bottom
        if isinstance(direct, Stream) and not direct.TLS and direct.protocol is protocol:
            direct.replies = replies

    def close(self) -> bool:
        """Close at once, if nothing waits to be sent; give whether that was so."""
        direct = self._bottom
        if direct.TLS or self.queued():
            return False
        direct.connectionLost(connectionDone)
        return True

    def lose(self) -> None:
        """End the transport as the reactor does where a write finds it broken."""
        self._bottom.connectionLost(Failure(ConnectionLost()))

    def abort(self) -> bool:
        """Reset the connection."""
        self._bottom.abortConnection()
        return True


class Layered(Sender):
    """Through a transport of ours over another one, such as TLS."""

    __slots__ = ("_layer",)

    def __init__(self, layer: Layer) -> None:
        super().__init__(_bottom(layer))
        self._layer = layer

    @property
    def half_closes(self) -> bool:
        """Ours do."""
        return True

    @property
    def ready(self) -> bool:
        """Whether its handshake is done."""
        return self._layer.ready

    @property
    def cut(self) -> bool:
        """Whether the peer's end of the stream may be somebody else's doing."""
        return self._layer.cut

    @property
    def holding(self) -> bool:
        """Whether bytes were read that are not delivered yet, by it or by one below it."""
        return any(each.holding for each in _layers(self._layer))

    def deliver(self) -> None:
        """Deliver what was read already, and read no more."""
        self._layer.deliver()

    def send(self, data: bytes, later: bool = False) -> bool:
        """Send ``data`` as the layer does."""
        return self._layer.send(data, later)

    def ending(self) -> bool:
        """Never: such a layer tells of the peer's end."""
        return False

    def abort(self) -> bool:
        """Reset the connection below."""
        self._layer.abortConnection()
        return True


class Foreign(Sender):
    """Through any other transport."""

    __slots__ = ("_over",)

    def __init__(self, over: Transport) -> None:
        super().__init__(_bottom(over))
        self._over = over

    @property
    def handshakes(self) -> bool:
        """Whether Twisted's own TLS is somewhere below."""
        return any(isinstance(each, TLSMemoryBIOProtocol) for each in _below(self._over))

    def send(self, data: bytes, later: bool = False) -> bool:  # noqa: ARG002
        """Write ``data``; on Twisted's own TLS so that it is encrypted at once.

        That collects small writes until its next turn. A reply to data that came with the
        client's close_notify is thrown away before.
        """
        over: Any = self._over
        if isinstance(over, TLSMemoryBIOProtocol):
            TLSMemoryBIOProtocol.write(over, data)
        else:
            over.write(data)
        return False

    def abort(self) -> bool:
        """End the transport by the strongest means that it has."""
        return abort_transport(self._over)


def _layers(top: object) -> Iterator[Layer]:
    """Give the layers over a socket, such as TLS over TLS, the topmost first."""
    while isinstance(top, Layer):
        yield top
        top = getattr(top, "transport", None)


def _bottom(transport: object) -> tcp.Connection | None:
    """The socket under a transport and its wrappers."""
    *_, last = _below(transport)
    return last if isinstance(last, tcp.Connection) else None


def _below(transport: object) -> Iterator[object]:
    """Yield a transport, and what it wraps, down to the descriptor."""
    below = transport
    yield below
    while not isinstance(below, FileDescriptor) and hasattr(below, "transport"):
        below = below.transport
        yield below
