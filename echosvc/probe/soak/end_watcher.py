"""Looks at a connection at the moment it ends: what it owes, and what the next hop acknowledged."""

from __future__ import annotations

import math
from collections.abc import Callable

from echosvc.net.client_stream import ClientStream
from echosvc.net.socket_options import read_tcp_info
from echosvc.probe.engine.tcp_info import TCPInfo, parse_tcp_info
from echosvc.probe.load.connection import LoadConnection
from echosvc.probe.soak.connection_record import End


class EndWatcher:
    """Stands between a channel and its connection, and looks before the connection knows.

    It is the owner of the channel from now on.

    :param connection: on which nothing was sent but what is answered.
    :param size: of a message as it is sent, bytes.
    :param now: the clock.
    """

    def __init__(self, connection: LoadConnection, size: int, now: Callable[[], float]) -> None:
        self._connection, self._size, self._now = connection, size, now
        self._came: float | None = None
        self._bare = isinstance(connection.channel, ClientStream)
        info = self._info()
        self._acknowledged = None if info is None else info.bytes_acked
        self._since, self._owed = math.inf, 0
        self._end_info: TCPInfo | None = None
        connection.channel.owner = self

    def _info(self) -> TCPInfo | None:
        handle = self._connection.channel.socket
        return None if handle is None else parse_tcp_info(read_tcp_info(handle))

    def look(self) -> None:
        """Note what is known now, right before the end."""
        exchange = self._connection.exchange
        self._since, self._owed = exchange.silent_since, exchange.owed
        self._end_info = self._info()

    def end(self, how: str, detail: str = "") -> End:
        """Return how the connection ended.

        :param how: as :class:`~echosvc.probe.load.connection.ConnectionEnd` has it.
        """
        unanswered = self._owed * self._size
        since = self._since if self._since < math.inf else None
        acknowledged = self._acknowledged_of(unanswered)
        return End(how, self._owed, unanswered, acknowledged, since, self._came, detail)

    def _acknowledged_of(self, unanswered: int) -> int | None:
        """Return how many of the last bytes that were sent are acknowledged.

        With TLS the kernel counts other bytes: then it is known only if all of them are.
        """
        info = self._end_info
        if info is None:
            return None
        if self._bare and self._acknowledged is not None and info.bytes_acked is not None:
            sent = self._connection.exchange.sent * self._size
            left = sent - (info.bytes_acked - self._acknowledged)
            return min(unanswered, max(0, unanswered - left))
        return unanswered if not info.unacked and not info.unsent_bytes else None

    # -- the owner of the channel -----------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Pass on what came."""
        self._connection.received(data)

    def writable(self) -> None:
        """Pass it on."""
        self._connection.writable()

    def eof_received(self) -> None:
        """Look, also when the FIN came: this process may read it late. Pass it on."""
        self.look()
        if self._end_info is not None:
            self._came = self._now() - self._end_info.since_segment
        self._connection.eof_received()

    def lost(self, error: BaseException | None) -> None:
        """Look, and pass it on."""
        self.look()
        self._connection.lost(error)
