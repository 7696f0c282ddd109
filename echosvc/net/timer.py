"""A timer that is precise to microseconds, under any reactor.

The reactors wait by epoll(7) or poll(2), whose time-outs are whole milliseconds, rounded up. So a
timer of theirs is up to 1 ms late, besides what the system adds. On Linux this one is a descriptor
that becomes readable at its time (timerfd_create(2)): the kernel's high-resolution timer wakes the
process. Elsewhere it is the reactor's.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

_NONBLOCKING, _CLOSE_ON_EXEC = os.O_NONBLOCK, getattr(os, "O_CLOEXEC", 0)
#: CLOCK_MONOTONIC, which ``time.monotonic`` reads, and TFD_TIMER_ABSTIME.
_CLOCK_MONOTONIC, _ABSOLUTE = 1, 1


class Timer(Protocol):
    """Calls a function at a time."""

    def set(self, when: float) -> None:
        """Call at ``when``, once, and not at the time that was set before."""

    def close(self) -> None:
        """Call no more."""


class ReactorTimer:
    """A reactor's own timer.

    :param call: what is called.
    :param now: the clock that the times are of.
    """

    def __init__(
        self, reactor: Any, call: Callable[[], object], now: Callable[[], float] = monotonic
    ) -> None:
        self._reactor, self._call, self._now = reactor, call, now
        self._delayed: Any = None

    def set(self, when: float) -> None:
        """Call at ``when``."""
        self.close()
        self._delayed = self._reactor.callLater(max(0.0, when - self._now()), self._fire)

    def _fire(self) -> None:
        self._delayed = None
        self._call()

    def close(self) -> None:
        """Call no more."""
        delayed, self._delayed = self._delayed, None
        if delayed is not None and delayed.active():
            delayed.cancel()


class _Setting(ctypes.Structure):
    """``struct itimerspec`` of a system whose ``time_t`` is as long as ``long``."""

    _fields_ = [
        ("interval_s", ctypes.c_long), ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long), ("value_ns", ctypes.c_long),
    ]  # fmt: skip


@implementer(IReadDescriptor)
class PreciseTimer:
    """A timer of the kernel, which is one reader of the reactor.

    :param call: what is called.
    :raises OSError: the system has none.
    """

    def __init__(self, reactor: Any, call: Callable[[], object]) -> None:
        if sys.platform != "linux" or ctypes.sizeof(ctypes.c_long) != 8:
            raise OSError("there is no timerfd of a known form")
        self._library = ctypes.CDLL(None, use_errno=True)
        self._setting, self._call = _Setting(), call
        self._descriptor: int = self._library.timerfd_create(
            _CLOCK_MONOTONIC, _NONBLOCKING | _CLOSE_ON_EXEC
        )
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._set = self._library.timerfd_settime
        self._address = ctypes.byref(self._setting)
        self._reactor = reactor
        reactor.addReader(self)

    def set(self, when: float) -> None:
        """Call at ``when``, of ``time.monotonic``; at once, if that is past."""
        seconds = int(when)
        self._setting.value_s = max(seconds, 0)
        self._setting.value_ns = max(1, int((when - seconds) * 1e9))
        if self._descriptor >= 0:
            self._set(self._descriptor, _ABSOLUTE, self._address, None)

    def close(self) -> None:
        """Call no more."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self._descriptor

    def doRead(self) -> None:
        """Call, since it is time."""
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:  # it was set anew
            return
        self._call()

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002
        """Close it, because the reactor stops."""
        self.close()

    def logPrefix(self) -> str:
        """Return its name for Twisted's log."""
        return "timer"


def make_timer(reactor: Any, call: Callable[[], object]) -> Timer:
    """Return a timer of ``time.monotonic``, as precise as the system has one."""
    try:
        return PreciseTimer(reactor, call)
    except (OSError, AttributeError):
        return ReactorTimer(reactor, call)
