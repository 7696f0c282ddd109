"""What faults a relay injects, and how they change a stream. No Twisted, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class FaultSpec:
    """The faults that are injected into each connection. Offsets are of one direction's stream.

    :ivar upstream: inject into what the client sends; else into what the server sends.
    :ivar drop: offset and length of bytes that are lost.
    :ivar duplicate: offset and length of bytes that are sent twice.
    :ivar swap: offset and length of a block that is sent after the next one of that length.
    :ivar flip: offset of a byte of which one bit changes.
    :ivar insert: offset, and bytes that are inserted there.
    :ivar cut: number of bytes after which both directions are closed.
    :ivar on_fin: ``pass`` a FIN on, ``close`` both directions at once, or ``drop`` the FIN.
    :ivar unbounded: read without back-pressure, whether the other side reads or not.
    :ivar idle_timeout: seconds without a byte until a connection is ended; 0 = never.
    :ivar on_idle: end it by ``fin``, by ``rst``, or by ``silence``: nothing is passed on any more.
    :ivar delay: seconds by which everything is delayed, in each direction.
    :ivar chunk_size: pass on this number of bytes at a time; 0 = as they come. That is no fault of
        a path.
    :ivar on_reset: a reset is passed on as ``rst``, as ``fin``, or not at all (``drop``).
    :raises ValueError: a wrong value.
    """

    upstream: bool = False
    drop: tuple[int, int] | None = None
    duplicate: tuple[int, int] | None = None
    swap: tuple[int, int] | None = None
    flip: int | None = None
    insert: tuple[int, bytes] | None = None
    cut: int | None = None
    on_fin: str = "pass"
    unbounded: bool = False
    idle_timeout: float = 0.0
    on_idle: str = "fin"
    delay: float = 0.0
    chunk_size: int = 0
    on_reset: str = "rst"

    def __post_init__(self) -> None:
        """Check the values: a typo must not make a relay without faults."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}")
        for name in ("drop", "duplicate", "swap"):
            value = getattr(self, name)
            if value is not None and not (value[0] >= 0 and value[1] > 0):
                raise ValueError(f"{name} must be an offset and a length, not {value!r}")
        for name in ("flip", "cut", "idle_timeout", "delay", "chunk_size"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative")


_CHOICES = {
    "on_fin": ("pass", "close", "drop"),
    "on_idle": ("fin", "rst", "silence"),
    "on_reset": ("rst", "fin", "drop"),
}


class StreamMutator:
    """Injects faults into the bytes of one direction.

    A block that is duplicated or swapped is held back until it is complete.
    """

    def __init__(self, faults: FaultSpec) -> None:
        self._faults = faults
        self._offset = 0
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what is passed on in place of ``data``."""
        start, self._offset = self._offset, self._offset + len(data)
        faults = self._faults
        if faults.drop:
            low, high = _intersection(start, data, *faults.drop)
            return data[:low] + data[high:]
        if faults.duplicate:
            return self._change_block(start, data, *faults.duplicate, 1, lambda block: block * 2)
        if faults.swap:
            size = faults.swap[1]
            return self._change_block(
                start, data, *faults.swap, 2, lambda both: both[size:] + both[:size]
            )
        if faults.flip is not None and start <= faults.flip < self._offset:
            at = faults.flip - start
            return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        if faults.insert and start <= faults.insert[0] < self._offset:
            at = faults.insert[0] - start
            return data[:at] + faults.insert[1] + data[at:]
        return data

    def _change_block(
        self,
        start: int,
        data: bytes,
        offset: int,
        size: int,
        count: int,
        change: Callable[[bytes], bytes],
    ) -> bytes:
        """Collect ``count`` blocks of ``size`` bytes from ``offset`` on, and change them."""
        low, high = _intersection(start, data, offset, count * size)
        self._held += data[low:high]
        if len(self._held) < count * size:
            return data[:low] + data[high:]
        changed, self._held = change(self._held), b""
        self._faults = FaultSpec()
        return data[:low] + changed + data[high:]

    def flush(self) -> bytes:
        """Return what is still held back when the stream ends."""
        held, self._held = self._held, b""
        return held


def _intersection(start: int, data: bytes, offset: int, size: int) -> tuple[int, int]:
    """Return where a range of the stream lies in ``data``, which begins at ``start``."""
    low = min(max(0, offset - start), len(data))
    return low, min(max(low, offset + size - start), len(data))
