"""What carries one connection of a load: a bare socket by the shortest way, or Twisted."""

from __future__ import annotations

from socket import SocketType
from typing import Any, Protocol, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from echosvc.client import EchoClient
from echosvc.connection.outcome import Outcome
from echosvc.net.client_stream import StreamOwner
from echosvc.net.errors import describe_error, openssl_reasons
from echosvc.probe.engine.findings import Failed
from echosvc.probe.traffic.causes import cause_of_end, cause_of_error


class Channel(Protocol):
    """What carries the bytes of one connection.

    :ivar owner: what its events go to.
    :ivar local: its own address as ``HOST:PORT``; ``-`` where there is none.
    :ivar peer: the peer's.
    """

    owner: StreamOwner
    local: str
    peer: str

    @property
    def socket(self) -> SocketType | None:
        """The socket below everything; ``None``: there is none, or it is closed."""

    @property
    def takes(self) -> bool:
        """Whether :meth:`send` may be called: the peer takes what was sent."""

    def send(self, data: bytes) -> None:
        """Send."""

    def finish(self) -> None:
        """Send FIN after everything else."""

    def close(self) -> None:
        """Close, and notify nobody."""

    def abort(self) -> None:
        """Reset, and notify nobody."""


class LoadClient(EchoClient):
    """A connection that goes through Twisted: TLS, and whatever is no bare socket.

    :ivar owner: what its events go to; ``None``: nobody is notified.
    """

    owner: Any = None

    @property
    def peer(self) -> str:
        """The peer's address."""
        return self.remote

    @property
    def socket(self) -> SocketType | None:
        """The socket below everything; ``None``: there is none, or it is closed."""
        return cast("SocketType | None", self.sender.socket)

    @property
    def takes(self) -> bool:
        """Whether less waits than the high-water mark."""
        return not self._write_paused and not self.closing

    def send(self, data: bytes) -> None:
        """Send."""
        self._send(data)

    def dataReceived(self, data: bytes) -> None:
        """Pass on what came."""
        self._bytes_in += len(data)
        if self.owner is not None:
            self.owner.received(data)

    def resumeProducing(self) -> None:
        """Send again."""
        super().resumeProducing()
        if self.owner is not None and self.takes:
            self.owner.writable()

    def close(self) -> None:
        """Close, and notify nobody."""
        self.owner = None
        self.close_with(Outcome.FINISHED)

    def abort(self) -> None:
        """Reset, and notify nobody."""
        self.owner = None
        super().abort()

    def _peer_eof(self, just_now: bool = False) -> None:
        super()._peer_eof(just_now)
        if self.owner is not None:
            self.owner.eof_received()

    def readConnectionLost(self) -> None:
        """Note the peer's FIN also where ours was sent before."""
        finished = self.closing
        super().readConnectionLost()
        if finished and self.owner is not None:
            self.owner.eof_received()

    def connectionLost(self, reason: Failure | None = connectionDone) -> None:
        """Note how it ended."""
        super().connectionLost(reason)
        owner, self.owner = self.owner, None
        if owner is not None:
            error = None if reason is None else reason.value
            owner.lost(None if isinstance(error, ConnectionDone) else error)


def name_error(error: BaseException) -> str:
    """Return the cause of an error by the word that results count it by."""
    if isinstance(error, Failed):
        return cause_of_end(error.end)
    return "tls" if openssl_reasons(error) is not None else cause_of_error(describe_error(error))
