"""What time does to a connection: idleness, stalls, the end of its life, ends that hang."""

from __future__ import annotations

import math
from typing import cast

from echosvc.connection.link import Link
from echosvc.connection.outcome import Outcome
from echosvc.connection.timeouts import PATIENCE, CloseClock, IdleClock

#: Reasons for which nothing more is read: the application has paused the connection, or a reply
#: is not there yet.
BY_APPLICATION, BY_REPLY = 1, 2


class Timed(Link):
    """A connection as the sweep sees it (:class:`~echosvc.connection.scheduler.Watched`)."""

    due = math.inf
    bytes_seen = 0

    _idle_clock: IdleClock
    _close_clock: CloseClock | None = None
    _waiting = False  # for the handshake
    _blocked = False  # the transport has enough waiting
    _held = 0  # who wants no more: a set of the bits below
    _resting = False  # the sweep looks at us no more; our next activity must wake it

    # -- what a subclass does -------------------------------------------------

    def _timed_out(self, seconds: float) -> None:
        """Nothing happened for ``seconds``, the idle time-out."""

    def _changed(self) -> None:
        """We are held, rest or end, or do so no more."""

    def end_with(self, outcome: Outcome) -> None:
        """End politely."""
        raise NotImplementedError

    def abort_with(self, outcome: Outcome) -> None:
        """End now."""
        raise NotImplementedError

    # -- activity -------------------------------------------------------------

    def _look_at(self, due: float) -> None:
        """Look at the deadlines at ``due``."""
        self.due = due
        self._wake()

    def _look_soon(self) -> None:
        """Look at them within an interval: something must be seen to go on."""
        self._look_at(min(self.due, self._now() + self._interval))

    @property
    def _interval(self) -> float:
        return cast(float, self.factory.sweep.interval)

    def _touch(self) -> None:
        """Take note of activity. What only counts :attr:`bytes_in` need not call this."""
        clock = self._idle_clock
        settled = clock.timeout and clock.settled
        now = clock.active = self._now()
        if settled:
            self._look_at(min(self.due, clock.next_look(now, self._interval)))

    def stirred(self, now: float) -> None:
        """Bytes were read since the last look."""
        clock = self._idle_clock
        moves = self.due == clock.active + clock.timeout  # it was idleness that was due next
        clock.active = now
        due = clock.next_look(now, self._interval, closely=self._held > 0)
        self.due = min(self._expires if moves else self.due, due)

    def _wake(self) -> None:
        self._resting = False
        if not self._gone:
            self.factory.sweep.watch(self)
            self._changed()

    def rest(self) -> None:
        """Nobody looks at us from now on; with a time-out, the next activity says so."""
        self._resting = self._idle_clock.timeout > 0
        self._changed()

    # -- deadlines ------------------------------------------------------------

    @property
    def _expires(self) -> float:
        """When its life is over; computed, since an attribute more would cost 1,300 bytes."""
        lifetime = cast(float, self._config.max_lifetime)
        return self._opened_at + lifetime if lifetime else math.inf

    def _close_slowly(self, outcome: Outcome, resets: bool = False) -> None:
        """Give the end a deadline.

        :param resets: it is a reset, once the peer has taken everything.
        """
        now = self._now()
        linger, unsent = self._config.linger, self._unsent()
        patience = self._config.stall_timeout or PATIENCE
        self._close_clock = CloseClock(outcome, linger, now, unsent, patience)
        self._close_clock.resets = resets
        self._look_at(now + self._interval)

    def tick(self, now: float) -> None:
        """Look at the deadlines; called by the sweep."""
        if self._close_clock is not None:
            self._tick_closing(now, self._close_clock)
        elif self.closing:
            self.due = math.inf  # aborted: the reactor's next turn tells us
        elif self._waiting:
            self.abort_with(Outcome.HANDSHAKE)
        elif self._sender.ending():
            self.end_with(Outcome.FINISHED)
        elif self._held and self._sender.broken():
            self.abort_with(Outcome.RESET)
        else:
            self._tick_open(now)

    def _tick_open(self, now: float) -> None:
        clock, stall = self._idle_clock, self._config.stall_timeout
        awaiting = self._held & BY_REPLY
        finished = self.peer_finished and not self._config.allow_half_open
        if awaiting and not finished:
            clock.active = now  # it is us who make the client wait
        # A transport that tells no figures tells at least that bytes wait.
        waiting = self._sender.waiting() or int(self._blocked)
        idle = clock.look(now, self.bytes_out, waiting)
        self.due = min(self._expires, clock.next_look(now, self._interval, closely=self._held > 0))
        if now >= self._expires:
            self.end_with(Outcome.EXPIRED)
        elif stall and clock.stalled(now) >= stall:
            self.abort_with(Outcome.STALLED)
        elif awaiting:
            if finished and now - clock.active >= (stall or PATIENCE):
                self.abort_with(Outcome.FAILED)
        elif idle:
            self._timed_out(idle)

    def _tick_closing(self, now: float, clock: CloseClock) -> None:
        """Give up once the peer has neither taken anything nor finished for too long."""
        deadline = clock.deadline(now, self._unsent())
        self.due = min(deadline, now + self._interval)
        if clock.resets and not clock.unsent:
            self.abort_with(clock.outcome)
        elif now >= deadline:
            self.abort_with(self._word_of_deadline(clock))

    def _unsent(self) -> int:
        """Return the bytes that the peer has not taken; a reply that is awaited counts as one."""
        return self._sender.unsent() + bool(self._held & BY_REPLY)

    def _word_of_deadline(self, clock: CloseClock) -> Outcome:
        """Return the outcome of a close that has taken too long."""
        if self._held & BY_REPLY:
            return Outcome.FAILED
        return Outcome.STALLED if clock.stalled else clock.outcome
