"""What is sent: long streams in which no two parts are alike."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator

#: Bytes that are made together.
BLOCK_SIZE = 65536
#: Blocks that are kept: around the offset that is sent, and around the one that is verified.
_KEPT = 8
#: Bytes of a line, its line feed included.
LINE_SIZE = 1024


class Payload:
    """Bytes that are made when they are asked for, the same ones each time.

    :param size: how many bytes.
    :param seed: another seed makes another payload.
    :param excluded: bytes that must not occur.
    :param lines: end each :data:`LINE_SIZE` bytes, and the last ones, with a line feed.
    :param numbered: begin each 64 bytes with their number, eight digits.
    :ivar line_size: bytes of a line.
    """

    def __init__(
        self,
        size: int,
        seed: int = 0,
        excluded: bytes = b"",
        lines: bool = False,
        numbered: bool = False,
    ) -> None:
        self.size, self.line_size = size, LINE_SIZE
        self.excluded = excluded
        self._seed, self._lines, self._numbered = seed, lines, numbered
        self._table = _table(excluded + b"\n" * lines)
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def resized(self, size: int) -> Payload:
        """Return the payload of another size that is made from the same bytes.

        With ``lines`` the last byte of each is a line feed.
        """
        return Payload(size, self._seed, self.excluded, self._lines, self._numbered)

    def at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset`` on; fewer if the payload ends before."""
        offset = max(0, offset)
        end = min(self.size, offset + size)
        if end <= offset:
            return b""
        first, last = offset // BLOCK_SIZE, (end - 1) // BLOCK_SIZE
        if first == last:
            return self._block(first)[offset - first * BLOCK_SIZE : end - first * BLOCK_SIZE]
        whole = b"".join(self._block(number) for number in range(first, last + 1))
        return whole[offset - first * BLOCK_SIZE : end - first * BLOCK_SIZE]

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._make_block(number)
            if len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        return block

    def _make_block(self, number: int) -> bytes:
        source = random.Random(self._seed << 32 | number)  # noqa: S311 - no secret
        data = source.randbytes(BLOCK_SIZE)
        if self._numbered:
            count = BLOCK_SIZE // 64
            numbers = (b"%08d" % (number * count + index) for index in range(count))
            data = b"".join(
                each + data[64 * index + 8 : 64 * index + 64] for index, each in enumerate(numbers)
            )
        data = data.translate(self._table)
        return self._add_line_feeds(data, number * BLOCK_SIZE) if self._lines else data

    def _add_line_feeds(self, data: bytes, start: int) -> bytes:
        lined = bytearray(data)
        lined[LINE_SIZE - 1 :: LINE_SIZE] = b"\n" * (BLOCK_SIZE // LINE_SIZE)
        if start < self.size <= start + BLOCK_SIZE:
            lined[self.size - start - 1] = 10
        return bytes(lined)


class FixedPayload:
    """A payload of given bytes.

    :param line_size: bytes of a line, if it has several; 0: it is one line.
    """

    excluded = b""

    def __init__(self, data: bytes, line_size: int = 0) -> None:
        self.size = len(data)
        self.line_size = line_size or self.size
        self._data = data

    def at(self, offset: int, size: int) -> bytes:
        """Return bytes as :meth:`Payload.at` does."""
        return self._data[max(0, offset) : max(0, offset) + size]


AnyPayload = Payload | FixedPayload


def split_payload(payload: AnyPayload, size: int) -> Iterator[bytes]:
    """Yield a payload in pieces of ``size`` bytes; the last one may be shorter."""
    for offset in range(0, payload.size, size):
        yield payload.at(offset, size)


def piece_sizes(payload: AnyPayload, size: int) -> set[int]:
    """Return the different sizes of these pieces."""
    return {min(size, payload.size), payload.size % size or size}


def _table(excluded: bytes) -> bytes:
    """Return a translation table: excluded bytes become others, the rest stays."""
    allowed = [byte for byte in range(256) if byte not in excluded]
    if not allowed:
        raise ValueError("no byte is left to send")
    return bytes(
        byte if byte not in excluded else allowed[byte % len(allowed)] for byte in range(256)
    )
