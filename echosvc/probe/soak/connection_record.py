"""The record of one of the connections of a soak: when it was answered, and its gaps.

No I/O, no clock. Theory of operation. A connection is replaced when it ends, and the record goes on
with the next one. A gap is open from the moment that proves it, an end or a silence that is too
long, until the next answer. What happens meanwhile is part of it: an end after a silence, and
attempts that fail.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from echosvc.probe.soak.result import SILENCE, Gap


@dataclass(frozen=True)
class End:
    """How a connection ended, and what it owed.

    :ivar how: ``fin``, ``reset``, ``mismatch``, or another error's name; ``timeout``: it was given
        up because nothing came.
    :ivar unanswered: messages that were sent and not answered.
    :ivar unanswered_bytes: their size.
    :ivar acknowledged: how many bytes of these the next hop's kernel has acknowledged; ``None``: it
        is not known.
    :ivar since: when the first of them was sent, if nothing was answered since.
    :ivar came: when it came to this machine, if the kernel knows that.
    :ivar detail: more about the cause, in words.
    """

    how: str
    unanswered: int = 0
    unanswered_bytes: int = 0
    acknowledged: int | None = None
    since: float | None = None
    came: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class _Connection:
    """A connection that was opened.

    :ivar who: who answered on it.
    :ivar last: the number of the last message that was answered.
    """

    local: str = ""
    peer: str = ""
    who: str = ""
    last: int = -1


@dataclass
class _OpenGap:
    """A gap that is not over; ``before`` is the connection when it began."""

    number: int
    began: float
    cause: str
    before: _Connection
    last_answer: float | None
    end: End | None = None
    failures: Counter[str] = field(default_factory=Counter)
    detail: str = ""


class ConnectionRecord:
    """The record of one connection and of those that replace it.

    All moments are of the caller's clock, and never go back.

    :param number: of the connection, from 1.
    :param now: when it is first tried to open it.
    :ivar began: when it is first tried to open it.
    :ivar is_open: a connection is open.
    """

    def __init__(self, number: int, now: float) -> None:
        self.number, self.began = number, now
        self.is_open = False
        self._current = _Connection()
        self._last_answer: float | None = None
        self._gap: _OpenGap | None = None

    @property
    def was_open(self) -> bool:
        """Whether a connection was ever opened."""
        return self._last_answer is not None

    @property
    def gap_began(self) -> float:
        """When the open gap began."""
        return self.began if self._gap is None else self._gap.began

    @property
    def gap_cause(self) -> str:
        """What the open gap began with; "": none is open."""
        return "" if self._gap is None else self._gap.cause

    # -- what happens -----------------------------------------------------------------------------

    def open(self, local: str, peer: str, who: str, now: float) -> Gap | None:
        """Note that a connection is open, and was answered; return the gap that this ends."""
        closed = self._close(now, _Connection(local, peer, who))
        self._current = _Connection(local, peer, who)
        self.is_open, self._last_answer = True, now
        return closed

    def answer(self, number: int, now: float) -> Gap | None:
        """Note that a message was answered; return the gap that this ends."""
        closed = self._close(now, replace(self._current, local="", peer=""))
        self._current = replace(self._current, last=number)
        self._last_answer = now
        return closed

    def is_silent(self, since: float, number: int) -> bool:
        """Note that what was sent at ``since`` is not answered; return whether that begins a gap.

        :param number: of the gap.
        """
        return self._begin(number, since, SILENCE)

    def end(self, end: End, number: int, now: float) -> bool:
        """Note that the connection has ended; return whether that begins a gap.

        :param number: of the gap.
        """
        self.is_open = False
        began = min(each for each in (end.since, end.came, now) if each is not None)
        begun = self._begin(number, max(began, self._last_answer or began), end.how)
        if self._gap is not None:
            self._gap.end = end
        return begun

    def fail(self, cause: str, number: int, detail: str = "") -> bool:
        """Note that no connection could be opened; return whether that begins a gap.

        :param number: of the gap.
        :param detail: more about the cause, in words.
        """
        begun = self._begin(number, self.began, cause)
        if self._gap is not None:
            self._gap.failures[cause] += 1
            self._gap.detail = detail or self._gap.detail
        return begun

    def finish(self, now: float) -> Gap | None:
        """Note that the soak ends; return the gap that is open."""
        return self._close(now, None)

    # -- gaps -------------------------------------------------------------------------------------

    def _begin(self, number: int, began: float, cause: str) -> bool:
        if self._gap is not None:
            return False
        self._gap = _OpenGap(number, began, cause, self._current, self._last_answer)
        return True

    def _close(self, now: float, after: _Connection | None) -> Gap | None:
        """Return the gap that is open, and close it.

        :param after: what was answered; its addresses if it is another connection.
        """
        gap, self._gap = self._gap, None
        if gap is None:
            return None
        end, before = gap.end or End(""), gap.before
        return Gap(
            gap.number, self.number, gap.began, max(0.0, now - gap.began), gap.cause,
            end=end.how,
            answered=after is not None,
            since_answer=None if gap.last_answer is None else now - gap.last_answer,
            local=before.local,
            peer=before.peer,
            local_after="" if after is None else after.local,
            peer_after="" if after is None else after.peer,
            last=before.last,
            before=before.who,
            after="" if after is None else after.who,
            unanswered=end.unanswered,
            unanswered_bytes=end.unanswered_bytes,
            acknowledged=end.acknowledged,
            failures=dict(sorted(gap.failures.items())),
            detail=end.detail or gap.detail,
        )  # fmt: skip
