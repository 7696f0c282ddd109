"""Signals, for a service that owns its process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Signals:
    """SIGHUP reloads; the first SIGINT or SIGTERM stops the reactor, a second one ends all.

    The reactor's own handlers fail at a second signal and do nothing. Here a second one counts
    from the moment of the first, even if the reactor has not begun to stop by then.

    :param reactor: returns the reactor, once it is needed.
    :param reload: called at SIGHUP.
    :param on_second: called at the second signal.
    :ivar stopping: the next SIGINT or SIGTERM is a second one.
    """

    def __init__(
        self,
        reactor: Callable[[], Any],
        reload: Callable[[], None],
        on_second: Callable[[], None],
    ) -> None:
        self.stopping = False
        self._reactor = reactor
        self._reload = reload
        self._on_second = on_second

    def install(self) -> None:
        """Handle them from now on: the reactor runs, so its own handlers are there."""
        self.stopping = False
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGHUP, lambda *_: self._call(self._reload))
            for number in (signal.SIGINT, signal.SIGTERM):
                usual = signal.getsignal(number)
                if callable(usual):  # not where it is ignored
                    signal.signal(number, self._handler(usual))

    def _handler(self, usual: Callable[..., object]) -> Callable[..., None]:
        def handle(*arguments: object) -> None:
            if self.stopping:
                self._call(self._on_second)
            else:
                self.stopping = True
                usual(*arguments)

        return handle

    def _call(self, what: Callable[[], None]) -> None:
        self._reactor().callFromThread(what)
