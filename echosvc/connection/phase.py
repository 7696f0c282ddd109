"""The phases of a connection, and how one leads to another. No I/O, no Twisted."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where a connection is in its life."""

    #: Not connected: not yet, or not any more, as in TCP (RFC 9293, 3.3.2).
    CLOSED = "closed"
    #: TLS is being negotiated. The deadline is ``handshake_timeout``.
    HANDSHAKE = "handshake"
    #: Bytes are exchanged.
    OPEN = "open"
    #: What is queued is flushed, then our FIN sent, then the peer's awaited (lingering close);
    #: or the transport was aborted. The deadline is that of
    #: :class:`~echosvc.connection.timeouts.CloseTimeout`.
    CLOSING = "closing"


# As names of the module: Python 3.11 takes 0.2 us to find a member of an enum.
CLOSED, HANDSHAKE, OPEN, CLOSING = Phase

#: Every transition that a connection makes. Nothing is flushed before a handshake is done, so
#: that HANDSHAKE does not lead to CLOSING. CLOSING is left out where nothing waits to be sent
#: and the peer has finished, and where the connection is lost.
TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    CLOSED: frozenset((HANDSHAKE, OPEN)),
    HANDSHAKE: frozenset((OPEN, CLOSED)),
    OPEN: frozenset((CLOSING, CLOSED)),
    CLOSING: frozenset((CLOSED,)),
}
