"""The messages of a connection: each is unique, and is made again from its number.

Theory of operation. A message is a stamp and a piece of a ring of random bytes, which is made once
a process. The stamp is a key of the connection and the number of the message. The number is
multiplied by a constant modulo 2**36 before it is written in sixteen letters. So a stamp in which
one letter has changed names no message that is near, and no damaged message is taken for another.
The same product chooses the size and the piece of the ring. So a receiver that finds a stamp can
make the message again, and nothing that was sent need be kept.
"""

from __future__ import annotations

from functools import lru_cache, partial
from hashlib import blake2b

from echosvc.probe.engine.payload import Payload

#: Bytes of the key of a connection, and of the number of a message.
KEY_SIZE, NUMBER_SIZE = 7, 9
STAMP_SIZE = KEY_SIZE + NUMBER_SIZE
#: Bytes of the ring; a power of two.
RING_SIZE = 1 << 20
#: So many rings are kept, 1 MiB and a message each; connections may have others.
_MAX_RINGS = 8
#: The longest message, bytes.
MAX_SIZE = 16 * 1024 * 1024
#: The most bytes that :meth:`Messages.begin` returns.
BEGINNING = 4096
#: So many messages of a connection are different; a stamp repeats after them.
NUMBERS = 1 << 36
#: An odd number near NUMBERS divided by the golden ratio: products of neighbours are far apart.
_FACTOR = 0x9E3779B97
_INVERSE = pow(_FACTOR, -1, NUMBERS)
_DIGITS = b"0123456789abcdef"
_MORE_LETTERS = b"ghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + bytes(range(128, 256))


class Ring:
    """Random bytes, made once, of which all messages of a process are cut.

    :param seed: another seed makes another ring.
    :param max_size: of the longest message, bytes.
    :param excluded: bytes that no message contains.
    :param lines: messages end with LF, and contain no other.
    :ivar data: the ring, and its beginning once more, so that each message is one piece of it.
    :ivar letters: sixteen bytes that stand for the digits of a number.
    :ivar write: the table that turns digits into letters.
    :ivar read: the table that turns letters into digits.
    :raises ValueError: too few bytes are left to send, or ``max_size`` is out of range.
    """

    def __init__(
        self, seed: int, max_size: int, excluded: bytes = b"", lines: bool = False
    ) -> None:
        self.min_size = STAMP_SIZE + lines
        if not self.min_size <= max_size <= MAX_SIZE:
            raise ValueError(f"a message has {self.min_size} to {MAX_SIZE} bytes, not {max_size}")
        self.seed, self.lines, self.max_size = seed, lines, max_size
        self.excluded = excluded + b"\n" * lines
        self.letters = bytes(each for each in _DIGITS + _MORE_LETTERS if each not in self.excluded)
        if len(self.letters) < len(_DIGITS):
            raise ValueError("too few bytes are left to send")
        self.letters = self.letters[: len(_DIGITS)]
        self.write = bytes.maketrans(_DIGITS, self.letters)
        self.read = bytes.maketrans(self.letters, _DIGITS)
        data = Payload(RING_SIZE, seed, self.excluded).at(0, RING_SIZE)
        self.data = (data * (1 + -(-max_size // RING_SIZE)))[: RING_SIZE + max_size]

    def key(self, connection: int) -> bytes:
        """Return the key of a connection; two have the same with a probability of 2**-56."""
        hashed = blake2b(b"%d/%d" % (self.seed, connection), digest_size=KEY_SIZE).digest()
        other = {byte: self.letters[byte % len(self.letters)] for byte in self.excluded}
        return bytes(other.get(byte, byte) for byte in hashed)


class Rings:
    """The rings of a process: one for each set of bytes that messages must not contain.

    :param seed: of all of them.
    :param max_size: of the longest message, bytes.
    :param lines: messages end with LF, and contain no other.
    """

    def __init__(self, seed: int, max_size: int, lines: bool = False) -> None:
        self._make = lru_cache(_MAX_RINGS)(partial(Ring, seed, max_size, lines=lines))

    def get(self, excluded: bytes = b"") -> Ring:
        """Return the ring without these bytes, in whatever order.

        :raises ValueError: as :class:`Ring` does.
        """
        return self._make(bytes(sorted(set(excluded))))


class Messages:
    """The messages of one connection.

    :param ring: of which they are cut.
    :param connection: its number; no other connection of the run has it, on any machine.
    :param min_size: of the shortest message, bytes.
    :param max_size: of the longest message, bytes; sizes are spread evenly. 0: as ``min_size``.
    :ivar key: with which each message begins.
    :raises ValueError: a size is out of range.
    """

    def __init__(self, ring: Ring, connection: int, min_size: int, max_size: int = 0) -> None:
        max_size = max_size or min_size
        if not ring.min_size <= min_size <= max_size <= ring.max_size:
            raise ValueError(
                f"a message has {ring.min_size} to {ring.max_size} bytes, not {min_size}-{max_size}"
            )
        self.connection, self.key = connection, ring.key(connection)
        self.min_size, self.max_size = min_size, max_size
        self._data, self._end = ring.data, b"\n" * ring.lines
        self._spread = max_size - min_size + 1
        self._rest = min_size - STAMP_SIZE - len(self._end)
        self._write, self._read = ring.write, ring.read
        self._letters = ring.letters

    def make(self, number: int) -> bytes:
        """Return the message with a number."""
        product = number * _FACTOR & 0xFFFFFFFFF
        start, size = product & 0xFFFFF, self._rest
        if self._spread > 1:
            size += product * self._spread >> 36
        stamp = self.key + (b"%09x" % product).translate(self._write)
        return stamp + self._data[start : start + size] + self._end

    def begin(self, number: int) -> bytes:
        """Return how the message with a number begins, without making all of a long one."""
        product = number * _FACTOR & 0xFFFFFFFFF
        start, size = product & 0xFFFFF, min(self._rest, BEGINNING - STAMP_SIZE)
        stamp = self.key + (b"%09x" % product).translate(self._write)
        return stamp + self._data[start : start + size]

    def number_in(self, stamp: bytes) -> int:
        """Return the number that a stamp of this connection names; -1: it is damaged."""
        written = stamp[KEY_SIZE:STAMP_SIZE]
        if len(written) < NUMBER_SIZE or written.strip(self._letters):
            return -1
        return int(written.translate(self._read), 16) * _INVERSE % NUMBERS
