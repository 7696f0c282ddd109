"""Standard input, read by a thread: it may be a terminal, a pipe or a file."""

from __future__ import annotations

import os
import select
import threading
from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred

from echosvc.net.errors import describe_error

_CHUNK = 65536


class InputError(Exception):
    """Standard input cannot be read; says why in one line.

    :param error: the error of the system.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard input: {describe_error(error)} ({error.strerror})")


class InputReader:
    """Reads standard input in a thread, one piece at each call of :meth:`read`.

    The thread does not keep the process alive.

    :param reactor: runs the callbacks.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._requests: SimpleQueue[Deferred[bytes]] = SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def read(self) -> Deferred[bytes]:
        """Return the next bytes; ``b""`` at the end. Fails with :class:`InputError`."""
        result: Deferred[bytes] = Deferred()
        self._requests.put(result)
        return result

    def _serve(self) -> None:
        while True:
            result = self._requests.get()
            try:
                chunk = _read_input()
            except OSError as error:
                self._reactor.callFromThread(result.errback, InputError(error))
            else:
                self._reactor.callFromThread(result.callback, chunk)


def _read_input() -> bytes:
    """Read what standard input has; wait when the descriptor does not block.

    :raises OSError: it cannot be read.
    """
    while True:
        try:
            return os.read(0, _CHUNK)
        except BlockingIOError:
            select.select([0], [], [])
