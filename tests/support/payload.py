"""What is sent: sizes, and bytes in which a lost or repeated block shows."""

from __future__ import annotations

import random

KIB = 1024


MIB = KIB * KIB


READ = 64 * KIB  # what one read of Twisted's delivers at most


HIGH_WATER = 64 * KIB


#: A prefix that occurs in no payload: taking its bytes out gives back what was sent.
MARK = b"\xff" * 9


#: More than any kernel holds for a connection whose two ends have small buffers.
TOO_MUCH = 64 * MIB


def payload(size: int, seed: int = 0) -> bytes:
    """Bytes without :data:`MARK`'s. Their period divides no power of two, so that a

    block that is lost, repeated or out of order shows.
    """
    block = random.Random(seed).randbytes(65521).replace(b"\xff", b"\0")
    return (block * (size // len(block) + 1))[:size]


def unmarked(data: bytes) -> bytes:
    return data.replace(b"\xff", b"")
