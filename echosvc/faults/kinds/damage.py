"""Faults of bytes: what is lost, repeated, reordered, changed or inserted at an offset."""

from __future__ import annotations

from collections.abc import Iterable

from echosvc.faults.kind import DOWN, REQUIRED, FaultKind, Parameter, direction
from echosvc.faults.stage import Action, Context, Item, Stage
from echosvc.faults.values import LAST_OFFSET, LONGEST_BLOCK, Data, Size, ValueKind


def _parameters(name: str, kind: ValueKind, summary: str) -> tuple[Parameter, ...]:
    at = Parameter("at", Size(), 0, "the offset of the first byte")
    return Parameter(name, kind, REQUIRED, summary), at, direction(DOWN)


class _Damage(FaultKind):
    """Changes bytes at an offset, once in a connection."""

    stage_class: type[_Damaging]

    def stage(self, context: Context, direction: str) -> Stage | None:
        """Return the stage that changes the bytes."""
        return self.stage_class(context, direction) if self.concerns(context, direction) else None


class _Damaging(Stage):
    """Collects a block from an offset on, and passes on another one in its place.

    :cvar blocks: the block is so many times the size.
    """

    blocks = 1
    _held = b""
    _over = False

    @property
    def _size(self) -> int:
        return self.blocks * int(self.values["size"])

    def changed(self, block: bytes) -> bytes:
        """Return what is passed on in place of the block."""
        raise NotImplementedError

    def pass_data(self, item: Item) -> Iterable[Item]:
        """Return the bytes, without the block until it is complete, then with the changed one."""
        at = self.values["at"]
        low, high = _intersection(self.offset, item.data, at, self._size)
        if self._over or low == high:
            return (item,)
        if not self._held and not self._begins(item):
            return (item,)
        self._held += item.data[low:high]
        block = b""
        if len(self._held) == self._size:
            self._over = True
            block, self._held = self.changed(self._held), b""
            self.report(at)
        data = item.data[:low] + block + item.data[high:]
        return (item.carrying(data),) if data else ()

    def _begins(self, item: Item) -> bool:
        """Return whether the fault is in effect at its first byte."""
        self._over = not self.is_active(item)
        return not self._over

    def release(self) -> bytes:
        """Return what is held, as it came."""
        held, self._held = self._held, b""
        return held

    def pass_end(self, item: Item) -> Iterable[Item]:
        """Return what is held, as it came, and the end."""
        held = self.release()
        if held and item.action is Action.FIN:
            return Item(item.due, Action.SEND, held), item
        return (item,)


def _intersection(start: int, data: bytes, offset: int, size: int) -> tuple[int, int]:
    """Return where a range of the stream lies in ``data``, which begins at ``start``."""
    low = min(max(0, offset - start), len(data))
    return low, min(max(low, offset + size - start), len(data))


class _Passing(_Damaging):
    """Changes the bytes of its block as they come, and holds nothing."""

    _begun = False

    def pass_data(self, item: Item) -> Iterable[Item]:
        """Return the bytes, those of the block changed."""
        low, high = _intersection(self.offset, item.data, self.values["at"], self._size)
        if self._over or low == high:
            return (item,)
        if not self._begun:
            self._begun = True
            if not self._begins(item):
                return (item,)
            self.report(self.values["at"])
        data = item.data[:low] + self.changed(item.data[low:high]) + item.data[high:]
        return (item.carrying(data),) if data else ()


class _Dropping(_Passing):
    def changed(self, block: bytes) -> bytes:  # noqa: ARG002
        """Return nothing."""
        return b""


class _Changing(_Passing):
    def changed(self, block: bytes) -> bytes:
        """Return the bytes, one bit of each changed."""
        return bytes(byte ^ 1 for byte in block)


class _Repeating(_Damaging):
    def changed(self, block: bytes) -> bytes:
        """Return the block twice."""
        return block * 2


class _Swapping(_Damaging):
    blocks = 2

    def changed(self, block: bytes) -> bytes:
        """Return the second half before the first one."""
        middle = len(block) // 2
        return block[middle:] + block[:middle]


class _Inserting(_Passing):
    """Inserts data before the byte at the offset."""

    @property
    def _size(self) -> int:
        return 1

    def changed(self, block: bytes) -> bytes:
        """Return the data, and the byte behind it."""
        return bytes(self.values["data"]) + block


_BLOCK = Size(1, LONGEST_BLOCK)


class Drop(_Damage):
    """Bytes are lost."""

    name = "drop"
    summary = "so many bytes are lost"
    parameters = _parameters("size", Size(1, LAST_OFFSET), "how many")
    stage_class = _Dropping


class Repeat(_Damage):
    """Bytes arrive twice."""

    name = "repeat"
    summary = "so many bytes are sent twice"
    parameters = _parameters("size", _BLOCK, "how many")
    stage_class = _Repeating


class Swap(_Damage):
    """Bytes arrive in another order."""

    name = "swap"
    summary = "so many bytes are sent behind the next ones of the same number"
    parameters = _parameters("size", _BLOCK, "how many")
    stage_class = _Swapping


class Change(_Damage):
    """Bytes are changed."""

    name = "change"
    summary = "one bit of each of so many bytes changes"
    parameters = _parameters("size", Size(1, LAST_OFFSET), "how many")
    stage_class = _Changing


class Insert(_Damage):
    """Bytes arrive that nobody sent."""

    name = "insert"
    summary = "bytes arrive that were never sent"
    parameters = _parameters("data", Data(), "the bytes, with escapes such as \\n and \\x2c")
    stage_class = _Inserting
