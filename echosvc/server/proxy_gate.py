"""A connection from a proxy, until its PROXY header has said whose it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from echosvc.connection.transport import abort_transport
from echosvc.net.addresses import address_from_header
from echosvc.net.stream import Stream
from echosvc.wire.proxy_header import Header, HeaderParser, ProxyError

if TYPE_CHECKING:
    from echosvc.server.factory import EchoFactory


#: Builds the protocol that comes next, for a client whom the limits are to judge by this
#: address; ``None`` = it is not wanted.
Successor = Callable[[IAddress | None], IProtocol | None]


class Proxied(Protocol):
    """Reads the header; then the transport is another protocol's, with the client's address.

    So it costs nothing afterwards, and hides nothing, half-close least of all. It must
    stand right on the socket.

    :param home: the factory whose limits and clock hold.
    :param successor: builds the protocol that comes next.
    """

    due = math.inf
    bytes_in = bytes_seen = 0
    transport: Any

    def __init__(self, home: EchoFactory, successor: Successor) -> None:
        self._home = home
        self._successor = successor
        self._parser = HeaderParser()
        self._done = False  # it was handed over, or refused

    def connectionMade(self) -> None:
        """Wait, not for ever."""
        self._home.meet(self)
        if not isinstance(self.transport, Stream):  # whose protocol and addresses we can change
            self.refuse("PROXY headers are for listeners of echosvc.endpoints.server_endpoint()")

    def dataReceived(self, data: bytes) -> None:
        """Read the header, and hand over what comes behind it."""
        try:
            header = self._parser.feed(data)
        except ProxyError as error:
            self.refuse(str(error))
            return
        if header is not None:
            self._hand_over(header)

    def _hand_over(self, header: Header) -> None:
        self._done = True
        stream, source = self.transport, address_from_header(header.source)
        if source is not None:
            stream.peer, stream.host = source, address_from_header(header.destination)
        self._home.part(self)
        # A proxy that speaks for itself, as in a health check, is let in as such.
        successor = self._successor(source)
        if successor is None:
            stream.abortConnection()
            self._home.admission.tell()
            return
        stream.protocol = successor
        successor.makeConnection(stream)
        if self._parser.rest and stream.connected:
            successor.dataReceived(self._parser.rest)

    def refuse(self, why: str) -> None:
        """Close, and say why."""
        self._done = True
        self._home.admission.refuse(self._peer(), why)
        if not abort_transport(self.transport):
            self.connectionLost()

    def _peer(self) -> IAddress | None:
        """Return the proxy's address; ``None`` where the transport has none."""
        with suppress(AttributeError, NotImplementedError):
            return cast(IAddress, self.transport.getPeer())
        return None

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """It went before its header was there; without a word, some health checks do."""
        if self._parser.held and not self._done:
            self._home.admission.refuse(self._peer(), "its PROXY header was cut short")
        self._home.part(self)
        self._home.admission.tell()
        self._home.tell_idle()

    # -- as the sweep sees it -------------------------------------------------

    def stirred(self, now: float) -> None:
        """Bytes do not move the deadline."""

    def tick(self, now: float) -> None:  # noqa: ARG002
        """The time is up."""
        self.due = math.inf
        self.refuse(f"no PROXY header within {self._home.config.handshake_timeout:g} s")

    def rest(self) -> None:
        """It is refused already."""
