"""A file of events that is written as they happen: one line of JSON each."""

from __future__ import annotations

import json
import os
import select
from contextlib import suppress
from typing import Any

from echosvc.cli.terminal import print_error
from echosvc.net.files import describe_file_error

#: How long a FIFO that takes nothing is waited for, seconds.
_WAIT = 0.1


class EventFile:
    """Appends events to a file. Each is in the file, or in the pipe, once :meth:`write` returns.

    What cannot be written is left out, and that is reported once; the next event is tried again.

    :param path: of the file; a new one is made.
    :param name: of the option, for messages.
    :param descriptor: an open one, in place of the path.
    :raises OSError: it cannot be opened.
    """

    def __init__(self, path: str, name: str, descriptor: int = -1) -> None:
        self._path, self._name = path, name
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        self._owned = descriptor < 0
        self._descriptor = os.open(path, flags, 0o666) if self._owned else descriptor
        self._missing, self._torn = 0, False

    def write(self, facts: dict[str, Any]) -> None:
        """Write an event."""
        line = json.dumps(facts, separators=(",", ":")).encode() + b"\n"
        if self._torn:
            line = b"\n" + line  # the beginning of a line that was not finished
        try:
            self._write_all(line)
        except OSError as error:
            self._report(error)

    def _write_all(self, line: bytes) -> None:
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                if not select.select([], [self._descriptor], [], _WAIT)[1]:
                    self._torn = self._torn or len(left) < len(line)
                    raise
            except OSError:
                self._torn = self._torn or len(left) < len(line)
                raise
        self._torn = False

    def _report(self, error: OSError) -> None:
        self._missing += 1
        if self._missing == 1:
            reason = describe_file_error(OSError(error.errno, error.strerror, self._path))
            print_error(f"echosvc: {self._name}: {reason}; events are missing there")

    def close(self) -> int:
        """Close the file; return how many events are missing in it."""
        if self._owned and self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1
        return self._missing
