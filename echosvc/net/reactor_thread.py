"""A reactor in a thread of its own, beside whatever the process's main thread runs.

It is not installed, handles no signals, and is not the process's reactor: there may be
another one, or none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.pollreactor import PollReactor
from twisted.internet.threads import blockingCallFromThread

from echosvc.net.clock import make_monotonic


def _reactor() -> Any:
    """Make one on poll(2): no descriptor of its own, and none is too high for it."""
    reactor: Any = PollReactor()
    reactor._registerAsIOThread = False  # that is global, and the process's own reactor has it
    make_monotonic(reactor)
    return reactor


class ReactorThread:
    """A running reactor; :meth:`stop` ends it and its thread.

    :param name: the thread's.
    :ivar reactor: to be used from its thread only, by way of :meth:`call`.
    """

    def __init__(self, name: str) -> None:
        self.reactor = _reactor()
        self._thread = threading.Thread(
            target=self.reactor.run, args=(False,), name=name, daemon=True
        )
        self._thread.start()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``function`` in the reactor's thread; wait, and return or raise what it does.

        Where it returns a Deferred, that one's result. What the reactor had begun before is
        done then. In the reactor's thread itself, and after the end, it is a plain call.
        """
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            return function(*arguments)
        return blockingCallFromThread(self.reactor, function, *arguments)

    def stop(self) -> None:
        """Stop the reactor, wait for the end of its thread, and close its descriptors."""
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join()
        # Upstream keeps these open for ever: a reactor ends with its process.
        for reader in tuple(self.reactor._internalReaders):
            self.reactor.removeReader(reader)
            reader.connectionLost(None)
        self.reactor.waker = None
