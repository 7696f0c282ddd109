"""The client of a probe: an ``EchoClient`` that knows how it connected."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from echosvc.client import EchoClient, EchoClientFactory
from echosvc.net.errors import with_report
from echosvc.net.socket_options import read_tcp_info, take_error
from echosvc.probe.engine.connect_time import Handshake, handshake
from echosvc.probe.engine.tcp_info import TCPInfo, parse_tcp_info

_DONE = Failure(ConnectionDone())


class ProbeClient(EchoClient):
    """A connection that reports what comes over it, and knows how it was made.

    :ivar made: when its transport was connected, by ``time.perf_counter``; TLS comes after that.
    :ivar handshake: TCP's, if the kernel measures it.
    :ivar had_socket: whether there is a socket below it, TCP or UNIX.
    :ivar setup_error: the exception of this side when it was made.
    :ivar last_byte: when the last byte came, by ``time.perf_counter``; none yet: ``made``.
    :ivar longest_pause: seconds in which no byte came, at most, before the peer ended it.
    :ivar ended: when the peer ended it, by ``time.perf_counter``, a FIN as the kernel saw it; 0:
        it has not.
    """

    factory: ProbeClientFactory
    made = 0.0
    handshake: Handshake | None = None
    had_socket = False
    setup_error: Exception | None = None
    last_byte = 0.0
    ended = longest_pause = 0.0

    def makeConnection(self, transport: Any) -> None:
        """Keep an exception in ``setup_error``: else the endpoint would wait without end."""
        try:
            super().makeConnection(transport)  # type: ignore[no-untyped-call]
        except Exception as error:
            self.setup_error = error

    def connectionMade(self) -> None:
        """Read the kernel's figures before anything is sent."""
        self.made = self.last_byte = perf_counter()
        super().connectionMade()
        self.had_socket = self.socket is not None
        self.handshake = handshake(self.socket)

    def dataReceived(self, data: bytes) -> None:
        """Report how many bytes came."""
        now = perf_counter()
        self.longest_pause = max(self.longest_pause, now - self.last_byte)
        self.last_byte = now
        self.factory.received(len(data))
        super().dataReceived(data)

    def correct_last_byte(self) -> None:
        """Set :attr:`last_byte` to when it came by the kernel: this process may have read it late.

        To be called when nothing more is due.
        """
        info = self.tcp_info
        if info is not None:
            self.last_byte = min(self.last_byte, perf_counter() - info.since_data)

    def readConnectionLost(self) -> None:
        """Note when the peer's FIN came."""
        info = self.tcp_info
        self._note_end(perf_counter() - (info.since_segment if info is not None else 0.0))
        super().readConnectionLost()

    def connectionLost(self, reason: Failure | None = _DONE) -> None:
        """Note when the connection broke."""
        self._note_end(perf_counter())
        super().connectionLost(reason)

    def _note_end(self, moment: float) -> None:
        if not self.ended:
            self.ended = max(moment, self.last_byte)
            self.longest_pause = max(self.longest_pause, self.ended - self.last_byte)

    @property
    def socket(self) -> socket.SocketType | None:
        """The socket below everything; ``None``: there is none, or it is closed."""
        return cast("socket.SocketType | None", self.sender.socket)

    @property
    def tcp_info(self) -> TCPInfo | None:
        """What the kernel knows now; ``None``: no TCP, no Linux, or the connection is gone.

        Below TLS it is TCP's, too.
        """
        handle = self.socket
        return None if handle is None else parse_tcp_info(read_tcp_info(handle))

    @property
    def retransmits(self) -> int:
        """Segments that the kernel has sent again; 0 where that is not known."""
        info = self.tcp_info
        return 0 if info is None else info.retransmits

    def kernel_view(self) -> tuple[TCPInfo | None, str]:
        """Return what the kernel knows at a failure: of the connection, and of errors on its way.

        Linux goes on trying after most ICMP messages. It keeps their error beside the connection,
        and SO_ERROR returns it once (tcp(7), "soft error"). So this may be called once.
        """
        handle = self.socket
        if handle is None:
            return None, ""
        info = parse_tcp_info(read_tcp_info(handle))
        return info, with_report(take_error(handle))

    @property
    def is_tcp(self) -> bool:
        """Whether it is a TCP connection; such a one has addresses and Nagle's algorithm."""
        return self.had_socket and isinstance(self.remote_address, (IPv4Address, IPv6Address))

    @property
    def unsent(self) -> int:
        """Bytes that the kernel of the peer, or of a proxy, has not acknowledged."""
        return self.sender.unsent()


class ProbeClientFactory(EchoClientFactory):
    """Builds the clients of a path.

    :param received: called with the size of each read.
    """

    protocol = ProbeClient

    def __init__(self, received: Callable[[int], object], **settings: Any) -> None:
        super().__init__(**settings)
        self.received = received
