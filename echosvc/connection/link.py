"""What can be known of a connection: addresses, figures, state."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol

from echosvc.connection.flow import Sender
from echosvc.connection.outcome import Outcome
from echosvc.connection.transport import Transport
from echosvc.net.addresses import format_address


class Link(Protocol):
    """One end of a connection, as it can be looked at.

    :ivar bytes_in: bytes read, those that still wait for a whole message included.
    :ivar peer_finished: the peer has sent its FIN.
    :ivar outcome: how it ended; ``None`` while it is open.
    """

    bytes_in = 0
    peer_finished = False
    outcome: Outcome | None = None

    factory: Any  # which has config and sweep
    transport: Transport  # type: ignore[assignment]
    _gone = True  # until it is made, and when it is lost
    _sent = 0
    _local_address: IAddress | None = None
    _opened_at: float
    _sender: Sender

    @property
    def bytes_out(self) -> int:
        """Bytes accepted for sending, queued ones included."""
        return self._sent

    @property
    def local_address(self) -> IAddress | None:
        """Our side's address; once the connection is gone, only if asked before."""
        if self._local_address is None and not self._gone:
            self._local_address = self._host()
        return self._local_address

    def _host(self) -> IAddress | None:
        """Return our side's address without keeping it: it takes 300 bytes a connection."""
        with suppress(AttributeError, NotImplementedError):  # a pipe, or a process
            return self.transport.getHost()
        return None

    @property
    def remote_address(self) -> IAddress | None:
        """The peer's address; ``None`` where the transport has none, such as a process."""
        try:
            return self.transport.getPeer()
        except (AttributeError, NotImplementedError):
            return None

    @property
    def local(self) -> str:
        """Our side's address as ``HOST:PORT``; ``-`` where there is none."""
        return format_address(self.local_address)

    @property
    def remote(self) -> str:
        """The peer's address as ``HOST:PORT``; an IPv4 peer is always shown as IPv4."""
        return format_address(self.remote_address)

    @property
    def tls_version(self) -> str:
        """``TLSv1.3`` or so; ``-`` where there is no TLS of ours."""
        return str(getattr(self.transport, "tls_version", "-"))

    @property
    def tls_peer(self) -> str:
        """The common name in the peer's certificate, as it is; ``-`` where there is none."""
        return str(getattr(self.transport, "tls_peer", "-"))

    @property
    def queued(self) -> int:
        """Bytes accepted for sending that the kernel has not taken yet."""
        return self._sender.queued()

    @property
    def closing(self) -> bool:
        """Whether our side has begun to end; nothing more can be sent."""
        return self.outcome is not None

    @property
    def age(self) -> float:
        """Seconds since the connection was made."""
        return self._now() - self._opened_at

    def _now(self) -> float:
        """Return the time, by the clock of the deadlines, seconds."""
        return cast(float, self.factory.sweep.now())

    @property
    def _config(self) -> Any:
        return self.factory.config
