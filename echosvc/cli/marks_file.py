"""A file to which marks are appended while something runs: one name a line."""

from __future__ import annotations

import errno
import os
import stat

#: Longest name, bytes; the rest of a line is left out.
MAX_NAME = 200
#: Bytes that are read at once; what is behind them is read the next time.
_READ_SIZE = 65536


class MarksFile:
    """Reads the lines that are appended to a file from now on.

    What is in the file already is left out. A file that does not exist yet is read once it does.
    One that is truncated, or replaced by another, is read from its beginning. A line without an end
    counts when it has stayed the same from one call to the next.

    :param path: of the file, or of a FIFO.
    :raises OSError: it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor, self._identity = -1, (0, 0)
        self._offset, self._rest, self._unchanged = 0, b"", False
        if os.path.exists(path):
            self._open()
            if stat.S_ISDIR(os.fstat(self._descriptor).st_mode):
                self.close()
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            self._offset = os.fstat(self._descriptor).st_size

    def _open(self) -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = os.open(self._path, flags)
        found = os.fstat(self._descriptor)
        self._identity, self._offset = (found.st_dev, found.st_ino), 0

    def names(self) -> list[str]:
        """Return the names that were appended since the last call.

        :raises OSError: the file cannot be read now; it is tried again the next time.
        """
        if self._descriptor < 0 and not os.path.exists(self._path):
            return []
        if self._descriptor < 0:
            self._open()
        names = self._lines(self._read())
        if self._is_replaced():
            self.close()
            names += self._last()
        return names

    def _read(self) -> bytes:
        """Return what was appended."""
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            return self._read_fifo()
        if os.fstat(self._descriptor).st_size < self._offset:
            self._offset, self._rest = 0, b""
        data = os.pread(self._descriptor, _READ_SIZE, self._offset)
        self._offset += len(data)
        return data

    def _read_fifo(self) -> bytes:
        try:
            return os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            return b""

    def _is_replaced(self) -> bool:
        """Return whether another file is at the path; what was in this one has been read."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return self._offset >= os.fstat(self._descriptor).st_size
        return (found.st_dev, found.st_ino) != self._identity

    def _lines(self, data: bytes) -> list[str]:
        *whole, rest = (self._rest + data).split(b"\n")
        unchanged = bool(rest) and not data
        self._rest = b"" if unchanged else rest[: MAX_NAME + 1]
        return _names([*whole, rest] if unchanged else whole)

    def _last(self) -> list[str]:
        rest, self._rest = self._rest, b""
        return _names([rest])

    def finish(self) -> list[str]:
        """Return the names that :meth:`names` has not returned yet, and close the file.

        :raises OSError: it cannot be read.
        """
        try:
            return [*self.names(), *self._last()]
        finally:
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def _names(lines: list[bytes]) -> list[str]:
    """Return the names in lines that have one."""
    texts = (line[:MAX_NAME].decode("utf-8", "backslashreplace").strip() for line in lines)
    return [text for text in texts if text]
