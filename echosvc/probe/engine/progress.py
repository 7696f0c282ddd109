"""How long a path may be silent: judged over all of its connections together.

Where connections share a slow link with a deep queue, one of them may wait for minutes while
the others' bytes go by. The path works as long as anything comes on any of them. What is
waited for is given up only once nothing has come on any of them for the time-out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

_Result = TypeVar("_Result")

#: How often progress is looked at within a time-out.
_LOOKS = 8


class Progress:
    """What came over a path, and when it did so last.

    :param clock: what the time-outs run on.
    :param patience: seconds without anything after which the path is silent.
    :param sends: whether the other side has taken more of a long message since it was called
        last: while a slow link carries such, nothing can come.
    :ivar received: bytes that came, in all.
    """

    def __init__(
        self, clock: IReactorTime, patience: float, sends: Callable[[], bool] = bool
    ) -> None:
        self._clock, self._sends = clock, sends
        self.patience = patience
        self.received = 0
        self._last = -math.inf

    def heard(self, size: int) -> None:
        """Take note of bytes that came on any connection."""
        self.received += size
        self._last = self._clock.seconds()

    @property
    def silent_for(self) -> float:
        """Seconds since something came."""
        return self._clock.seconds() - self._last

    def bound(self, waiting: Deferred[_Result], more: float = 0.0) -> Deferred[_Result]:
        """Give up ``waiting`` once the path is silent; it then fails with ``TimeoutError``.

        :param more: seconds by which the patience is longer.
        """
        if not waiting.called:
            _Bound(self, waiting, more)
        return waiting

    def since(self, moment: float) -> float:
        """Seconds since ``moment``, or since something came or was taken, if that was later."""
        if self._sends():
            self.heard(0)
        return self._clock.seconds() - max(moment, self._last)


class _Bound:
    """The time-out of one Deferred."""

    def __init__(self, progress: Progress, waiting: Deferred[Any], more: float) -> None:
        self._progress, self._clock = progress, progress._clock
        self._more, self._moment = more, self._clock.seconds()
        self._given_up = False
        self.deferred = waiting
        self._next = self._look_after(self._patience)
        waiting.addBoth(self._ended)

    @property
    def _patience(self) -> float:
        return self._progress.patience + self._more

    def _look_after(self, left: float) -> IDelayedCall:
        return self._clock.callLater(min(left, self._patience / _LOOKS), self._look)

    def _look(self) -> None:
        left = self._patience - self._progress.since(self._moment)
        if left > 0:
            self._next = self._look_after(left)
        else:
            self._given_up = True
            self.deferred.cancel()

    def _ended(self, result: _Result | Failure) -> _Result | Failure:
        if self._next.active():
            self._next.cancel()
        if self._given_up and isinstance(result, Failure) and result.check(CancelledError):
            raise defer.TimeoutError(self._patience, "Deferred")
        return result
