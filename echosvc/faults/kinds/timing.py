"""Faults of time: what comes late, slowly, or in small pieces, and is right to the byte."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from echosvc.faults.kind import BOTH, DOWN, REQUIRED, Demand, FaultKind, Parameter, direction
from echosvc.faults.stage import Action, Context, Item, Stage
from echosvc.faults.values import Count, Size, Time

#: Pieces a second in which a rate is kept.
_PIECES = 100


class Latency(FaultKind):
    """Everything arrives later, each direction by itself."""

    name = "latency"
    summary = "everything arrives later by TIME, in the order in which it was sent"
    parameters = (
        Parameter("time", Time(), REQUIRED, "how much later"),
        Parameter("jitter", Time(), 0.0, "and at most so much more or less, drawn by the seed"),
        direction(BOTH),
    )
    harmless = True

    def stage(self, context: Context, direction: str) -> Stage | None:
        """Return the stage that delays."""
        return _Delay(context, direction) if self.concerns(context, direction) else None

    def demand(self, context: Context, direction: str) -> Demand:
        """Return how long bytes are on their way."""
        if not self.concerns(context, direction):
            return Demand()
        return Demand(seconds=context.values["time"] + context.values["jitter"])


class _Delay(Stage):
    """Delays each item; none overtakes another one."""

    _last = -math.inf

    def process(self, item: Item) -> Iterable[Item]:
        """Delay an item."""
        if self.is_active(item):
            self.report_once()
            jitter = self.values["jitter"]
            more = jitter and jitter * (2 * self.context.draw(self.direction, self.offset) - 1)
            item = item.later(item.due + max(0.0, self.values["time"] + more))
        item = item.later(self._last)
        self._last = item.due
        self.offset += len(item.data)
        return (item,)


class Rate(FaultKind):
    """A narrow link."""

    name = "rate"
    summary = "at most so many bytes a second pass, each direction by itself"
    parameters = (
        Parameter("bytes", Size(1, 1 << 40, "bytes a second"), REQUIRED, "bytes a second"),
        direction(BOTH),
    )
    harmless = True

    def stage(self, context: Context, direction: str) -> Stage | None:
        """Return the stage that paces."""
        return _Pace(context, direction) if self.concerns(context, direction) else None

    def demand(self, context: Context, direction: str) -> Demand:
        """Return the rate."""
        if not self.concerns(context, direction):
            return Demand()
        return Demand(rate=context.values["bytes"])


class _Pace(Stage):
    """Lets a byte leave once it has passed a link of a rate."""

    _free = -math.inf

    def pass_data(self, item: Item) -> Iterator[Item]:
        """Return the bytes in pieces of a hundredth of a second."""
        if not self.is_active(item):
            yield item.later(self._free)
            return
        self.report_once()
        rate: int = self.values["bytes"]
        size = max(1, rate // _PIECES)
        for start in range(0, len(item.data), size):
            piece = item.part(start, start + size)
            self._free = max(item.due, self._free) + len(piece.data) / rate
            yield piece.later(self._free)

    def pass_end(self, item: Item) -> Iterable[Item]:
        """Return the end behind the last byte."""
        return (item.later(self._free),)


class Stall(FaultKind):
    """A link that stops for a time."""

    name = "stall"
    summary = "the bytes from an offset on wait for TIME, or for ever"
    parameters = (
        Parameter("time", Time(endless=True), REQUIRED, "how long"),
        Parameter("at", Size(), 0, "the offset of the first byte that waits"),
        direction(DOWN),
    )

    def stage(self, context: Context, direction: str) -> Stage | None:
        """Return the stage that stalls."""
        return _Halt(context, direction) if self.concerns(context, direction) else None


class _Halt(Stage):
    """Holds everything from an offset on, for a time that begins when that byte comes."""

    _until: float | None = None

    def pass_data(self, item: Item) -> Iterator[Item]:
        """Return the bytes before the offset, and the others later."""
        before = max(0, self.values["at"] - self.offset)
        if before >= len(item.data):
            yield item
            return
        if before:
            yield item.part(0, before)
        if self._until is None:
            self._begin(item)
        yield self._held(item.part(before))

    def _begin(self, item: Item) -> None:
        self._until = -math.inf
        if self.is_active(item):
            self._until = item.due + self.values["time"]
            self.report(self.values["at"])

    def pass_end(self, item: Item) -> Iterable[Item]:
        """Return the end, behind what is held."""
        return (self._held(item),)

    def _held(self, item: Item) -> Item:
        return item if self._until is None else item.later(self._until, self.context.fault)


class Greeting(FaultKind):
    """A server that is slow to begin."""

    name = "greeting"
    summary = "the client gets nothing before TIME has passed since it connected"
    parameters = (Parameter("time", Time(endless=True), REQUIRED, "how long"),)
    harmless = True

    def stage(self, context: Context, direction: str) -> Stage | None:
        """Return the stage that holds what the server sends first."""
        return _Wait(context, direction) if direction == DOWN else None


class _Wait(Stage):
    """Holds everything until a time since the connection was accepted."""

    def process(self, item: Item) -> Iterable[Item]:
        """Return the item, not before the time has passed."""
        until = self.context.accepted + self.values["time"]
        if item.due < until and self.context.is_active(self.context.accepted):
            self.report_once()
            item = item.later(until, self.context.fault)
        return (item,)


class Segments(FaultKind):
    """A sender of small segments."""

    name = "segments"
    summary = "the bytes pass in segments of so many bytes"
    parameters = (
        Parameter("size", Count(1, 1 << 20), REQUIRED, "bytes of a segment"),
        Parameter("variation", Count(0, 1 << 20), 0, "at most so many more or less, by the seed"),
        Parameter("pause", Time(), 0.0, "time between two segments"),
        direction(BOTH),
    )
    harmless = True

    def find_error(self, values: Mapping[str, Any]) -> str:
        """Return that a segment could be empty."""
        less = values["variation"] < values["size"]
        return "" if less else "variation must be less than size"

    def stage(self, context: Context, direction: str) -> Stage | None:
        """Return the stage that cuts the stream."""
        return _Cut(context, direction) if self.concerns(context, direction) else None


class _Cut(Stage):
    """Cuts the stream at the same offsets, however it came."""

    _left = 0
    _next = -math.inf

    def pass_data(self, item: Item) -> Iterator[Item]:
        """Return the bytes segment by segment."""
        if not self.is_active(item):
            yield item.later(self._next)
            return
        self.report_once()
        start = 0
        while start < len(item.data):
            if not self._left:
                self._left = self._size(self.offset + start)
            stop = min(start + self._left, len(item.data))
            yield self._segment(item, item.data[start:stop])
            self._left -= stop - start
            start = stop

    def _segment(self, item: Item, data: bytes) -> Item:
        due = max(item.due, self._next)
        self._next = due + self.values["pause"]
        return Item(due, Action.SEGMENT, data, item.holder)

    def _size(self, offset: int) -> int:
        size: int = self.values["size"]
        variation = self.values["variation"]
        if not variation:
            return size
        drawn = self.context.draw(self.direction, offset)
        return size - int(variation) + int((2 * variation + 1) * drawn)

    def pass_end(self, item: Item) -> Iterable[Item]:
        """Return the end behind the last segment."""
        return (item.later(self._next - self.values["pause"]),)


class Buffer(FaultKind):
    """A middlebox that reads on although its receiver does not."""

    name = "buffer"
    summary = "so many bytes are read although the receiver does not take them: late back-pressure"
    parameters = (
        Parameter("size", Size(1, 1 << 40), REQUIRED, "bytes in each direction"),
        direction(BOTH),
    )
    harmless = True

    def stage(self, context: Context, direction: str) -> Stage | None:
        """Return a stage that reports; the queue itself is the buffer."""
        return _Note(context, direction) if self.concerns(context, direction) else None

    def demand(self, context: Context, direction: str) -> Demand:
        """Return the size of the buffer."""
        return Demand(size=context.values["size"] if self.concerns(context, direction) else 0)


class _Note(Stage):
    """Reports that there are bytes, and changes nothing."""

    def pass_data(self, item: Item) -> Iterable[Item]:
        """Return the bytes."""
        self.report_once()
        return (item,)
