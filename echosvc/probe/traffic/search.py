"""The search for the next intact message in a stream that is not what was due.

Theory of operation. Each message begins with a stamp, which names it. So the stream is searched for
stamps of the connection. Where one is found, the message is made again and compared. Only a message
that is there byte for byte counts as found; a damaged one is part of what stands before the next.
What is decided depends on the bytes alone, not on how they were cut into reads: where a message is
right so far, its rest is waited for.
"""

from __future__ import annotations

from typing import NamedTuple

from echosvc.probe.traffic.messages import KEY_SIZE, STAMP_SIZE, Messages


class IntactMessage(NamedTuple):
    """A message that came intact.

    :ivar number: the message's.
    :ivar start: where it begins in what was searched.
    :ivar end: where it ends.
    """

    number: int
    start: int
    end: int


class StampSearch:
    """A search in a buffer that grows.

    :param messages: of the connection.
    :ivar buffer: what is searched.
    :ivar waiting: a stamp was found whose message is not whole yet.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self.buffer = bytearray()
        self.waiting = False
        self._position = 0  # no message begins before it
        self._candidate, self._number, self._agreed = b"", -1, 0

    def find(self, limit: int, known: int) -> IntactMessage | None:
        """Return the first intact message whose stamp begins before ``limit``.

        :param known: so many messages were sent.
        :return: ``None``: there is none so far.
        """
        self.waiting = False
        while self._candidate or self._find_stamp(limit, known):
            start = self._position + self._agreed
            came = bytes(self.buffer[start : start + self._missing])
            if self._candidate.startswith(came, self._agreed):
                self._agreed += len(came)
                self.waiting = self._missing > 0
                return None if self.waiting else self._found()
            self._candidate = b""
            self._position += 1
        return None

    def consume(self, size: int) -> bytes:
        """Remove and return what stands at the beginning of the buffer."""
        removed = bytes(self.buffer[:size])
        del self.buffer[:size]
        self._position = max(0, self._position - size)
        return removed

    @property
    def _missing(self) -> int:
        return len(self._candidate) - self._agreed

    def _found(self) -> IntactMessage:
        found = IntactMessage(self._number, self._position, self._position + self._agreed)
        self._candidate = b""
        return found

    def _find_stamp(self, limit: int, known: int) -> bool:
        """Find the next stamp of a message that was sent; return whether it is whole."""
        while (at := self.buffer.find(self._messages.key, self._position, limit)) >= 0:
            self._position = at
            stamp = bytes(self.buffer[at : at + STAMP_SIZE])
            if len(stamp) < STAMP_SIZE:
                self.waiting = True
                return False
            self._number = self._messages.number_in(stamp)
            if 0 <= self._number < known and self._begins():
                self._candidate, self._agreed = self._messages.make(self._number), STAMP_SIZE
                return True
            self._position += 1
        self._position = max(self._position, min(limit, len(self.buffer)) - KEY_SIZE + 1)
        return False

    def _begins(self) -> bool:
        """Return whether the message begins here, as far as it came.

        A peer that sends nothing but stamps must not make us make a long message for each.
        """
        beginning = self._messages.begin(self._number)
        end = self._position + len(beginning)
        return beginning.startswith(bytes(self.buffer[self._position : end]))
