"""What is sent: long streams in which no two places look alike. No Twisted, no I/O."""

from __future__ import annotations

import random
from collections import OrderedDict

#: Made at a time, bytes.
BLOCK = 65536
#: Blocks that are kept: of the place that is sent, and of the one that is verified.
_KEPT = 8
#: Bytes between two line feeds, where lines are asked for.
LINE = 1024


class Payload:
    """Bytes that are the same each time that they are asked for, and made when they are.

    :param size: how many.
    :param seed: another one makes another stream.
    :param without: bytes that must not occur.
    :param lines: end each :data:`LINE` bytes, and the last, with a line feed.
    :param stamped: begin each 64 bytes with their number, eight digits.
    :ivar line: bytes of a line.
    """

    def __init__(
        self,
        size: int,
        seed: int = 0,
        without: bytes = b"",
        lines: bool = False,
        stamped: bool = False,
    ) -> None:
        self.size, self.line = size, LINE
        self.without = without
        self._seed, self._lines, self._stamped = seed, lines, stamped
        self._table = _table(without + b"\n" * lines)
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def resized(self, size: int) -> Payload:
        """Return the payload of another size that is made from the same bytes.

        With ``lines`` the last byte of each is a line feed.
        """
        return Payload(size, self._seed, self.without, self._lines, self._stamped)

    def at(self, offset: int, size: int) -> bytes:
        """Give ``size`` bytes from ``offset`` on; fewer where the stream ends before."""
        offset = max(0, offset)
        end = min(self.size, offset + size)
        if end <= offset:
            return b""
        first, last = offset // BLOCK, (end - 1) // BLOCK
        if first == last:
            return self._block(first)[offset - first * BLOCK : end - first * BLOCK]
        whole = b"".join(self._block(number) for number in range(first, last + 1))
        return whole[offset - first * BLOCK : end - first * BLOCK]

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._made(number)
            if len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        return block

    def _made(self, number: int) -> bytes:
        source = random.Random(self._seed << 32 | number)  # noqa: S311 - no secret
        data = source.randbytes(BLOCK)
        if self._stamped:
            stamps = (b"%08d" % (number * (BLOCK // 64) + n) for n in range(BLOCK // 64))
            data = b"".join(
                stamp + data[64 * n + 8 : 64 * n + 64] for n, stamp in enumerate(stamps)
            )
        data = data.translate(self._table)
        return self._in_lines(data, number * BLOCK) if self._lines else data

    def _in_lines(self, data: bytes, start: int) -> bytes:
        lined = bytearray(data)
        lined[LINE - 1 :: LINE] = b"\n" * (BLOCK // LINE)
        if start < self.size <= start + BLOCK:
            lined[self.size - start - 1] = 10
        return bytes(lined)


class Text:
    """A payload of given bytes: one line, where lines are asked for.

    :param line: bytes of a line, where it is several.
    """

    without = b""

    def __init__(self, data: bytes, line: int = 0) -> None:
        self.size = len(data)
        self.line = line or self.size
        self._data = data

    def at(self, offset: int, size: int) -> bytes:
        """As :meth:`Payload.at`."""
        return self._data[max(0, offset) : max(0, offset) + size]


Source = Payload | Text


def _table(without: bytes) -> bytes:
    """Each byte's own value, but for those that must not occur: another's."""
    allowed = [byte for byte in range(256) if byte not in without]
    if not allowed:
        raise ValueError("no byte is left to send")
    return bytes(
        byte if byte not in without else allowed[byte % len(allowed)] for byte in range(256)
    )
