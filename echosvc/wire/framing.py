"""Framing: how a stream of bytes is cut into messages.

A framer takes the bytes of one read and returns messages one by one. So its caller can stop in the
middle of a read and continue later, and a read of thousands of short lines cannot become a queue
without bound. At the end of the stream :meth:`Framer.end` returns what is left.

To add a framing, subclass :class:`Framer` and add a row to :data:`FRAMINGS`. The settings,
the command line, its help and the reference page read that table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

_HEADER = struct.Struct("!I")


class FramingError(Exception):
    """The peer's bytes are no message."""


class MessageTooLong(FramingError):
    """A message is longer than the limit."""


class MessageTruncated(FramingError):
    """The stream ended inside a message that its framing cannot return incomplete."""


class Utf8Decoder:
    """Node's ``string_decoder`` for UTF-8, on bytes: invalid parts become U+FFFD.

    Its lead byte alone decides whether a character is complete (C0-DF two bytes, E0-EF three,
    F0-F7 four). A lead byte at the end of a read that lacks bytes is held, even if it cannot
    become a valid character. Continuation bytes are added to it. When it is complete, or at the
    first other byte, the held bytes are decoded by themselves. Python's incremental codec rejects
    such bytes earlier, and so cuts differently.
    """

    __slots__ = ("_held", "_missing")

    def __init__(self) -> None:
        self._held = b""
        self._missing = 0

    def decode(self, data: bytes) -> bytes:
        """Return the valid UTF-8 that ``data`` completes; it may be empty."""
        if not self._missing and data.isascii():
            return data
        head, data = self._fill(data)
        cut = len(data) - self._incomplete(data)
        self._held += data[cut:]
        return head + replace_invalid(data[:cut])

    def end(self) -> bytes:
        """Return the held bytes, decoded as they are; hold nothing."""
        held, self._held, self._missing = self._held, b"", 0
        return replace_invalid(held)

    def _fill(self, data: bytes) -> tuple[bytes, bytes]:
        """Complete the held character; return it decoded, and the rest of ``data``."""
        if not self._missing:
            return b"", data
        size = 0
        while size < min(self._missing, len(data)) and data[size] & 0xC0 == 0x80:
            size += 1
        self._held += data[:size]
        self._missing -= size
        if self._missing and size == len(data):
            return b"", b""
        return self.end(), data[size:]

    def _incomplete(self, data: bytes) -> int:
        """Return how many bytes at the end of ``data`` begin an incomplete character."""
        for size in range(1, min(4, len(data)) + 1):
            lead = data[-size]
            if lead & 0xC0 != 0x80:
                self._missing = max(0, _announced(lead) - size)
                return size if self._missing else 0
        return 0


def _announced(lead: int) -> int:
    """Return the size of the character that a lead byte begins; 0: it is no lead byte."""
    if 0xC0 <= lead <= 0xDF:
        return 2
    if 0xE0 <= lead <= 0xEF:
        return 3
    return 4 if 0xF0 <= lead <= 0xF7 else 0


def replace_invalid(data: bytes) -> bytes:
    """Return ``data`` as valid UTF-8: each maximal invalid part becomes one U+FFFD."""
    return data if data.isascii() else data.decode("utf-8", "replace").encode("utf-8")


class Framer:
    """One connection's incoming bytes, cut into messages."""

    def feed(self, data: bytes) -> None:
        """Take the bytes of one read (at least one byte)."""
        raise NotImplementedError

    def take(self) -> bytes | None:
        """Return the next complete message; ``None``: more bytes are needed.

        :raises MessageTooLong: the next message exceeds the limit.
        """
        raise NotImplementedError

    def end(self) -> bytes | None:
        """Return the last message of a stream that has ended; ``None``: there is none.

        Call it once :meth:`take` has returned ``None``.

        :raises MessageTruncated: the stream ended inside a message.
        """
        return None

    def wrap(self, reply: bytes) -> bytes:
        """Return ``reply`` as it is sent."""
        return reply

    @property
    def pending(self) -> int:
        """Bytes that are held until more come, or until :meth:`take`."""
        raise NotImplementedError


class ChunkFramer(Framer):
    """A message is what one read returned, as in Node's ``data`` event."""

    def __init__(self) -> None:
        self._reads: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take one read, which is one message."""
        self._reads.append(data)

    def take(self) -> bytes | None:
        """Return the oldest read."""
        return self._reads.pop(0) if self._reads else None

    @property
    def pending(self) -> int:
        """Bytes of reads that were not taken yet."""
        return sum(map(len, self._reads))


class TextFramer(ChunkFramer):
    """A message is the text that one read completes, if it completes any."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = Utf8Decoder()

    def feed(self, data: bytes) -> None:
        """Take one read; bytes of an incomplete character are held back."""
        text = self._decoder.decode(data)
        if text:
            self._reads.append(text)

    def end(self) -> bytes | None:
        """Return what an incomplete last character decodes to."""
        return self._decoder.end() or None


class LineFramer(Framer):
    """A message is a line: up to and with its LF; the last one may lack it.

    :param limit: longest message in bytes, its LF included.
    """

    def __init__(self, limit: int, text: bool = False) -> None:
        self._limit = limit
        self._text = text
        self._buffer = bytearray()
        self._start = 0  # where the next message begins
        self._searched = 0  # no LF is before this: no byte is searched twice

    def feed(self, data: bytes) -> None:
        """Take one read. It is appended: a long line is copied once, not once a read."""
        del self._buffer[: self._start]
        self._searched -= self._start
        self._start = 0
        self._buffer += data

    def take(self) -> bytes | None:
        """Return the next line."""
        # No further than the limit: a line whose LF is behind it is too long.
        found = self._buffer.find(b"\n", self._searched, self._start + self._limit)
        if found >= 0:
            return self._cut(found + 1)
        if self.pending > self._limit:
            raise MessageTooLong(f"a line of more than {self._limit} bytes")
        self._searched = len(self._buffer)
        return None

    def end(self) -> bytes | None:
        """Return the last line, which has no LF."""
        return self._cut(len(self._buffer)) if self.pending else None

    @property
    def pending(self) -> int:
        """Bytes that were not returned yet."""
        return len(self._buffer) - self._start

    def _cut(self, end: int) -> bytes:
        message = bytes(self._buffer[self._start : end])
        self._start = self._searched = end
        return replace_invalid(message) if self._text else message


class LengthFramer(Framer):
    """A message follows its length, four bytes big-endian.

    :param limit: longest message in bytes, its header not counted.
    """

    def __init__(self, limit: int, text: bool = False) -> None:
        self._limit = limit
        self._text = text
        self._buffer = bytearray()
        self._start = 0

    def feed(self, data: bytes) -> None:
        """Take one read. It is appended: a long message is copied once, not once a read."""
        del self._buffer[: self._start]
        self._start = 0
        self._buffer += data

    def take(self) -> bytes | None:
        """Return the next payload; it may be empty."""
        if self.pending < _HEADER.size:
            return None
        (length,) = _HEADER.unpack_from(self._buffer, self._start)
        if length > self._limit:
            raise MessageTooLong(f"a message of {length} bytes, more than {self._limit}")
        end = self._start + _HEADER.size + length
        if end > len(self._buffer):
            return None
        message = bytes(self._buffer[self._start + _HEADER.size : end])
        self._start = end
        return replace_invalid(message) if self._text else message

    def end(self) -> bytes | None:
        """Return ``None``: an incomplete frame is no message."""
        if self.pending:
            raise MessageTruncated(f"{self.pending} bytes of an incomplete message")
        return None

    def wrap(self, reply: bytes) -> bytes:
        """Return the reply behind its length."""
        return _HEADER.pack(len(reply)) + reply

    @property
    def pending(self) -> int:
        """Bytes that were not returned yet, headers included."""
        return len(self._buffer) - self._start


class Framing(NamedTuple):
    """One row of :data:`FRAMINGS`.

    :ivar meaning: what one message is, in the words of the help and the reference page.
    :ivar build: builds one connection's framer from the longest message in bytes and from
        whether messages are text, whose invalid UTF-8 is replaced.
    """

    meaning: str
    build: Callable[[int, bool], Framer]


def _chunk_framer(limit: int, text: bool) -> Framer:  # noqa: ARG001
    return TextFramer() if text else ChunkFramer()


#: Every framing by its name, the default one first.
FRAMINGS: dict[str, Framing] = {
    "chunk": Framing("whatever one read delivered", _chunk_framer),
    "line": Framing("up to and with the LF", LineFramer),
    "length": Framing("behind a 4-byte big-endian length", LengthFramer),
}


def make_framer(framing: str, encoding: str, max_message: int) -> Framer:
    """Build one connection's framer.

    :param framing: a name in :data:`FRAMINGS`.
    :param encoding: ``raw`` or ``utf-8``.
    :param max_message: longest message in bytes, its delimiter counted, a header not. Chunks, which
        one read bounds, are not limited by it.
    """
    return FRAMINGS[framing].build(max_message, encoding == "utf-8")
