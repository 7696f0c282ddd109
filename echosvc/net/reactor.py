"""The ``lean`` reactor: Twisted's epoll reactor without what an event costs besides its work.

``twistd --reactor=lean echosvc``. It specialises these methods of
:class:`~twisted.internet.epollreactor.EPollReactor`:

- ``doPoll``: handlers are called directly, as :mod:`echosvc.net.epoll` says.
- ``doIteration``: upstream goes through its main loop after every poll. Here polling
  goes on until something else is due: a timer, a call from a thread, the end.
- ``removeAll``, ``getReaders``, ``getWriters``: of a connection of ours only itself knows what
  it waits for.
- ``seconds``: upstream's is the wall clock, which somebody may set; this one is
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

from echosvc.net.epoll import EVENTS, Batches, Member
from echosvc.net.main_loop import crash_main_loop


class _Nothing:
    """In the place of an epoll object that was lost: the end of the reactor asks it once more.

    The lost one is kept: its end would close a number that may be somebody else's by now.
    """

    def register(self, fd: int, events: int) -> None:
        """Nothing is told."""

    modify = register

    def unregister(self, fd: int) -> None:
        """Nothing was told."""

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:  # noqa: ARG002
        """Tell of nothing."""
        return []


class LeanReactor(Batches, EPollReactor):
    """An epoll reactor for many small events on a clock that nobody can set."""

    def seconds(self) -> float:
        """Seconds from an arbitrary start, never set back or forward."""
        return monotonic()

    def doPoll(self, timeout: float | None) -> None:
        """Wait once, at most ``timeout`` seconds (``None``: for ever), and serve what came."""
        try:
            events = self._poller.poll(-1.0 if timeout is None else timeout, EVENTS)
        except InterruptedError:
            return
        except (OSError, ValueError) as error:  # and so it would be the next time
            self._lost, self._poller = self._poller, _Nothing()
            crash_main_loop(self, str(error))
            return
        self._serve(events)

    def doIteration(self, timeout: float | None) -> None:
        """Serve events until ``timeout`` seconds are over or the main loop is needed.

        It is for calls from threads, for new timers and for the end.
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
            if calls and calls[0].time < end:  # one was moved to sooner
                end = calls[0].time
            if end < math.inf:
                wait = end - monotonic()
                if wait <= 0:
                    return

    # What is rare is upstream's own, which has no types.
    _upstream_serve: Any = EPollReactor._doReadOrWrite
    _upstream_end: Any = EPollReactor._disconnectSelectable

    def _serve_rare(self, member: Any, fd: int, event: int) -> None:
        if isinstance(member, Member):
            super()._serve_rare(member, fd, event)
        else:
            self._upstream_serve(member, fd, event)

    def _end(self, member: Any, why: BaseException, at_read: bool) -> None:
        if isinstance(member, Member):
            super()._end(member, why, at_read)
        else:
            self._upstream_end(member, why, at_read)

    def getReaders(self) -> list[Any]:
        """Those who want to know when they can read."""
        members = [member for member in self.members if member.interest & EPOLLIN]
        upstream: Any = super()
        return [*members, *upstream.getReaders()]

    def getWriters(self) -> list[Any]:
        """Those who want to know when they can write."""
        members = [member for member in self.members if member.interest & EPOLLOUT]
        upstream: Any = super()
        return [*members, *upstream.getWriters()]

    def removeAll(self) -> list[Any]:
        """Forget all; give them."""
        upstream: Any = super()
        return [*self.remove_members(), *upstream.removeAll()]

    def iterate(self, delay: float = 0.0) -> None:
        """As upstream's: one turn."""
        self.runUntilCurrent()
        self.doPoll(delay)


def install() -> None:
    """Make this the process's reactor."""
    make: Callable[[], LeanReactor] = LeanReactor
    installReactor(make())
