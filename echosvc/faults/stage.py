"""What a direction of a connection is made of: items in time, and the stages that change them.

Theory of operation. A direction is a chain of stages, one for each fault, in the order of the
faults. What comes from the sender is an item: bytes, an EOF or the end by a reset. An item has a
time, ``due``: when it may leave. A stage takes an item and returns what leaves it, with the same
time or later ones. So the whole schedule of the bytes is known at the moment at which they come.
Nothing polls, and the same input at the same times makes the same output.

A stage counts the bytes that it receives. So the offset of a fault counts what the faults before it
have left of the stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any, NamedTuple


class Action(Enum):
    """What an item asks for.

    SEND and SEGMENT send bytes, SEGMENT in a segment of their own where possible. FIN ends the
    direction. BREAK says that the sender's connection was reset: the receiver's is reset.
    CLOSE ends both connections with FIN, RESET both with RST. SILENCE ends nothing, and passes
    nothing on any more.
    """

    SEND = "send"
    SEGMENT = "segment"
    FIN = "fin"
    BREAK = "break"
    CLOSE = "close"
    RESET = "reset"
    SILENCE = "silence"


#: The actions that carry bytes.
CARRIES = (Action.SEND, Action.SEGMENT)
#: How a connection may end, as the language calls it.
ENDS = {"fin": Action.CLOSE, "reset": Action.RESET, "silence": Action.SILENCE}


class Item(NamedTuple):
    """Something that leaves a stage, or a direction.

    :ivar due: when it may leave, seconds of the clock; ``math.inf``: never.
    :ivar action: what it asks for.
    :ivar data: the bytes of SEND and SEGMENT.
    :ivar holder: the fault that holds it back for longer; without that it may leave at once.
    """

    due: float
    action: Action
    data: bytes = b""
    holder: object = None

    def later(self, due: float, holder: object = None) -> Item:
        """Return it with a time that is not before its own."""
        if due <= self.due:
            return self
        return Item(due, self.action, self.data, holder or self.holder)

    def part(self, start: int, stop: int | None = None) -> Item:
        """Return an item with these of its bytes."""
        return Item(self.due, self.action, self.data[start:stop], self.holder)

    def carrying(self, data: bytes) -> Item:
        """Return an item with other bytes."""
        return Item(self.due, self.action, data, self.holder)


@dataclass
class Context:
    """A fault of one connection.

    :ivar values: the values of all parameters of its kind.
    :ivar fault: what identifies it.
    :ivar key: the seed, the fault, the connection: what all draws depend on.
    :ivar accepted: when the connection was accepted, seconds of the clock.
    :ivar since: when the fault was set, seconds of the clock.
    :ivar report: called with the direction, or "", and the offset, each time that it happens.
    """

    values: Mapping[str, Any]
    fault: object
    key: str
    accepted: float
    since: float
    report: Callable[[str, int], None]

    def is_active(self, now: float) -> bool:
        """Return whether the fault is in effect at a time."""
        stop = self.values["stop"]
        age = now - self.since
        return bool(self.values["start"] <= age < (math.inf if stop is None else stop))

    def draw(self, *place: object) -> float:
        """Return a number from 0 to below 1: the same for the same place in each run.

        It depends on the place alone, such as an offset. So it does not matter in how many pieces
        the bytes before it came.
        """
        return Random(f"{self.key}/{place}").random()  # noqa: S311  # it is to be repeatable


class Stage:
    """What a fault does to one direction. This one does nothing.

    :param context: the fault.
    :param direction: the direction, for reports.
    :ivar offset: number of bytes that came.
    """

    def __init__(self, context: Context, direction: str) -> None:
        self.context, self.values = context, context.values
        self.direction = direction
        self.offset = 0
        self._reported = False

    def process(self, item: Item) -> Iterable[Item]:
        """Take an item; return what leaves."""
        change = self.pass_data if item.action in CARRIES else self.pass_end
        leaving = list(change(item))  # before the offset moves on
        self.offset += len(item.data)
        return leaving

    def pass_data(self, item: Item) -> Iterable[Item]:
        """Return what leaves in place of bytes."""
        return (item,)

    def pass_end(self, item: Item) -> Iterable[Item]:
        """Return what leaves in place of an end."""
        return (item,)

    def release(self) -> bytes:
        """Return the bytes that are held back, when the fault ends before the stream."""
        return b""

    def is_active(self, item: Item) -> bool:
        """Return whether the fault is in effect when the item passes."""
        return self.context.is_active(item.due)

    def report(self, offset: int | None = None) -> None:
        """Report that the fault happens, at this offset or at the bytes that come now."""
        self.context.report(self.direction, self.offset if offset is None else offset)

    def report_once(self) -> None:
        """Report a fault that goes on, when it begins."""
        if not self._reported:
            self._reported = True
            self.report()


class Timer:
    """What a fault does to a connection in time.

    :ivar due: when, seconds of the clock; ``math.inf`` = never.
    :ivar action: what then.
    """

    def __init__(self, context: Context, due: float, action: Action) -> None:
        self.context, self.due, self.action = context, due, action

    def moved(self, now: float) -> None:
        """Note that bytes have moved, in either direction."""

    def happen(self) -> Action | None:
        """Return what happens now, :attr:`due`; ``None`` = nothing."""
        due, self.due = self.due, math.inf
        if not self.context.is_active(due):
            return None
        self.context.report("", 0)
        return self.action
