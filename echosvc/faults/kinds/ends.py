"""Faults of ends: connections that are closed, reset, silent, or never begin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from echosvc.faults.kind import BOTH, DOWN, REQUIRED, SCOPE, UP, FaultKind, Parameter, direction
from echosvc.faults.stage import ENDS, Action, Context, Item, Stage, Timer
from echosvc.faults.values import Count, Size, Time, Word

#: The longest reply of which the middle is found; of a longer one so many bytes are the whole.
LONGEST_REPLY = 1 << 16
_BEFORE, _MIDDLE, _AFTER = "before", "middle", "after"


class _End(FaultKind):
    """Ends a connection after a time, a number of bytes or of messages."""

    has_main = False
    action: Action
    parameters = (
        Parameter("after", Time(), None, "this time after the client has connected"),
        Parameter("at", Size(), None, "after so many bytes have passed"),
        Parameter("messages", Count(), None, "after so many messages, lines, of the client"),
        Parameter(
            "reply",
            Word(_BEFORE, _MIDDLE, _AFTER),
            None,
            "at the reply to the last one of these messages",
        ),
        direction(DOWN),
    )

    def find_error(self, values: Mapping[str, Any]) -> str:
        """Return that not exactly one place is given, or what does not belong to it."""
        given = [name for name in ("after", "at", "messages") if values[name] is not None]
        if len(given) != 1:
            return "one of after, at and messages must be given" + " alone" * bool(given)
        if values["reply"] is not None and values["messages"] is None:
            return "reply needs messages"
        if values["direction"] != DOWN and values["at"] is None:
            return "direction is for at: messages are the client's, replies the server's"
        return ""

    def stage(self, context: Context, direction: str) -> Stage | None:
        """Return the stage that ends the connection at a byte."""
        values = context.values
        if values["at"] is not None and self.concerns(context, direction):
            return _AtOffset(context, direction, self.action)
        if values["messages"] is None:
            return None
        if values["reply"] is None:
            return _AtLine(context, direction, self.action) if direction == UP else None
        return (
            _REPLIES[values["reply"]](context, direction, self.action)
            if direction == DOWN
            else None
        )

    def timer(self, context: Context) -> Timer | None:
        """Return the timer that ends the connection."""
        after = context.values["after"]
        if after is None:
            return None
        return Timer(context, max(context.accepted, context.since) + after, self.action)


class Close(_End):
    """A connection that is closed too early."""

    name = "close"
    summary = "both connections are closed, with FIN"
    action = Action.CLOSE


class Reset(_End):
    """A connection that is reset."""

    name = "reset"
    summary = "both connections are reset, with RST"
    action = Action.RESET


class _Ending(Stage):
    """Passes a part of the stream, then ends the connection."""

    def __init__(self, context: Context, direction: str, action: Action) -> None:
        super().__init__(context, direction)
        self._action = action
        self._over = False

    def find(self, data: bytes) -> int | None:
        """Return how many of the bytes that came now pass before the end; ``None`` = all."""
        raise NotImplementedError

    def pass_data(self, item: Item) -> Iterable[Item]:
        """Return the bytes, or those before the end and the end."""
        passed = None if self._over else self.find(item.data)
        if passed is None:
            return (item,)
        self._over = True
        if not self.is_active(item):
            return (item,)
        self.report(self.offset + passed)
        end = Item(item.due, self._action)
        return (item.part(0, passed), end) if passed else (end,)


class _AtOffset(_Ending):
    def find(self, data: bytes) -> int | None:
        """Return the offset, once it is reached; at 0 with the first byte."""
        left: int = self.values["at"] - self.offset
        return left if left <= len(data) else None


class _AtLine(_Ending):
    """Ends behind the last byte of the last message."""

    _lines = 0

    def find(self, data: bytes) -> int | None:
        """Return the end of the last line."""
        return self.find_line(data, self.values["messages"])

    def find_line(self, data: bytes, number: int) -> int | None:
        """Return where a line ends; 0 where all of it has passed."""
        place = 0
        while self._lines < number:
            place = data.find(b"\n", place) + 1
            if not place:
                return None
            self._lines += 1
        return place


class _BeforeReply(_AtLine):
    """Ends when the first byte of the last reply comes, before it."""

    def find(self, data: bytes) -> int | None:
        """Return the end of the reply before it, once there is more."""
        place = self.find_line(data, self.values["messages"] - 1)
        return None if place is None or place == len(data) else place


class _InReply(_BeforeReply):
    """Holds the last reply until all of it has come, and passes half of it."""

    _held = b""
    _is_last = False

    def pass_data(self, item: Item) -> Iterable[Item]:
        """Return the replies before the last one; hold that."""
        if self._over:
            return (item,)
        place = 0 if self._is_last else self.find(item.data)
        if place is None:
            return (item,)
        if not self.is_active(item):
            self._over = True
            return (item,)
        self._is_last = True
        reply, newline, _ = (self._held + item.data[place:]).partition(b"\n")
        self._held = (reply + newline)[:LONGEST_REPLY]
        whole = newline or len(self._held) == LONGEST_REPLY
        end = self._end(item) if whole else ()
        return (*([item.part(0, place)] if place else ()), *end)

    def _end(self, item: Item) -> tuple[Item, ...]:
        """Return half of the reply, and the end."""
        self._over = True
        half = self._held[: (len(self._held) + 1) // 2]
        self._held = b""
        self.report()
        return Item(item.due, Action.SEND, half), Item(item.due, self._action)

    def release(self) -> bytes:
        """Return what is held of the reply."""
        held, self._held = self._held, b""
        return held

    def pass_end(self, item: Item) -> Iterable[Item]:
        """Return half of what was held, in place of the server's own end."""
        return self._end(item) if self._held else (item,)


_REPLIES: dict[str, type[_Ending]] = {_BEFORE: _BeforeReply, _MIDDLE: _InReply, _AFTER: _AtLine}


class Idle(FaultKind):
    """A middlebox that forgets idle connections."""

    name = "idle"
    summary = "a connection on which no byte has moved for TIME ends"
    parameters = (
        Parameter("time", Time(positive=True), REQUIRED, "how long"),
        Parameter("end", Word(*ENDS), "fin", "how it ends; silence: nothing is passed on any more"),
    )

    def timer(self, context: Context) -> Timer | None:
        """Return the timer."""
        return _IdleTimer(context)


class _IdleTimer(Timer):
    """Begins anew with each byte."""

    def __init__(self, context: Context) -> None:
        self._time: float = context.values["time"]
        begin = max(context.accepted, context.since)
        super().__init__(context, begin + self._time, ENDS[context.values["end"]])

    def moved(self, now: float) -> None:
        """Begin anew."""
        self.due = now + self._time

    def happen(self) -> Action | None:
        """Return how the connection ends; outside of its time, begin anew."""
        due = self.due
        action = super().happen()
        if action is None:
            self.due = due + self._time
        return action


class Fin(FaultKind):
    """A broken half-close."""

    name = "fin"
    summary = "a FIN closes or resets both connections, is dropped, or comes late"
    parameters = (
        Parameter("how", Word("close", "reset", "drop", "late"), REQUIRED, "what becomes of it"),
        Parameter("time", Time(positive=True), None, "how late"),
        direction(BOTH),
    )

    def find_error(self, values: Mapping[str, Any]) -> str:
        """Return that the time is missing, or has no meaning."""
        if (values["how"] == "late") == (values["time"] is not None):
            return ""
        return "late needs time" if values["how"] == "late" else "time is for fin=late"

    def stage(self, context: Context, direction: str) -> Stage | None:
        """Return the stage that takes the FIN."""
        return _AtFin(context, direction) if self.concerns(context, direction) else None


class _AtFin(Stage):
    def pass_end(self, item: Item) -> Iterable[Item]:
        """Return what becomes of a FIN."""
        if item.action is not Action.FIN or not self.is_active(item):
            return (item,)
        self.report()
        how = self.values["how"]
        if how == "late":
            return (item.later(item.due + self.values["time"], self.context.fault),)
        return () if how == "drop" else (Item(item.due, _ACTIONS[how]),)


_ACTIONS = {"close": Action.CLOSE, "reset": Action.RESET}


class Rst(FaultKind):
    """A middlebox that hides resets."""

    name = "rst"
    summary = "a reset of one side is a FIN for the other one, or is not passed on"
    parameters = (
        Parameter("how", Word("fin", "drop"), REQUIRED, "what becomes of it"),
        direction(BOTH),
    )

    def stage(self, context: Context, direction: str) -> Stage | None:
        """Return the stage that takes the reset."""
        return _AtReset(context, direction) if self.concerns(context, direction) else None


class _AtReset(Stage):
    def pass_end(self, item: Item) -> Iterable[Item]:
        """Return what becomes of a reset."""
        if item.action is not Action.BREAK or not self.is_active(item):
            return (item,)
        self.report()
        return () if self.values["how"] == "drop" else (Item(item.due, Action.CLOSE),)


class Accept(FaultKind):
    """A server that cannot be reached, or a balancer without servers."""

    name = "accept"
    summary = "connections are closed, reset or left in silence at once, never accepted or refused"
    parameters = (
        Parameter(
            "how",
            Word("close", "reset", "silence", "never", "refuse"),
            REQUIRED,
            "never: the accept queue is full, so no SYN is answered; refuse: nobody listens; these "
            "two for TCP on Linux",
        ),
    )

    def find_error(self, values: Mapping[str, Any]) -> str:
        """Return that a listener cannot choose among those that it does not accept."""
        if values["how"] not in ("never", "refuse"):
            return ""
        given = [each.name for each in SCOPE[:4] if values[each.name] != each.default]
        return (
            f"{values['how']} concerns all clients, so {given[0]} has no meaning" if given else ""
        )

    def accepts(self, context: Context) -> str:
        """Return what is done to a connection in place of relaying it."""
        how: str = context.values["how"]
        if how in ("never", "refuse") or not context.is_active(context.accepted):
            return ""
        context.report("", 0)
        return how
