"""Messages with a mark each, sent to find out what a path does to the bytes in them."""

from __future__ import annotations

import itertools
import re
from string import ascii_lowercase

from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection, frame_message
from echosvc.probe.engine.prefix_detection import split_frames

#: Seconds without anything more after which everything has come; and once the mark has come.
_QUIET = 1.0
_SHORT_QUIET = 0.2
#: The most bytes that are received in an experiment.
_MAX_RECEIVED = 1 << 16
#: Letters of which two count the messages, and three that stand around the number and the content.
_COUNTING, _AROUND = 20, 3


class MarkedMessages:
    """Messages, each with a mark that is found again whatever happens to its content.

    Marks are letters. Upper and lower case are the same, so that a path that changes it is
    understood.

    :ivar end: a letter that no mark contains.
    :param framing: of the server.
    :param reserved: bytes that no mark may contain.
    :param letters: those of which marks are made; the first ones stand in each.
    :raises ValueError: too few letters are left.
    """

    def __init__(self, framing: str, reserved: bytes, letters: str = ascii_lowercase) -> None:
        free = [letter for letter in letters if letter.encode() not in reserved.lower()]
        if len(free) < _COUNTING + _AROUND:
            raise ValueError("too few letters are left for marks")
        self._framing = framing
        self._left, self._right, end, *some = free
        self.end = end.encode()
        self._counting = some[:_COUNTING]
        self._pattern = re.compile(
            f"{self._left}([{''.join(self._counting)}]{{2}}){self._right}".encode(), re.IGNORECASE
        )

    def mark(self, number: int) -> bytes:
        """Return the mark of a message."""
        high, low = divmod(number, _COUNTING)
        return f"{self._left}{self._counting[high]}{self._counting[low]}{self._right}".encode()

    async def exchange(self, connection: ProbeConnection, messages: list[bytes]) -> bytes:
        """Send messages in one piece; return the replies without what the server adds.

        Without a framing they are one message. They end with a message that is nothing but a mark,
        which is waited for.

        :param messages: each contains the mark of its place in the list.
        """
        last = self.mark(len(messages))
        return await self._exchange(connection, [*messages, last], last, last)

    async def exchange_one(self, connection: ProbeConnection, message: bytes) -> bytes:
        """Send one message, which contains the mark 0, and return the reply in the same way."""
        whole = message + b"\n" * (self._framing == "line")
        return await self._exchange(connection, [message], self.mark(0), whole)

    async def _exchange(
        self, connection: ProbeConnection, messages: list[bytes], mark: bytes, whole: bytes
    ) -> bytes:
        connection.expect_sizes(frozenset())
        data = b"".join(map(self._frame, messages))
        connection.client.write(data).addErrback(lambda _: None)
        came = b""
        try:
            while len(came) < _MAX_RECEIVED and whole not in came:
                quiet = _SHORT_QUIET if mark in came.lower() else _QUIET
                came += await connection.receive(max(quiet, 3 * connection.rtt))
        except ConnectionEnded:
            pass
        return connection.prefix_matcher.strip(self._without_headers(came))

    def _frame(self, message: bytes) -> bytes:
        return frame_message(self._framing, message + b"\n" * (self._framing == "line"))

    def _without_headers(self, came: bytes) -> bytes:
        return b"".join(split_frames(came)) if self._framing == "length" else came

    def between(self, came: bytes) -> dict[int, bytes]:
        """Return what came behind each mark, up to the next one or to the end."""
        found = list(self._pattern.finditer(came))
        ends = [match.start() for match in found[1:]]
        return {
            self._number(match[1]): came[match.end() : end]
            for match, end in itertools.zip_longest(found, ends)
        }

    def _number(self, letters: bytes) -> int:
        high, low = map(self._counting.index, letters.decode().lower())
        return high * _COUNTING + low
