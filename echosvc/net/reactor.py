"""The ``lean`` reactor: Twisted's epoll reactor with less work for each event.

``twistd --reactor=lean echosvc``. It overrides these methods of
:class:`~twisted.internet.epollreactor.EPollReactor`:

- ``doPoll``: handlers are called directly, as :mod:`echosvc.net.epoll` explains.
- ``doIteration``: Twisted goes through its main loop after every poll. Here polling continues
  until something else is due: a timer, a call from a thread, the end.
- ``removeAll``, ``getReaders``, ``getWriters``: an :class:`~echosvc.net.epoll.EpollHandler`
  stores itself which events it waits for.
- ``seconds``: Twisted's is the wall clock, which may be set while it runs; this one is
  ``time.monotonic``, so no timer fires early or freezes. Code that takes
  ``reactor.seconds()`` for the time of day, as ``twisted.web``'s log does, is wrong here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from time import monotonic
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor

from echosvc.net.epoll import MAX_EVENTS, EpollDispatcher, EpollHandler
from echosvc.net.main_loop import crash_main_loop


class _ClosedPoller:
    """Replaces an epoll object whose descriptor was closed, until the reactor has stopped.

    The object is kept: to free it closes its number, which may be another file's by now.
    """

    def register(self, fd: int, events: int) -> None:
        """Do nothing."""

    modify = register

    def unregister(self, fd: int) -> None:
        """Do nothing."""

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:  # noqa: ARG002
        """Return no events."""
        return []


class LeanReactor(EpollDispatcher, EPollReactor):
    """An epoll reactor for many small events, on a monotonic clock."""

    def seconds(self) -> float:
        """Return seconds from an arbitrary start; the clock cannot be set."""
        return monotonic()

    def doPoll(self, timeout: float | None) -> None:
        """Wait once, at most ``timeout`` seconds (``None`` = no limit), and dispatch the events."""
        try:
            events = self._poller.poll(-1.0 if timeout is None else timeout, MAX_EVENTS)
        except InterruptedError:
            return
        except (OSError, ValueError) as error:  # the descriptor is lost: every poll would fail
            self._lost, self._poller = self._poller, _ClosedPoller()
            crash_main_loop(self, str(error))
            return
        self._dispatch(events)

    def doIteration(self, timeout: float | None) -> None:
        """Dispatch events until ``timeout`` seconds have passed or the main loop is needed.

        The main loop is needed for calls from threads, for new timers and to stop.
        """
        end = math.inf if timeout is None else self.seconds() + timeout
        wait = timeout
        while True:
            self.doPoll(wait)
            if self.threadCallQueue or self._newTimedCalls or self._justStopped:
                return
            if not self.running:
                return
            calls = self._pendingTimedCalls
            if calls and calls[0].time < end:  # a timer was moved forward
                end = calls[0].time
            if end < math.inf:
                wait = end - monotonic()
                if wait <= 0:
                    return

    # Handlers of other classes are Twisted's own business; its methods have no types.
    _twisted_dispatch: Any = EPollReactor._doReadOrWrite
    _twisted_disconnect: Any = EPollReactor._disconnectSelectable

    def _dispatch_slow(self, handler: Any, fd: int, event: int) -> None:
        if isinstance(handler, EpollHandler):
            super()._dispatch_slow(handler, fd, event)
        else:
            self._twisted_dispatch(handler, fd, event)

    def _disconnect(self, handler: Any, why: BaseException, at_read: bool) -> None:
        if isinstance(handler, EpollHandler):
            super()._disconnect(handler, why, at_read)
        else:
            self._twisted_disconnect(handler, why, at_read)

    def getReaders(self) -> list[Any]:
        """Return the readers."""
        handlers = [handler for handler in self.handlers if handler.interest & EPOLLIN]
        twisted: Any = super()
        return [*handlers, *twisted.getReaders()]

    def getWriters(self) -> list[Any]:
        """Return the writers."""
        handlers = [handler for handler in self.handlers if handler.interest & EPOLLOUT]
        twisted: Any = super()
        return [*handlers, *twisted.getWriters()]

    def removeAll(self) -> list[Any]:
        """Unregister every handler and return them."""
        twisted: Any = super()
        return [*self.unregister_all(), *twisted.removeAll()]

    def iterate(self, delay: float = 0.0) -> None:
        """Run one turn of the main loop, as Twisted's does."""
        self.runUntilCurrent()
        self.doPoll(delay)


def install() -> None:
    """Install this as the process's reactor."""
    make: Callable[[], LeanReactor] = LeanReactor
    installReactor(make())
