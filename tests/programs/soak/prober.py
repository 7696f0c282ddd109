"""When a server answers and when it does not, as it is seen from outside."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress


class Prober(threading.Thread):
    """Asks a server all the time over new connections.

    A moment that it notes is a bound of the truth, however late this thread is.

    :ivar failed: a moment before the last question that had no answer was asked, Unix time.
    :ivar answered: a moment after the first answer since then.
    """

    PAUSE = 0.005

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port, self._ends = port, threading.Event()
        self.failed, self.answered = 0.0, 0.0
        self.start()

    def run(self) -> None:
        while not self._ends.wait(self.PAUSE):
            began = time.time()
            if not self._ask():
                self.failed = began
            elif self.answered < self.failed:
                self.answered = time.time()

    def _ask(self) -> bool:
        where = ("127.0.0.1", self._port)
        with suppress(OSError), socket.create_connection(where, timeout=5) as client:
            client.sendall(b"?")
            return client.recv(100).endswith(b"?")
        return False

    @property
    def seen(self) -> bool:
        """Whether there was no answer for a while, and then one."""
        return self.answered > self.failed > 0

    def finish(self) -> None:
        self._ends.set()
        self.join()
