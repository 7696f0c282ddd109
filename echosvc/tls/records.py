"""Where TLS records end in a stream. No Twisted, no I/O."""

from __future__ import annotations

#: Longest plain text of one record, bytes (RFC 8446, 5.1).
RECORD = 16384
_HEADER = 5


class Records:
    """Finds where records end in a stream that is cut anywhere (RFC 8446, 5.1).

    :ivar aligned: the stream so far ends where a record does.
    """

    __slots__ = ("_due", "_head", "aligned")

    def __init__(self) -> None:
        self.aligned = True
        self._head = b""  # of a header that has not come whole
        self._due = 0  # bytes of the current record that have not come

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        at = 0
        while at < len(data):
            if self._due:
                step = min(self._due, len(data) - at)
                self._due -= step
            else:
                step = min(_HEADER - len(self._head), len(data) - at)
                self._head += data[at : at + step]
                if len(self._head) == _HEADER:
                    self._due, self._head = int.from_bytes(self._head[3:], "big"), b""
            at += step
        self.aligned = not (self._due or self._head)


def whole_record(data: bytes) -> int:
    """The length of ``data`` if it is exactly one record, else 0 (RFC 8446, 5.1)."""
    size = len(data)
    return size if size > _HEADER and size == (data[3] << 8 | data[4]) + _HEADER else 0
