"""The boundaries of TLS records in a byte stream. Imports no Twisted, does no I/O."""

from __future__ import annotations

#: Longest plaintext of one record, bytes (RFC 8446, 5.1).
MAX_PLAINTEXT = 16384
_HEADER = 5


class RecordTracker:
    """Tracks where records end in a stream that arrives in pieces (RFC 8446, 5.1).

    :ivar at_boundary: the stream so far ends where a record ends.
    """

    __slots__ = ("_partial_header", "_remaining", "at_boundary")

    def __init__(self) -> None:
        self.at_boundary = True
        self._partial_header = b""  # of a header that is incomplete
        self._remaining = 0  # bytes of the current record that are missing

    def feed(self, data: bytes) -> None:
        """Process the next bytes of the stream."""
        at = 0
        while at < len(data):
            if self._remaining:
                step = min(self._remaining, len(data) - at)
                self._remaining -= step
            else:
                step = min(_HEADER - len(self._partial_header), len(data) - at)
                self._partial_header += data[at : at + step]
                if len(self._partial_header) == _HEADER:
                    self._remaining, self._partial_header = (
                        int.from_bytes(self._partial_header[3:], "big"),
                        b"",
                    )
            at += step
        self.at_boundary = not (self._remaining or self._partial_header)


def single_record_size(data: bytes) -> int:
    """Return the length of ``data`` if it is exactly one record, else 0 (RFC 8446, 5.1)."""
    size = len(data)
    return size if size > _HEADER and size == (data[3] << 8 | data[4]) + _HEADER else 0
