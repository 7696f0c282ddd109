"""Signals, for a service that owns its process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Signals:
    """SIGHUP reloads; the first SIGINT or SIGTERM stops the reactor, a second one ends all.

    The reactor's own handlers would meet a second one with an error and do nothing.
    Here it counts from the moment of the first, though the reactor may not have begun
    to stop by then.

    :param reactor: gives it, once it is needed.
    :param reload: called at SIGHUP.
    :param end_now: called at the second signal.
    :ivar stopping: the next SIGINT or SIGTERM is a second one.
    """

    def __init__(
        self,
        reactor: Callable[[], Any],
        reload: Callable[[], None],
        end_now: Callable[[], None],
    ) -> None:
        self.stopping = False
        self._reactor = reactor
        self._reload = reload
        self._end_now = end_now

    def take(self) -> None:
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
                self._call(self._end_now)
            else:
                self.stopping = True
                usual(*arguments)

        return handle

    def _call(self, what: Callable[[], None]) -> None:
        self._reactor().callFromThread(what)
