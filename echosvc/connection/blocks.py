"""What keeps an open connection from reading: the bits of ``Connection.blocks``.

No I/O, no Twisted. They are plain integers: an operation on an ``IntFlag`` takes 0.5 us, a tenth
of a message.
"""

from __future__ import annotations

#: The transport's queue is above its high-water mark.
BACK_PRESSURE = 1
#: The application has paused the connection.
APPLICATION = 2
#: A reply is not there yet.
REPLY = 4
#: The peer's FIN was read: there is nothing more to read.
EOF = 8
#: The scheduler does not check the connection until its next activity, which schedules one.
#: This keeps it from the fast path, not from reading.
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


def describe(blocks: int) -> str:
    """Return the names of the bits that are set, as text that follows a phase."""
    names = [name for bit, name in _NAMES.items() if blocks & bit]
    return f", blocked by {', '.join(names)}" if names else ""
