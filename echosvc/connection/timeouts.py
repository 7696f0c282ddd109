"""How long a peer may do nothing: the time-outs of one connection. No I/O, no Twisted.

Theory of operation. Two objects keep the times of a connection: :class:`OpenTimeouts` while it
is open, :class:`CloseTimeout` while it closes. Neither has a timer. The scheduler checks each
connection now and then, the check compares figures (bytes accepted, bytes that the peer has not
taken) with those of the check before, and returns when the next one is due. So a read costs no
call: that bytes came is seen at the next check.
"""

from __future__ import annotations

import math

from echosvc.connection.outcome import Outcome

#: How long a peer that has finished properly may take nothing of what is due to it, seconds,
#: where no stall time-out is set. Other peers get ``linger``, at least :data:`MIN_LINGER`.
CLOSE_STALL_TIMEOUT = 60.0
MIN_LINGER = 1.0
_NEVER = -math.inf
_ORDERLY = (Outcome.FINISHED, Outcome.TRUNCATED, Outcome.CLOSED)


class OpenTimeouts:
    """The time-outs of an open connection: idle, stall and life time; all in seconds, 0 = off.

    Activity is a read, which sets :attr:`last_activity` at the latest when the scheduler sees
    it, or progress of a write, which is seen by comparing the queue between two checks.

    :param idle: without activity for so long, the connection is idle.
    :param now: when the connection was made.
    :param lifetime: after so long its life is over.
    :ivar idle: as given.
    :ivar expires_at: the end of its life; ``math.inf`` where there is none.
    :ivar expiry: the outcome then.
    :ivar last_activity: the time of the last activity.
    """

    __slots__ = (
        "_bytes_left",
        "_last_progress",
        "_queueing",
        "_reported_activity",
        "expires_at",
        "expiry",
        "idle",
        "last_activity",
    )

    def __init__(self, idle: float, now: float, lifetime: float = 0.0) -> None:
        self.idle = idle
        self.last_activity = now
        self.expires_at = now + lifetime if lifetime else math.inf
        self.expiry = Outcome.EXPIRED
        self._reported_activity = _NEVER  # the activity after which idleness was reported
        self._queueing = False  # bytes waited, at the last check
        self._bytes_left = 0  # bytes that had left, at the last check
        self._last_progress = now  # when bytes were last seen to leave, or none waited

    def limit_life(self, until: float, outcome: Outcome) -> None:
        """End its life at ``until`` with ``outcome``, if it does not end before."""
        if until < self.expires_at:
            self.expires_at, self.expiry = until, outcome

    def note_queued(self, accepted: int, queued: int) -> bool:
        """Note that bytes wait; return whether none did before.

        :param accepted: bytes accepted for sending so far.
        :param queued: how many of them the peer has not taken, if some wait with us.
        """
        new = not self._queueing
        if new:
            self._queueing, self._bytes_left = True, accepted - queued
            self._last_progress = math.inf  # until the next check, which knows the time
        return new

    def check(self, now: float, accepted: int, queued: int) -> float:
        """Return the idle seconds that are to be reported now, once a period; else 0."""
        left = accepted - queued
        if self._queueing and left != self._bytes_left:
            self.last_activity = now
        if not queued or left != self._bytes_left or self._last_progress == math.inf:
            self._last_progress = now
        self._queueing, self._bytes_left = queued > 0, left
        # The very sum that next_check() returns: a difference may round to a little less.
        due = self.last_activity + self.idle
        if not self.idle or now < due or self._reported_activity == self.last_activity:
            return 0.0
        self._reported_activity = self.last_activity
        return now - self.last_activity

    def stalled(self, now: float) -> float:
        """Return for how many seconds, by the checks, bytes have waited and none left."""
        return now - self._last_progress

    def next_check(self, now: float, interval: float, every_interval: bool = False) -> float:
        """Return when to check again.

        :param interval: seconds between two checks that must see progress.
        :param every_interval: check so often in any case.
        :return: ``math.inf``: not before the next activity, or when bytes wait.
        """
        due = self.expires_at if self.reported else self.last_activity + self.idle
        if every_interval or self._queueing:
            due = min(due, now + interval)
        return min(due, self.expires_at)

    def activity_seen(
        self, now: float, due: float, interval: float, every_interval: bool = False
    ) -> float:
        """Note activity since the last check; return when the next one is due.

        :param due: when it was due before this activity.
        """
        was_idle_due = due == self.last_activity + self.idle
        self.last_activity = now
        next_check = self.next_check(now, interval, every_interval)
        return next_check if was_idle_due else min(due, next_check)

    @property
    def reported(self) -> bool:
        """Whether no idleness is to be reported before the next activity."""
        return not self.idle or self._reported_activity == self.last_activity


class CloseTimeout:
    """When a connection that closes is given up.

    :ivar outcome: the outcome of the end that is under way.
    :ivar resets: the end is a reset, once nothing is left to be taken; else a FIN.
    :ivar fin_sent: our FIN is out.
    :ivar unsent: bytes that the peer had not taken at the last check.
    :ivar deadline: when it is given up, by the last check.
    :param linger: seconds from our FIN to the abort, if nothing is left to be taken.
    :param unsent: bytes that the peer has not taken yet, ours and the kernel's.
    :param stall_timeout: seconds without progress for a peer that finished properly.
    """

    def __init__(
        self,
        outcome: Outcome,
        linger: float,
        now: float,
        unsent: int,
        stall_timeout: float = CLOSE_STALL_TIMEOUT,
        resets: bool = False,
    ) -> None:
        self.outcome = outcome
        self.unsent = unsent
        self.resets = resets
        self.fin_sent = False
        self._stall_timeout = stall_timeout
        self._orderly = outcome in _ORDERLY
        self._linger = linger
        self._since = now

    def progress(self, now: float) -> None:
        """The peer takes or sends something, or need not."""
        self._since = now

    def note_fin(self, now: float) -> None:
        """Our FIN is out."""
        self.fin_sent = True
        self._since = now

    def check(self, now: float, unsent: int, awaiting_reply: bool = False) -> Outcome | None:
        """Return the outcome with which to abort now; ``None``: not yet.

        :param unsent: bytes that the peer has not taken.
        :param awaiting_reply: it is a reply of the application's that is due.
        """
        if unsent < self.unsent:
            self._since = now
        self.unsent = unsent
        if self.resets and not unsent:
            return self.outcome
        if now < self.deadline:
            return None
        if awaiting_reply:
            return Outcome.FAILED
        return Outcome.STALLED if self._stalls else self.outcome

    @property
    def deadline(self) -> float:
        """When it is given up, by the last check."""
        if self._stalls:
            return self._since + self._stall_timeout
        done = self.fin_sent and not self.unsent
        return self._since + (self._linger if done else max(self._linger, MIN_LINGER))

    @property
    def _stalls(self) -> bool:
        """Whether a peer that ended properly leaves bytes that it has not taken."""
        return self._orderly and self.unsent > 0
