"""Damages a stream of bytes without a connection, for servers of tests."""

from __future__ import annotations

from echosvc.faults.kind import DOWN, UP
from echosvc.faults.spec import FaultSpec
from echosvc.faults.stage import Action, Context, Item


class StreamMutator:
    """Damages one stream of bytes.

    A block that is repeated or swapped is held back until it is complete.

    :param fault: what is dropped, repeated, swapped, changed or inserted; its direction and whom
        it concerns do not matter here.
    """

    def __init__(self, fault: FaultSpec) -> None:
        direction = UP if fault.values.get("direction") == UP else DOWN
        context = Context(fault.values, fault, "", 0.0, 0.0, lambda *_: None)
        self._stage = fault.kind.stage(context, direction)

    def feed(self, data: bytes) -> bytes:
        """Return what is passed on in place of ``data``."""
        if self._stage is None or not data:
            return data
        return b"".join(each.data for each in self._stage.process(Item(0.0, Action.SEND, data)))

    def flush(self) -> bytes:
        """Return what is still held back when the stream ends."""
        return b"" if self._stage is None else self._stage.release()
