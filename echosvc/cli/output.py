"""Standard output and standard error: all of it is written, or it is known why not."""

from __future__ import annotations

import errno
import io
import os
import select
from contextlib import suppress
from typing import Protocol

from echosvc.net.errors import describe_error

#: Seconds for which a standard error that takes nothing is waited for.
PATIENCE = 1.0


class OutputError(Exception):
    """Standard output takes no more; says why in one line."""

    @classmethod
    def of(cls, error: OSError) -> OutputError:
        """Say it in words."""
        why = "it is closed" if error.errno == errno.EBADF else error.strerror
        return cls(f"echosvc: standard output: {describe_error(error)} ({why})")


class Sink(Protocol):
    """What takes bytes: all that it is given, or it raises an ``OSError``."""

    def write(self, data: bytes, /) -> object:
        """Write all of it."""


class StandardOutput:
    """Takes all that is written, however little the descriptor takes at a time.

    A raw file of Python's takes only a part where a signal comes in between, where the
    descriptor does not block, or where the disk is nearly full.

    Once an error has come, nothing more is written: there is no gap in what was.

    :param descriptor: another one.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._error: OSError | None = None

    def write(self, data: bytes, /) -> None:
        """Write all of it; wait where the descriptor does not.

        :raises OSError: it takes no more.
        """
        if self._error is not None:
            raise self._error
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            self._error = error
            raise


def write_all(descriptor: int, data: bytes, patience: float | None = None) -> None:
    """Write until nothing is left. Signal handlers run meanwhile.

    :param patience: seconds for which a descriptor that does not block is waited for each
        time that it takes nothing; ``None``: for ever.
    :raises OSError: it takes no more.
    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            _wait(descriptor, patience)


def _wait(descriptor: int, patience: float | None) -> None:
    """Wait until the descriptor takes something, or an error can be had from it."""
    if not select.select([], [descriptor], [], patience)[1]:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


class Lossy(io.TextIOBase):
    """Standard error, as a terminal for what may be lost."""

    def write(self, text: str, /) -> int:
        """Write what can be written at once."""
        with suppress(OSError):
            write_all(2, text.encode("utf-8", "backslashreplace"), patience=0)
        return len(text)

    def isatty(self) -> bool:
        """Whether it is one."""
        return os.isatty(2)

    def fileno(self) -> int:
        """Its descriptor."""
        return 2


def write_error_line(line: str) -> None:
    """Put one line on standard error, if somebody listens there."""
    with suppress(OSError):
        write_all(2, line.encode("utf-8", "backslashreplace") + b"\n", PATIENCE)
