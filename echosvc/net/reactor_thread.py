"""A reactor in a thread of its own, for tests and programs whose main thread does other work.

It is not installed, handles no signals, and is not the process's reactor: there may be
another one, or none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.pollreactor import PollReactor
from twisted.internet.threads import blockingCallFromThread

from echosvc.net.clock import use_monotonic_clock


def _reactor() -> Any:
    """Return a poll(2) reactor: it needs no descriptor of its own, and takes any number."""
    reactor: Any = PollReactor()
    reactor._registerAsIOThread = False  # it is global, and may be the process's own reactor's
    use_monotonic_clock(reactor)
    return reactor


class ReactorThread:
    """A running reactor; :meth:`stop` ends it and its thread.

    :param name: the thread's name.
    :ivar reactor: use it from its thread only, through :meth:`call`.
    """

    def __init__(self, name: str) -> None:
        self.reactor = _reactor()
        self._thread = threading.Thread(
            target=self.reactor.run, args=(False,), name=name, daemon=True
        )
        self._thread.start()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``function`` in the reactor's thread, wait, and return its result or raise.

        If it returns a Deferred, wait for its result. Calls that were scheduled before have run
        by then. In the reactor's own thread, and after :meth:`stop`, call it directly.
        """
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            return function(*arguments)
        return blockingCallFromThread(self.reactor, function, *arguments)

    def stop(self) -> None:
        """Stop the reactor, wait for its thread to end, and close its descriptors."""
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join()
        # Twisted never closes these: it expects a reactor to end with its process.
        for reader in tuple(self.reactor._internalReaders):
            self.reactor.removeReader(reader)
            reader.connectionLost(None)
        self.reactor.waker = None
