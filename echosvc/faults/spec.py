"""What a relay does wrong, and how it does it to a stream. No Twisted, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mischief:
    """What a relay does to each connection. Offsets are of one direction's stream.

    :ivar upstream: do it to what the client sends; else to what the server does.
    :ivar drop: offset and length of bytes that are lost.
    :ivar duplicate: offset and length of bytes that are sent twice.
    :ivar swap: offset and length of a piece that is sent after the next one of that length.
    :ivar flip: offset of a byte of which one bit changes.
    :ivar insert: offset and bytes that are put in.
    :ivar cut: bytes after which both directions are closed.
    :ivar at_fin: ``pass`` a FIN on, ``close`` both directions at once, or ``swallow`` it.
    :ivar unbounded: take everything, whether the other side does or not.
    :ivar idle: seconds without a byte after which a connection is ended; 0 = never.
    :ivar idle_end: by ``fin``, ``rst``, or ``silence``: nothing is passed on any more.
    :ivar delay: seconds by which everything comes later, in each direction.
    :ivar piece: pass on so many bytes at a time; 0 = as they come. No fault of a path.
    :ivar reset: a reset is passed on as ``rst`` or ``fin``, or not at all (``swallow``).
    """

    upstream: bool = False
    drop: tuple[int, int] | None = None
    duplicate: tuple[int, int] | None = None
    swap: tuple[int, int] | None = None
    flip: int | None = None
    insert: tuple[int, bytes] | None = None
    cut: int | None = None
    at_fin: str = "pass"
    unbounded: bool = False
    idle: float = 0.0
    idle_end: str = "fin"
    delay: float = 0.0
    piece: int = 0
    reset: str = "rst"

    def __post_init__(self) -> None:
        """A typo must not make a relay that does nothing wrong."""
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}")
        for name in ("drop", "duplicate", "swap"):
            value = getattr(self, name)
            if value is not None and not (value[0] >= 0 and value[1] > 0):
                raise ValueError(f"{name} must be an offset and a length, not {value!r}")
        for name in ("flip", "cut", "idle", "delay", "piece"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative")


_WORDS = {
    "at_fin": ("pass", "close", "swallow"),
    "idle_end": ("fin", "rst", "silence"),
    "reset": ("rst", "fin", "swallow"),
}


class Edit:
    """One direction's stream, and what is done to it."""

    def __init__(self, mischief: Mischief) -> None:
        self._seen = 0
        self._held = b""
        self._do = mischief

    def feed(self, data: bytes) -> bytes:
        """Give what is passed on in place of ``data``."""
        start, self._seen = self._seen, self._seen + len(data)
        do = self._do
        if do.drop:
            low, high = _within(start, data, *do.drop)
            return data[:low] + data[high:]
        if do.duplicate:
            return self._hold(start, data, *do.duplicate, 1, lambda piece: piece * 2)
        if do.swap:
            size = do.swap[1]
            return self._hold(start, data, *do.swap, 2, lambda both: both[size:] + both[:size])
        if do.flip is not None and start <= do.flip < self._seen:
            place = do.flip - start
            return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
        if do.insert and start <= do.insert[0] < self._seen:
            place = do.insert[0] - start
            return data[:place] + do.insert[1] + data[place:]
        return data

    def _hold(
        self,
        start: int,
        data: bytes,
        offset: int,
        size: int,
        times: int,
        change: Callable[[bytes], bytes],
    ) -> bytes:
        """Collect ``times * size`` bytes from ``offset`` on, and change them."""
        low, high = _within(start, data, offset, times * size)
        self._held += data[low:high]
        if len(self._held) < times * size:
            return data[:low] + data[high:]
        changed, self._held = change(self._held), b""
        self._do = Mischief()
        return data[:low] + changed + data[high:]

    def rest(self) -> bytes:
        """What is still held when the stream ends."""
        held, self._held = self._held, b""
        return held


def _within(start: int, data: bytes, offset: int, size: int) -> tuple[int, int]:
    """Where a range of the stream lies in ``data``, which begins at ``start``."""
    low = min(max(0, offset - start), len(data))
    return low, min(max(low, offset + size - start), len(data))
