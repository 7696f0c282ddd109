"""The time-out of a path, judged over all of its connections together.

Where connections share a slow link with a deep queue, one of them may wait for minutes while the
bytes of the others pass. The path works as long as anything comes on any of them. So a wait is
given up only once nothing has come on any of them for the time-out.

The reactor calls what is due before it reads what has come. Where this process gets no processor
for a while, or its machine sleeps, that would look like silence. So the time since the last check
does not count where a check comes late.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

_Result = TypeVar("_Result")

#: How often progress is checked within a time-out.
_CHECKS = 8
#: So many seconds may be missing to a time-out because of rounding.
_ROUNDING = 1e-6


class Progress:
    """What came over a path, and when something came last.

    :param clock: what the time-outs run on.
    :param timeout: seconds without anything after which the path is silent.
    :param is_sending: whether the peer has taken more of a long message since the last call:
        while a slow link carries such a message, nothing can come.
    :ivar received: bytes that came, in all.
    :ivar last: when something came last; minus infinity: nothing did.
    """

    def __init__(
        self, clock: IReactorTime, timeout: float, is_sending: Callable[[], bool] = bool
    ) -> None:
        self._clock, self._is_sending = clock, is_sending
        self.timeout = timeout
        self.received = 0
        self.last = -math.inf

    def note_received(self, size: int) -> None:
        """Note bytes that came on any connection."""
        self.received += size
        self.last = self._clock.seconds()

    @property
    def silent_for(self) -> float:
        """Seconds since something came."""
        return self._clock.seconds() - self.last

    def limit(self, waiting: Deferred[_Result], more: float = 0.0) -> Deferred[_Result]:
        """Cancel ``waiting`` once the path is silent; it then fails with ``TimeoutError``.

        :param more: seconds that are added to the time-out.
        """
        if not waiting.called:
            _ProgressTimeout(self, waiting, more)
        return waiting

    def stalled_since(self, moment: float) -> float:
        """Return the seconds since ``moment``, or since something came or was taken later."""
        if self._is_sending():
            self.note_received(0)
        return self._clock.seconds() - max(moment, self.last)


class _ProgressTimeout:
    """The time-out of one Deferred."""

    def __init__(self, progress: Progress, waiting: Deferred[Any], more: float) -> None:
        self._progress, self._clock = progress, progress._clock
        self._more, self._moment = more, self._clock.seconds()
        self._timed_out = False
        self._checked = self._moment
        self._last, self._uncounted = progress.last, 0.0  # seconds since then that do not count
        self.deferred = waiting
        self._next = self._schedule(self._timeout)
        waiting.addBoth(self._fired)

    @property
    def _timeout(self) -> float:
        return self._progress.timeout + self._more

    @property
    def _interval(self) -> float:
        return self._timeout / _CHECKS

    def _schedule(self, left: float) -> IDelayedCall:
        return self._clock.callLater(min(left, self._interval), self._check)

    def _note_lateness(self) -> None:
        """Do not count the time since the last check if this one comes late."""
        now = self._clock.seconds()
        if self._last != self._progress.last:
            self._uncounted, self._last = 0.0, self._progress.last
        if now - self._next.getTime() > self._interval:
            self._uncounted += now - max(self._checked, self._last)
        self._checked = now

    def _check(self) -> None:
        self._note_lateness()
        stalled = self._progress.stalled_since(self._moment)
        left = self._timeout + self._uncounted - stalled
        if left > _ROUNDING:
            self._next = self._schedule(left)
        else:
            self._timed_out = True
            self.deferred.cancel()

    def _fired(self, result: _Result | Failure) -> _Result | Failure:
        if self._next.active():
            self._next.cancel()
        cancelled = CancelledError, ConnectingCancelledError
        if self._timed_out and isinstance(result, Failure) and result.check(*cancelled):
            raise defer.TimeoutError(self._timeout, "Deferred")
        return result
