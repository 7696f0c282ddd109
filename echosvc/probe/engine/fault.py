"""What can happen to a stream: the kinds of faults, and one fault with its place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: As many bytes do not agree by accident.
MIN_AGREEMENT = 24
#: Bytes of what was due, and of what came, that a fault has.
SAMPLE_SIZE = 16


class FaultKind(Enum):
    """What happened to the bytes.

    ``UNMARKED``: a reply came without its prefix. ``GARBLED``: nothing that came later agrees with
    what was sent.
    """

    LOST = "lost"
    REPEATED = "repeated"
    REORDERED = "reordered"
    CHANGED = "changed"
    INSERTED = "inserted"
    CUT = "cut"
    UNMARKED = "unmarked"
    GARBLED = "garbled"


@dataclass(frozen=True)
class Fault:
    """The first fault of a stream.

    :ivar kind: what happened.
    :ivar offset: where it begins, in what was sent.
    :ivar length: how many bytes are lost, repeated, changed or inserted; of a reordered
        piece, how many came late. 0: not known.
    :ivar origin: offset of the repeated bytes, or of those that came too early.
    :ivar early: how many bytes came too early.
    :ivar before: the bytes right before ``offset``, which are as they should be.
    :ivar expected: what was due at ``offset``.
    :ivar seen: what came there.
    :ivar explained: this fault, and others of its kind, explain everything that came after it.
    :ivar count: in how many places the stream is wrong in this way, at least.
    :ivar sent: bytes that this side had sent on the connection before ``offset``, in all.
    :ivar came: bytes that had come on the connection before the fault, in all.
    """

    kind: FaultKind
    offset: int
    length: int = 0
    origin: int = 0
    early: int = 0
    before: bytes = b""
    expected: bytes = b""
    seen: bytes = b""
    explained: bool = True
    count: int = 1
    sent: int = 0
    came: int = 0


@dataclass(frozen=True)
class Window:
    """What was sent around the first wrong byte, and what came.

    :ivar before: what was sent right before it, and came.
    :ivar due: what was sent from there on; all of it, if ``final``.
    :ivar seen: what came instead; it differs in its first byte or is the shorter one.
    :ivar final: nothing else will come.
    """

    before: bytes
    due: bytes
    seen: bytes
    final: bool


@dataclass(frozen=True)
class Explanation:
    """A fault in a window. All offsets count from the first wrong byte.

    :ivar at: where it begins. It is negative if its first bytes are right by chance.
    """

    kind: FaultKind
    at: int = 0
    length: int = 0
    origin: int = 0
    early: int = 0
    explained: bool = True
    count: int = 1
