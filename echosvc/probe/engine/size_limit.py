"""Up to which size a path carries packets, or messages. No I/O, no Twisted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum


class Answer(Enum):
    """What became of a message."""

    #: It came back.
    WHOLE = "whole"
    #: Our kernel sent it again and again, and the peer's does not acknowledge it.
    DROPPED = "dropped"
    #: It is acknowledged, and does not come back.
    SILENCE = "silence"
    #: It does not come back; the kernel tells nothing of it.
    UNKNOWN = "unknown"
    #: What came is wrong, or the connection ended.
    DAMAGED = "damaged"
    #: There is no connection: it, or the handshake of TLS, is not done in time.
    UNCONNECTED = "unconnected"


@dataclass(frozen=True)
class SizeLimit:
    """Where the limit of the path lies.

    :ivar good: the largest MSS, or message, that passes; one byte more does not.
    :ivar size: bytes of the message that is answered in segments of ``good`` and not otherwise;
        0: ``good`` is the size of a message.
    :ivar answer: what becomes of a larger one.
    :ivar headers: bytes of a packet that are not counted in ``good``; 0: not known.
    :ivar cut: of a larger message as many bytes come back.
    :ivar avoidable: streams of any size pass in such segments.
    """

    good: int
    size: int
    answer: Answer
    headers: int = 0
    avoidable: bool = False
    cut: bool = False


async def find_largest(
    good: int, bad: int, likely: Iterable[int], passes: Callable[[int], Awaitable[bool]]
) -> int:
    """Return the largest value that passes, by bisection.

    :param good: one that does.
    :param bad: one that does not.
    :param likely: what it probably is: these are bisected first, then it is tried whether one more
        passes than the largest of them that does.
    """
    likely = frozenset(likely)
    while bad - good > 1:
        places = sorted(each for each in likely if good < each < bad)
        middle = good + 1 if good in likely else (good + bad) // 2
        if places:
            middle = places[len(places) // 2]
        if await passes(middle):
            good = middle
        else:
            bad = middle
    return good
