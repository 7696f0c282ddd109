"""The ``lean`` reactor: Twisted's epoll reactor without what an event costs besides its work.

``twistd --reactor=lean echosvc``. It specialises these methods of
:class:`~twisted.internet.epollreactor.EPollReactor`:

- ``doPoll``: upstream runs each handler inside a log context of its own
  (``callWithLogger``, Twisted issues 12338, 6789) and looks again whether the
  descriptor is valid. Here handlers are called directly, and TCP connections are read
  without theirs. An exception is still logged with its traceback and still closes only
  that connection.
- ``doIteration``: upstream goes through its main loop after every poll. Here polling
  goes on until something else is due: a timer, a call from a thread, the end.
- ``seconds``: upstream's is the wall clock, which somebody may set; this one is
  ``time.monotonic``, so no timer fires early or freezes. Code that takes
  ``reactor.seconds()`` for the time of day, as ``twisted.web``'s log does, is wrong here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from select import EPOLLIN
from time import monotonic
from typing import Any

from twisted.internet import tcp
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST, installReactor
from twisted.python import log

#: Events taken from the kernel at once; upstream makes room for as many as there are
#: descriptors at every poll.
_EVENTS = 512


class LeanReactor(EPollReactor):
    """An epoll reactor for many small events on a clock that nobody can set."""

    # Upstream has no types for these.
    _upstream_serve: Any = EPollReactor._doReadOrWrite
    _upstream_end: Any = EPollReactor._disconnectSelectable

    def seconds(self) -> float:
        """Seconds from an arbitrary start, never set back or forward."""
        return monotonic()

    def doPoll(self, timeout: float | None) -> None:
        """Wait once, at most ``timeout`` seconds (``None``: for ever), and serve what came."""
        wait = -1.0 if timeout is None else timeout
        try:
            events = self._poller.poll(wait, _EVENTS)
        except InterruptedError:
            return
        find: Callable[[int], Any] = self._selectables.get
        for fd, event in events:
            selectable = find(fd)
            if event == EPOLLIN and selectable.__class__ is tcp.Server:
                # What their doRead does, three calls shorter.
                try:
                    data = selectable.socket.recv(selectable.bufferSize)
                except BlockingIOError:
                    continue
                except OSError:
                    self._end(selectable, CONNECTION_LOST)
                    continue
                if not data:
                    self._end(selectable, CONNECTION_DONE)
                    continue
                try:
                    selectable.protocol.dataReceived(data)
                except BaseException as error:
                    log.err()
                    self._end(selectable, error, reading=False)
            elif selectable is not None:  # None: closed by an event before this one
                self._serve(selectable, fd, event)

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

    def iterate(self, delay: float = 0.0) -> None:
        """As upstream's: one turn."""
        self.runUntilCurrent()
        self.doPoll(delay)

    def _serve(self, selectable: Any, fd: int, event: int) -> None:
        try:
            self._upstream_serve(selectable, fd, event)
        except BaseException:
            log.err()

    def _end(self, selectable: Any, why: BaseException, reading: bool = True) -> None:
        try:
            self._upstream_end(selectable, why, reading)
        except BaseException:
            log.err()


def install() -> None:
    """Make this the process's reactor."""
    make: Callable[[], LeanReactor] = LeanReactor
    installReactor(make())
