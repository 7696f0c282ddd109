"""The phases of a connection, and what keeps it from reading. No I/O, no Twisted."""

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

    def describe(self, blocks: int) -> str:
        """Return the phase in words, with the names of the bits that are set."""
        names = [name for bit, name in _NAMES.items() if blocks & bit]
        return self.value + (f", blocked by {', '.join(names)}" if names else "")


#: Every transition that a connection makes. Nothing is flushed before a handshake is done, so
#: that HANDSHAKE does not lead to CLOSING. CLOSING is left out where nothing waits to be sent
#: and the peer has finished, and where the connection is lost.
TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.CLOSED: frozenset((Phase.HANDSHAKE, Phase.OPEN)),
    Phase.HANDSHAKE: frozenset((Phase.OPEN, Phase.CLOSED)),
    Phase.OPEN: frozenset((Phase.CLOSING, Phase.CLOSED)),
    Phase.CLOSING: frozenset((Phase.CLOSED,)),
}

# The bits of ``Connection.blocks``. They are plain integers: an operation on an ``IntFlag``
# takes 0.5 us, a tenth of a message.

#: The transport's queue is above its high-water mark.
BACK_PRESSURE = 1
#: The application has paused the connection.
APPLICATION = 2
#: A reply is not there yet.
REPLY = 4
#: The peer's FIN was read: there is nothing more to read.
EOF = 8
#: The scheduler does not check the connection until its next activity, which must say so. This
#: keeps it from the fast path, not from reading.
IDLE = 16

#: Everything that stops the reading of what may still come.
PAUSED = BACK_PRESSURE | APPLICATION | REPLY

_NAMES = {
    BACK_PRESSURE: "back-pressure",
    APPLICATION: "application",
    REPLY: "reply",
    EOF: "EOF",
    IDLE: "idle",
}
