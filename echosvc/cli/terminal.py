"""The terminal: exit statuses, standard output and standard error.

What is written is written completely, or it is known why not.
"""

from __future__ import annotations

import errno
import io
import os
import select
from contextlib import suppress
from typing import NoReturn, Protocol

from echosvc._text import one_line
from echosvc.net.errors import describe_error

#: Exit statuses. FAILURE: the peer, the path or the start of a server failed.
EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
#: Exit status of a process that a signal has ended, besides the signal's number.
EXIT_BY_SIGNAL = 128
#: Seconds to wait for a standard error that takes nothing.
STDERR_TIMEOUT = 1.0


class OutputError(Exception):
    """Standard output takes no more; says why in one line.

    :param error: the error of the system.
    """

    def __init__(self, error: OSError) -> None:
        why = "it is closed" if error.errno == errno.EBADF else error.strerror
        super().__init__(f"standard output: {describe_error(error)} ({why})")


class Sink(Protocol):
    """What takes bytes: all that it is given, or it raises an :class:`OutputError`."""

    def write(self, data: bytes, /) -> object:
        """Write all of it."""


class StandardOutput:
    """Standard output. It writes everything, however little the descriptor takes at a time.

    A raw file of Python's writes only a part where a signal interrupts the call, where the
    descriptor does not block, or where the disk is nearly full.

    After an error nothing more is written, so that the output has no gap.

    :param descriptor: another one.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._error: OutputError | None = None

    def write(self, data: bytes, /) -> None:
        """Write all of it; wait where the descriptor does not block.

        :raises OutputError: it takes no more.
        """
        if self._error is not None:
            raise self._error
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            self._error = OutputError(error)
            raise self._error from None


def write_text(out: Sink, text: str) -> None:
    """Write text as UTF-8; what that cannot express becomes escapes.

    :raises OutputError: standard output takes no more.
    """
    out.write(text.encode("utf-8", "backslashreplace"))


def write_all(descriptor: int, data: bytes, timeout: float | None = None) -> None:
    """Write until nothing is left. Signal handlers run meanwhile.

    :param timeout: seconds to wait for a descriptor that does not block, each time that it
        takes nothing; ``None``: without a limit.
    :raises OSError: it takes no more.
    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            _wait_writable(descriptor, timeout)


def _wait_writable(descriptor: int, timeout: float | None) -> None:
    """Wait until the descriptor takes something, or until writing to it raises an error."""
    if not select.select([], [descriptor], [], timeout)[1]:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


class LossyStderr(io.TextIOBase):
    """Standard error, as a terminal for text that may be lost."""

    def write(self, text: str, /) -> int:
        """Write what can be written at once."""
        with suppress(OSError):
            write_all(2, text.encode("utf-8", "backslashreplace"), timeout=0)
        return len(text)

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(2)

    def fileno(self) -> int:
        """Return its descriptor."""
        return 2


def print_error(text: str) -> None:
    """Write ``text`` as one line on standard error; an error of that is ignored."""
    line = one_line(text).encode("utf-8", "backslashreplace") + b"\n"
    with suppress(OSError):
        write_all(2, line, STDERR_TIMEOUT)


def exit_with_error(why: str, status: int = EXIT_FAILURE) -> NoReturn:
    """Print why on standard error, in one line, and exit with this status."""
    print_error(f"echosvc: {why}")
    raise SystemExit(status)
