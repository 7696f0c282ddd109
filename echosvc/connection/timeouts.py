"""How long a peer may do nothing: two clocks for one connection. No I/O, no Twisted.

They are asked at every look of the sweep, and say when to look again.
"""

from __future__ import annotations

import math

from echosvc.connection.outcome import Outcome

#: How long a peer that has finished properly may take none of what is due to it before
#: we give up, seconds, where no stall time-out says so. Other peers get ``linger``, and
#: at least :data:`GRACE`.
PATIENCE = 60.0
GRACE = 1.0
_NEVER = -math.inf
_PATIENT = (Outcome.FINISHED, Outcome.TRUNCATED, Outcome.CLOSED)


class IdleClock:
    """When an open connection has been idle for its time-out.

    Activity is a read, which sets :attr:`active` at the latest when the sweep sees it, or
    progress of a write, which is seen by comparing the queue between two looks.

    :ivar timeout: seconds; 0 = never.
    :ivar active: the time of the last activity.
    """

    __slots__ = ("_left", "_progress", "_queueing", "_reported", "active", "timeout")

    def __init__(self, timeout: float, now: float) -> None:
        self.active = now
        self.timeout = timeout
        self._reported = _NEVER  # the activity after which idleness was reported
        self._queueing = False  # something was queued, at the last look
        self._left = 0  # bytes that had left, at the last look
        self._progress = now  # when bytes were last seen to leave, or none waited

    def queue(self, accepted: int, queued: int) -> bool:
        """Take note that bytes wait; give whether that is new.

        :param accepted: bytes accepted for sending so far.
        :param queued: how many of them the peer has not taken, if some wait with us.
        """
        new = not self._queueing
        if new:
            self._queueing, self._left = True, accepted - queued
            self._progress = math.inf  # until the next look, which knows the time
        return new

    def look(self, now: float, accepted: int, queued: int) -> float:
        """Give the idle seconds that are to be reported now, once a period; else 0."""
        left = accepted - queued
        if self._queueing and left != self._left:
            self.active = now
        if not queued or left != self._left or self._progress == math.inf:
            self._progress = now
        self._queueing, self._left = queued > 0, left
        # The very sum that next_look() gives: a difference may round to a little less.
        due = self.active + self.timeout
        if not self.timeout or now < due or self._reported == self.active:
            return 0.0
        self._reported = self.active
        return now - self.active

    def stalled(self, now: float) -> float:
        """Give for how many seconds, as the looks saw it, bytes have waited and none left."""
        return now - self._progress

    def next_look(self, now: float, interval: float, closely: bool = False) -> float:
        """Give when to look again.

        :param interval: seconds between two looks that must see progress.
        :param closely: look every ``interval`` in any case.
        :return: ``math.inf``: not before the next activity, or when bytes wait.
        """
        closest = now + interval if closely or self._queueing else math.inf
        return closest if self.settled else min(closest, self.active + self.timeout)

    @property
    def settled(self) -> bool:
        """Whether there is nothing to report before the next activity."""
        return not self.timeout or self._reported == self.active


class CloseClock:
    """When to give up on a peer while the connection closes.

    :ivar outcome: the word for the end that is under way.
    :ivar resets: it is to be a reset, once nothing is left to be taken.
    :ivar fin_sent: our FIN is out.
    :ivar unsent: bytes that the peer had not taken at the last look.
    :param linger: seconds from our FIN to the abort, if nothing is left to be taken.
    :param unsent: bytes that the peer has not taken yet, ours and the kernel's.
    :param patience: seconds without progress for a peer that finished properly.
    """

    def __init__(
        self,
        outcome: Outcome,
        linger: float,
        now: float,
        unsent: int,
        patience: float = PATIENCE,
    ) -> None:
        self.outcome = outcome
        self._patience = patience
        self._patient = outcome in _PATIENT
        self._linger = linger
        self._since = now
        self.unsent = unsent
        self.resets = False
        self.fin_sent = False

    def touch(self, now: float) -> None:
        """The peer gets on, or need not."""
        self._since = now

    def fin(self, now: float) -> None:
        """Our FIN is out."""
        self.fin_sent = True
        self._since = now

    def deadline(self, now: float, unsent: int) -> float:
        """Give when to give up, from what the peer has taken since the last look."""
        if unsent < self.unsent:
            self._since = now
        self.unsent = unsent
        return self._since + self._seconds()

    @property
    def stalled(self) -> bool:
        """Whether a peer that had all our patience leaves bytes that it never took."""
        return self._patient and self.unsent > 0

    def _seconds(self) -> float:
        if self.stalled:
            return self._patience
        done = self.fin_sent and not self.unsent
        return self._linger if done else max(self._linger, GRACE)
