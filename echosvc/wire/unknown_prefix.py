"""Replies of a server whose prefix was not given.

Whatever the prefix is, the bytes that were sent come back in their order, with other bytes
between them or without. Where the default prefix comes, more can be said.
"""

from __future__ import annotations

from collections import deque

from echosvc.wire.compare import common_prefix_length
from echosvc.wire.reply_matching import ReplyMatcher, StreamCounter
from echosvc.wire.template import Template

#: The most bytes of a stream that are kept until they come back.
MAX_KEPT = 16 * 1024 * 1024
#: Bytes of the first comparison; each further one has four times as many.
_FIRST_STEP = 64


class SubsequenceMatcher:
    """Matches the bytes sent as a subsequence of the bytes that come: in order, with gaps.

    :ivar returned: bytes that have come back.
    :ivar sure: ``False`` once more than :data:`MAX_KEPT` bytes were on their way; then nothing
        more is matched.
    """

    def __init__(self) -> None:
        self.returned = 0
        self.sure = True
        self._due: deque[bytes] = deque()
        self._size = self._offset = 0  # bytes that are due; offset in the first piece

    @property
    def complete(self) -> bool:
        """Whether nothing is due."""
        return not self._due

    def send(self, data: bytes) -> None:
        """Note what is sent."""
        if not (self.sure and data):
            return
        self._due.append(data)
        self._size += len(data)
        if self._size > MAX_KEPT:
            self.sure = False
            self._due.clear()

    def feed(self, data: bytes) -> None:
        """Take what came."""
        position = 0
        while self._due and 0 <= position < len(data):
            position = self._match(data, position)
            if self._due and position < len(data):
                position = data.find(self._due[0][self._offset], position)

    def _match(self, data: bytes, position: int) -> int:
        """Match what is due with what is at ``position``; return the position behind it."""
        step = _FIRST_STEP
        while self._due and position < len(data):
            due = self._due[0][self._offset : self._offset + step]
            came = data[position : position + len(due)]
            equal = common_prefix_length(due, came)
            self._advance(equal)
            position, step = position + equal, step * 4
            if equal < len(came):
                break
        return position

    def _advance(self, count: int) -> None:
        self.returned += count
        self._size -= count
        self._offset += count
        if self._offset == len(self._due[0]):
            self._due.popleft()
            self._offset = 0


class AnyPrefixReplyMatcher:
    """Finds the reply to one message behind any prefix.

    A server with the default prefix may have cut the message. With any other prefix the reply
    is complete when what came ends with the message.

    :param default: the prefix of a server that was given none.
    :param message: what was sent.
    :ivar complete: the whole reply came.
    :ivar received: something came.
    """

    def __init__(self, default: Template, message: bytes) -> None:
        self._matcher = ReplyMatcher(default, message)
        self._prefix = default.constant or b""
        self._message = message
        self._end = bytearray()
        self._opening = True  # what came may still become the default prefix
        self.complete = not message
        self.received = False

    @property
    def truncated(self) -> bool:
        """Whether the default prefix came, and not all of the message behind it."""
        begun = self._matcher.begun or (self._opening and self.received)
        return begun and not self.complete

    def feed(self, data: bytes) -> bool:
        """Take what came; return whether the reply is complete."""
        self._end += data
        self._opening = self._opening and self._prefix.startswith(self._end)
        self.received = True
        if not self.complete:
            ends = self._end.endswith(self._message) and not self._opening
            self.complete = self._matcher.feed(data) or ends
        if len(self._end) > 2 * len(self._message) + len(data):
            del self._end[: len(self._end) - len(self._message)]
        return self.complete


class AnyPrefixStreamCounter:
    """Counts a stream that comes back behind any prefix.

    If the default prefix came, and nothing like it was sent, it counts as
    :class:`~echosvc.wire.reply_matching.StreamCounter`. Otherwise the bytes sent must come back
    in their order.

    :param default: the prefix of a server that was given none.
    """

    def __init__(self, default: Template) -> None:
        self._counter = StreamCounter(default)
        self._matcher = SubsequenceMatcher()

    @property
    def sent(self) -> int:
        """Bytes that were sent."""
        return self._counter.sent

    def send(self, data: bytes) -> None:
        """Note what is sent."""
        self._counter.send(data)
        self._matcher.send(data)

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._counter.feed(data)
        self._matcher.feed(data)

    @property
    def payload(self) -> int:
        """Bytes that came back; with prefixes, where nothing tells them from the payload."""
        if self._counter.prefixed:
            return self._counter.payload
        return self._matcher.returned if self._matcher.sure else self._counter.received

    @property
    def returned(self) -> int:
        """How many of the bytes sent have come back."""
        return min(self.sent, self.payload)

    @property
    def has_extra(self) -> bool:
        """Whether more came back than was sent, as far as that can be known."""
        return self._counter.prefixed and self._counter.has_extra

    @property
    def complete(self) -> bool:
        """Whether all that was sent came back, as far as that can be known."""
        return self._counter.complete if self._counter.prefixed else self.payload >= self.sent
