"""Whether what was sent came back, where nobody said which prefix the server has.

Whatever the prefix is: what was sent comes back in order, with something between or not.
No Twisted, no I/O.
"""

from __future__ import annotations

from collections import deque

from echosvc.wire.reply_matching import Answer, Tally, agreeing
from echosvc.wire.template import Template

#: What is kept of a stream until it comes back, bytes.
KEPT = 16 * 1024 * 1024
#: Compared at first, and then four times as much each time, bytes.
_STEP = 64


class InOrder:
    """Follows what was sent in what comes: all of it, in order, whatever stands between.

    :ivar back: bytes that have come back.
    :ivar sure: whether this is known; not where more than :data:`KEPT` bytes were under way.
    """

    def __init__(self) -> None:
        self.back = 0
        self.sure = True
        self._due: deque[bytes] = deque()
        self._size = self._offset = 0  # of what is due; in its first piece

    @property
    def complete(self) -> bool:
        """Whether nothing is due."""
        return not self._due

    def send(self, data: bytes) -> None:
        """Take note of what goes out."""
        if not (self.sure and data):
            return
        self._due.append(data)
        self._size += len(data)
        if self._size > KEPT:
            self.sure = False
            self._due.clear()

    def feed(self, data: bytes) -> None:
        """Take what came."""
        place = 0
        while self._due and 0 <= place < len(data):
            place = self._agree(data, place)
            if self._due and place < len(data):
                place = data.find(self._due[0][self._offset], place)

    def _agree(self, data: bytes, place: int) -> int:
        """Take what is due and stands here; give the place behind it."""
        step = _STEP
        while self._due and place < len(data):
            due = self._due[0][self._offset : self._offset + step]
            came = data[place : place + len(due)]
            agreed = agreeing(due, came)
            self._back(agreed)
            place, step = place + agreed, step * 4
            if agreed < len(came):
                break
        return place

    def _back(self, count: int) -> None:
        self.back += count
        self._size -= count
        self._offset += count
        if self._offset == len(self._due[0]):
            self._due.popleft()
            self._offset = 0


class OpenAnswer:
    """Finds one message in what comes back behind any prefix.

    A server of the usual prefix may have cut the message. From any other one, the answer
    is there when what came ends with the message.

    :param usual: the prefix of a server of which nothing else is said.
    :param message: what was sent.
    :ivar complete: the message is answered.
    :ivar came: something came.
    """

    def __init__(self, usual: Template, message: bytes) -> None:
        self._usual = Answer(usual, message)
        self._prefix = usual.constant or b""
        self._message = message
        self._end = bytearray()
        self._opening = True  # it may yet become the usual prefix
        self.complete = not message
        self.came = False

    @property
    def cut(self) -> bool:
        """Whether it is the usual prefix that came, and not all of the message behind it."""
        begun = self._usual.begun or (self._opening and self.came)
        return begun and not self.complete

    def feed(self, data: bytes) -> bool:
        """Take what came; give whether the message is answered."""
        self._end += data
        self._opening = self._opening and self._prefix.startswith(self._end)
        self.came = True
        if not self.complete:
            there = self._end.endswith(self._message) and not self._opening
            self.complete = self._usual.feed(data) or there
        if len(self._end) > 2 * len(self._message) + len(data):
            del self._end[: len(self._end) - len(self._message)]
        return self.complete


class OpenTally:
    """Counts a stream that comes back behind any prefix.

    Where the usual prefix came, and nothing like it was sent, it counts as
    :class:`~echosvc.wire.reply_matching.Tally`. Otherwise what was sent must come back in order.

    :param usual: the prefix of a server of which nothing else is said.
    """

    def __init__(self, usual: Template) -> None:
        self._usual = Tally(usual)
        self._order = InOrder()

    @property
    def sent(self) -> int:
        """Bytes that went out."""
        return self._usual.sent

    def send(self, data: bytes) -> None:
        """Take note of what goes out."""
        self._usual.send(data)
        self._order.send(data)

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._usual.feed(data)
        self._order.feed(data)

    @property
    def payload(self) -> int:
        """Bytes that came back; where prefixes cannot be told from them, with prefixes."""
        if self._usual.prefixed:
            return self._usual.payload
        return self._order.back if self._order.sure else self._usual.received

    @property
    def back(self) -> int:
        """Bytes of what went out that have come back."""
        return min(self.sent, self.payload)

    @property
    def surplus(self) -> bool:
        """Whether more came back than went out, where that can be known."""
        return self._usual.prefixed and self._usual.surplus

    @property
    def complete(self) -> bool:
        """Whether all that went out came back, as far as that can be known."""
        return self._usual.complete if self._usual.prefixed else self.payload >= self.sent
