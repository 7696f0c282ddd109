"""What faults a relay injects, and how they change a stream. No Twisted, no I/O."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class FaultSpec:
    """The faults that are injected into each connection. Offsets are of one direction's stream.

    At most one of ``drop``, ``duplicate``, ``swap``, ``flip`` and ``insert`` is set: the offsets
    of a second one would depend on the first.

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
    :ivar chunk_size: pass on this number of bytes at a time; 0 = as they come. A correct client
        tolerates this.
    :ivar on_reset: a reset is passed on as ``rst``, as ``fin``, or not at all (``drop``).
    :raises ValueError: a value of a wrong type or out of range, or a second change of the bytes.
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
        for name, (is_right, expected) in _RULES.items():
            value = getattr(self, name)
            if not is_right(value):
                raise ValueError(f"{name} must be {expected}, not {value!r}")
        given = [name for name in _CHANGES if getattr(self, name) is not None]
        if len(given) > 1:
            one_of = f"only one of {', '.join(_CHANGES)} is possible"
            raise ValueError(f"{one_of}, not {' and '.join(given)}")


#: The fields that change the bytes of a stream.
_CHANGES = ("drop", "duplicate", "swap", "flip", "insert")


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_block(value: object) -> bool:
    return _is_pair(value, lambda length: _is_count(length) and length != 0)


def _is_insertion(value: object) -> bool:
    return _is_pair(value, lambda data: isinstance(data, bytes) and data != b"")


def _is_pair(value: object, is_second: Callable[[object], bool]) -> bool:
    """Return whether a value is a tuple of an offset and of something else."""
    if not (isinstance(value, tuple) and len(value) == 2):
        return False
    return _is_count(value[0]) and is_second(value[1])


def _is_duration(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return 0 <= value < math.inf


#: Whether a value is right, and what it must be.
_Rule = tuple[Callable[[object], bool], str]


def _optional(is_right: Callable[[object], bool], expected: str) -> _Rule:
    return (lambda value: value is None or is_right(value)), f"{expected} or None"


def _one_of(*words: str) -> _Rule:
    return (lambda value: value in words), f"one of {', '.join(words)}"


_FLAG: _Rule = _is_flag, "True or False"
_DURATION: _Rule = _is_duration, "a number of seconds, finite and not negative"
_BLOCK = _optional(_is_block, "a tuple of an offset and a length of 1 or more,")
_COUNT = "a whole number, 0 or more,"
#: The rule of each field.
_RULES: dict[str, _Rule] = {
    "upstream": _FLAG,
    "drop": _BLOCK,
    "duplicate": _BLOCK,
    "swap": _BLOCK,
    "flip": _optional(_is_count, _COUNT),
    "insert": _optional(_is_insertion, "a tuple of an offset and bytes, at least one,"),
    "cut": _optional(_is_count, _COUNT),
    "on_fin": _one_of("pass", "close", "drop"),
    "unbounded": _FLAG,
    "idle_timeout": _DURATION,
    "on_idle": _one_of("fin", "rst", "silence"),
    "delay": _DURATION,
    "chunk_size": (_is_count, "a whole number, 0 or more"),
    "on_reset": _one_of("rst", "fin", "drop"),
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
