"""How a connection sends through its transport, and what waits there.

Twisted's transports put every write into a queue that the reactor empties one turn later.
That costs two more system calls and a second dispatch a message (Twisted issue 5303).
:class:`SocketSender` passes the bytes to the kernel first. It leaves to the transport only what
the kernel does not take, and with it the back-pressure.

There are three kinds, made by :func:`make_sender`: directly to a socket, through any other
transport of Twisted, and a :class:`~echosvc.connection.layer.LayerTransport`, which is a sender
itself.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionAborted, ConnectionLost, ProcessExitedAlready
from twisted.internet.interfaces import IAddress, IProducer, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from echosvc.net import socket_options
from echosvc.net.attempts import TCPAttempt, UNIXAttempt
from echosvc.net.stream import InheritedOptionsStream, ReplyBuffer, Stream

# Only on exactly these is the queue known and what is sent the plain text: a TLS
# transport passes unknown attributes on to the socket below it, so that sending
# "directly" would put plain text on the wire.
_PLAIN = frozenset(
    {Stream, InheritedOptionsStream, tcp.Server, tcp.Client, TCPAttempt}
    | {unix.Server, unix.Client, UNIXAttempt}
)

#: Bytes that a batch of replies may bring the queue to. It is Twisted's high-water mark for the
#: sockets of clients (``FileDescriptor.bufferSize``): with more in the queue, reading stops. The
#: mark of an accepted connection is lower, ``RECV_SIZE`` of :mod:`echosvc.net.stream`, or what
#: :meth:`Sender.limit_reads` has set.
HIGH_WATER = 65536

#: Messages of at least this many bytes go by ``sendmsg``, without a copy that joins them with their
#: prefix. ``sendmsg`` costs more than ``send``, but less than that copy. Measured: a stream takes 4
#: to 9 % less time.
SENDMSG_THRESHOLD = 16384

#: The kernel takes nothing now. Any other error is the end of the connection.
_WOULD_BLOCK = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS))

#: What ``ITransport`` does not require and a transport may lack.
_FLOW_CONTROL = ("pauseProducing", "resumeProducing", "registerProducer", "unregisterProducer")


class Transport(Protocol):
    """What this package uses of a Twisted stream transport."""

    def write(self, data: bytes) -> None:
        """Queue ``data``."""

    def loseConnection(self) -> None:
        """Flush, then close both directions."""

    def loseWriteConnection(self) -> None:
        """Flush, then close our direction. Twisted's own TLS lacks it."""

    def abortConnection(self) -> None:
        """Reset."""

    def pauseProducing(self) -> None:
        """Stop reading."""

    def resumeProducing(self) -> None:
        """Read again."""

    def getHost(self) -> IAddress:
        """Return our address."""

    def getPeer(self) -> IAddress:
        """Return the peer's address."""

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let ``producer`` be paused while the queue is above its high-water mark."""

    def unregisterProducer(self) -> None:
        """Stop that."""


class Sender:
    """The sending side of one transport.

    :param socket_transport: Twisted's transport of the socket below everything; ``None`` where
        there is none.
    :ivar write_failed: the kernel has refused a write. The kernel reports a reset only once: to
        the read that comes after, the reset looks like a FIN.
    """

    __slots__ = ("_socket_transport", "write_failed")

    def __init__(self, socket_transport: tcp.Connection | None) -> None:
        self._socket_transport = socket_transport
        self.write_failed = False

    # -- what the transport can do --------------------------------------------

    @property
    def half_closes(self) -> bool:
        """Whether one direction can end alone. On Twisted's own TLS it cannot."""
        return False

    @property
    def handshakes(self) -> bool:
        """Whether Twisted's own TLS is below, whose handshake a pause would stop."""
        return False

    @property
    def ready(self) -> bool:
        """Whether the handshake is done, if there is one."""
        return True

    @property
    def unclean_eof(self) -> bool:
        """Whether the stream ended without the peer's authentic end, TLS's close_notify."""
        return False

    @property
    def has_undelivered(self) -> bool:
        """Whether bytes were read that a pause keeps from being delivered."""
        return False

    # -- sending --------------------------------------------------------------

    def send(self, data: bytes, defer: bool = False) -> bool:
        """Send ``data`` after everything that was sent before it.

        Errors are not raised: the reactor meets them at its next read or write and
        ends the connection.

        :param defer: write in the reactor's next turn, even if the kernel would take it now.
        :return: whether the kernel has taken it all; ``False`` where that is not known.
        """
        raise NotImplementedError

    def send_both(self, prefix: bytes, data: bytes) -> bool:
        """As :meth:`send` of ``prefix + data``."""
        return self.send(prefix + data)

    def queue(self, data: bytes) -> None:
        """Send after everything else, through the transport's queue."""
        self.send(data, defer=True)

    def set_fast_reply(self, protocol: IProtocol, replies: ReplyBuffer | None) -> None:
        """Have the transport itself answer what it would deliver to ``protocol``.

        Where the transport cannot do so, or delivers to another protocol, nothing changes.

        :param replies: ``None``: it delivers everything again.
        """

    def flush_received(self) -> None:
        """Deliver what was read already, and read no more."""

    # -- ending ---------------------------------------------------------------

    def can_close(self) -> bool:
        """Return whether :meth:`close` loses nothing: the socket is bare, and nothing waits."""
        return False

    def close(self) -> None:
        """Close at once, where ``loseConnection`` takes another turn.

        Only for when the reactor reports the peer's FIN: there it does the same with a protocol
        that is not interested in half-close.
        """
        raise NotImplementedError

    def fail_connection(self) -> None:
        """End the transport as the reactor does where a write fails."""

    def abort(self) -> bool:
        """End now: what is queued is dropped, the peer sees a reset where there is one.

        :return: whether the transport will call its protocol's ``connectionLost``.
        """
        raise NotImplementedError

    # -- the socket below -----------------------------------------------------

    @property
    def socket(self) -> Any:
        """The socket below, through TLS too; ``None`` where there is none."""
        return getattr(self._socket_transport, "socket", None)

    @property
    def options_inherited(self) -> bool:
        """Whether the socket has inherited its options from its listener."""
        return getattr(self._socket_transport, "options_inherited", False)

    def set_socket_options(self, nagle: bool, keep_alive: int, stall: float = 0.0) -> None:
        """Set the options of :func:`echosvc.net.socket_options.tune`, where there is a socket."""
        if (handle := self.socket) is not None:
            with suppress(OSError):  # already reset: the next read fails
                socket_options.tune(handle, nagle, keep_alive, stall)

    def cork(self) -> None:
        """Hold back small segments until the FIN, at most 200 ms, where there is a socket."""
        if (handle := self.socket) is not None:
            with suppress(OSError):
                socket_options.cork(handle)

    def limit_reads(self, size: int) -> None:
        """Read at most ``size`` bytes at once. It is the queue's high-water mark, too."""
        if self._socket_transport is not None:
            self._socket_transport.bufferSize = size

    def has_socket_error(self) -> bool:
        """Return whether a reset has come that the reactor, while not reading, cannot see."""
        handle = self.socket
        return handle is not None and socket_options.has_error(handle)

    def is_disconnecting(self) -> bool:
        """Return whether the socket below is to close once its queue is empty.

        So it is when the peer has ended Twisted's own TLS, which does not report that.
        """
        return self._socket_transport is not None and bool(self._socket_transport.disconnecting)

    # -- what waits -----------------------------------------------------------

    def write_budget(self) -> int:
        """Return how many bytes more may be queued."""
        return HIGH_WATER - self.queued()

    def queued(self) -> int:
        """Return the bytes in the transport's queue, which the kernel has not taken yet.

        For TLS: in the queue of the socket below it. 0 where that cannot be known.
        """
        below = self._socket_transport
        return 0 if below is None else len(below.dataBuffer) - below.offset + below._tempDataLen

    def unacknowledged(self) -> int:
        """Return the bytes in the kernel that the peer's kernel has not confirmed; 0: unknown."""
        below = self._socket_transport
        return 0 if below is None else socket_options.unacknowledged(below.fileno())

    def unsent(self) -> int:
        """Return the bytes that the peer has not taken: in our queue or in the kernel's."""
        return self.queued() + self.unacknowledged()

    def waiting(self) -> int:
        """Return :meth:`unsent` bytes, but 0 where all are in the kernel.

        The kernel takes more only when the peer has read about a megabyte. By its queue
        alone, a slow reader would look like one that has stopped.
        """
        return self.queued() and self.unsent()


class SocketSender(Sender):
    """To a socket with nothing between. TLS may be started on it later."""

    __slots__ = ()
    _socket_transport: tcp.Connection

    @property
    def half_closes(self) -> bool:
        """Unless TLS was started on it: Twisted's cannot."""
        return not self._socket_transport.TLS

    @property
    def handshakes(self) -> bool:
        """Whether TLS was started on it."""
        return bool(self._socket_transport.TLS)

    def send(self, data: bytes, defer: bool = False) -> bool:
        """Send ``data``: now, if nothing waits before it and the kernel takes it."""
        transport = self._socket_transport
        if not (defer or transport._tempDataLen or transport.dataBuffer or transport.TLS):
            try:
                taken = transport.socket.send(data)
            except OSError as error:
                would_block = error.errno in _WOULD_BLOCK
                self.write_failed = not (would_block or transport._writeDisconnected)
            else:
                if taken == len(data):
                    return True
                data = data[taken:]
        transport.write(data)
        return False

    def send_both(self, prefix: bytes, data: bytes) -> bool:
        """As :meth:`send` of ``prefix + data``, without the copy that joining them is."""
        transport = self._socket_transport
        if transport._tempDataLen or transport.dataBuffer or transport.TLS:
            return self.send(prefix + data)
        try:
            taken = transport.socket.sendmsg((prefix, data))
        except OSError:
            return self.send(prefix + data)  # which will meet it again
        if taken == len(prefix) + len(data):
            return True
        transport.write((prefix + data)[taken:])
        return False

    def queue(self, data: bytes) -> None:
        """Send after everything else, through the transport's queue."""
        self._socket_transport.write(data)

    def set_fast_reply(self, protocol: IProtocol, replies: ReplyBuffer | None) -> None:
        """Have the stream answer, where it is one of ours and delivers to ``protocol``."""
        stream = self._socket_transport
        if isinstance(stream, Stream) and not stream.TLS and stream.protocol is protocol:
            stream.replies = replies

    def can_close(self) -> bool:
        """Return whether no TLS was started on it, and nothing waits to be sent."""
        return not (self._socket_transport.TLS or self.queued())

    def close(self) -> None:
        """Close at once."""
        self._socket_transport.connectionLost(connectionDone)

    def fail_connection(self) -> None:
        """End the transport as the reactor does where a write fails."""
        self._socket_transport.connectionLost(Failure(ConnectionLost()))

    def abort(self) -> bool:
        """Reset the connection."""
        self._socket_transport.abortConnection()
        return True


class TransportSender(Sender):
    """Through any other transport."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        super().__init__(find_socket_transport(transport))
        self._transport = transport

    @property
    def handshakes(self) -> bool:
        """Whether Twisted's own TLS is somewhere below."""
        return any(isinstance(each, TLSMemoryBIOProtocol) for each in _chain(self._transport))

    def send(self, data: bytes, defer: bool = False) -> bool:  # noqa: ARG002
        """Write ``data``; on Twisted's own TLS so that it is encrypted at once.

        That transport collects small writes until its next turn. A reply to data that came with
        the client's close_notify would be thrown away before.
        """
        transport: Any = self._transport
        if isinstance(transport, TLSMemoryBIOProtocol):
            TLSMemoryBIOProtocol.write(transport, data)
        else:
            transport.write(data)
        return False

    def abort(self) -> bool:
        """End the transport by the strongest means that it has."""
        return abort_transport(self._transport)


class _CompletedTransport:
    """A transport that lacks some of the methods for flow control: they do nothing."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        if name in _FLOW_CONTROL:
            return getattr(self._transport, name, _do_nothing)
        return getattr(self._transport, name)


def _do_nothing(*_: object) -> None:
    """Replace a method that a transport lacks."""


def make_sender(transport: Any) -> Sender:
    """Return the sending side of any Twisted stream transport."""
    if type(transport) in _PLAIN:
        return SocketSender(transport)
    return transport if isinstance(transport, Sender) else TransportSender(transport)


def with_flow_control(transport: Any) -> Any:
    """Return ``transport``, with methods for flow control where it has none."""
    has_all = all(hasattr(transport, name) for name in _FLOW_CONTROL)
    return transport if has_all else _CompletedTransport(transport)


def abort_transport(transport: Any) -> bool:
    """End any transport now.

    Only TCP, UNIX and TLS transports have ``abortConnection`` (``ITCPTransport``). Of others
    what is queued is dropped where that is possible: a process is killed, and standard input
    and output are neither read nor written any more. Twisted leaves their descriptors open.

    :return: whether the transport will call its protocol's ``connectionLost``. Where not, it may
        have done so already, or never do it: the caller counts it as lost.
    """
    if hasattr(transport, "abortConnection"):
        transport.abortConnection()
        return True
    if hasattr(transport, "unregisterProducer"):  # a paused producer would keep it open
        transport.unregisterProducer()
    transport.loseConnection()
    if hasattr(transport, "signalProcess"):
        with suppress(ProcessExitedAlready):
            transport.signalProcess("KILL")
    elif hasattr(transport, "childConnectionLost"):  # StandardIO
        transport.connectionLost(Failure(ConnectionAborted()))
    return False


def find_socket_transport(transport: object) -> tcp.Connection | None:
    """Return the transport of the socket under a transport and its wrappers."""
    *_, last = _chain(transport)
    return last if isinstance(last, tcp.Connection) else None


def _chain(transport: object) -> Iterator[object]:
    """Yield a transport, and what it wraps, down to the descriptor."""
    below = transport
    yield below
    while not isinstance(below, FileDescriptor) and hasattr(below, "transport"):
        below = below.transport
        yield below
