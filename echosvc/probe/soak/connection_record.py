"""The record of one of the connections of a soak: when it was answered, and its gaps.

No I/O, no clock. Theory of operation. A connection is replaced when it ends, and the record goes on
with the next one. A gap is open from the moment that proves it, an end or a silence that is too
long, until the next answer. What happens meanwhile is part of it: an end after a silence, attempts
that fail, connections that are opened and end without an answer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from echosvc.probe.soak.result import SILENCE, Gap


@dataclass
class End:
    """How a connection ended, and what it owed.

    :ivar how: ``fin``, ``reset``, ``mismatch``, or another error's name; ``timeout``: it was given
        up because nothing came.
    :ivar unanswered: messages that were sent and not answered.
    :ivar unanswered_bytes: their size.
    :ivar acknowledged: how many bytes of these the next hop's kernel has acknowledged; ``None``: it
        is not known.
    :ivar since: when the first of them was sent, if nothing was answered since.
    :ivar detail: more about the cause, in words.
    """

    how: str
    unanswered: int = 0
    unanswered_bytes: int = 0
    acknowledged: int | None = None
    since: float | None = None
    detail: str = ""


@dataclass
class _OpenGap:
    number: int
    began: float
    cause: str
    before: _Side
    last_answer: float | None
    end: End | None = None
    failures: Counter[str] = field(default_factory=Counter)
    replaced: bool = False


@dataclass(frozen=True)
class _Side:
    """A connection that was opened.

    :ivar last: the number of the last message that was answered.
    """

    local: str = ""
    peer: str = ""
    who: str = ""
    last: int = -1


class ConnectionRecord:
    """The record of one connection and of those that replace it.

    All moments are of the caller's clock, and never go back.

    :param connection: its number, from 1.
    :param now: when it is first tried to open it.
    :ivar is_open: a connection is open.
    :ivar opened: how many connections were opened.
    """

    def __init__(self, connection: int, now: float) -> None:
        self.connection, self._began = connection, now
        self.is_open, self.opened = False, 0
        self._side = _Side()
        self._last_answer: float | None = None
        self._gap: _OpenGap | None = None

    @property
    def in_gap(self) -> bool:
        """Whether a gap is open."""
        return self._gap is not None

    @property
    def gap_began(self) -> float:
        """When the open gap began."""
        return self._began if self._gap is None else self._gap.began

    @property
    def gap_cause(self) -> str:
        """What the open gap began with."""
        return "" if self._gap is None else self._gap.cause

    @property
    def is_first_answer(self) -> bool:
        """Whether nothing was answered yet since the connection was opened."""
        return self._side.last < 0

    @property
    def addresses(self) -> tuple[str, str]:
        """The addresses of this side and of the other one."""
        return self._side.local, self._side.peer

    # -- what happens -------------------------------------------------------------------------

    def open(self, local: str, peer: str) -> None:
        """Note that a connection is open."""
        self.is_open, self.opened = True, self.opened + 1
        if self._gap is not None:
            self._gap.replaced = True
        self._side = _Side(local, peer)

    def answer(self, number: int, who: str, now: float) -> Gap | None:
        """Note that a message was answered; return the gap that this ends."""
        self._side = _Side(self._side.local, self._side.peer, who, number)
        gap, self._gap = self._gap, None
        closed = None if gap is None else self._close(gap, now, answered=True)
        self._last_answer = now
        return closed

    def is_silent(self, since: float, number: int) -> bool:
        """Note that what was sent at ``since`` is not answered; return whether that begins a gap.

        :param number: of the gap.
        """
        return self._begin(number, since, SILENCE)

    def end(self, end: End, number: int, now: float) -> bool:
        """Note that the connection has ended; return whether that begins a gap.

        The end of one that was opened in a gap and never answered is a failure of an attempt.

        :param number: of the gap.
        """
        self.is_open = False
        begun = self._begin(number, now if end.since is None else min(end.since, now), end.how)
        gap = self._gap
        if gap is not None and gap.end is None and not gap.replaced:
            gap.end = end
        elif gap is not None:
            gap.failures[end.how] += 1
        return begun

    def fail(self, cause: str, number: int) -> bool:
        """Note that no connection could be opened; return whether that begins a gap.

        :param number: of the gap.
        """
        begun = self._begin(number, self._began, cause)
        if self._gap is not None:
            self._gap.failures[cause] += 1
        return begun

    def finish(self, now: float) -> Gap | None:
        """Note that the soak ends; return the gap that is open."""
        gap, self._gap = self._gap, None
        return None if gap is None else self._close(gap, now, answered=False)

    # -- gaps -----------------------------------------------------------------------------------

    def _begin(self, number: int, began: float, cause: str) -> bool:
        if self._gap is not None:
            return False
        self._gap = _OpenGap(number, began, cause, self._side, self._last_answer)
        return True

    def _close(self, gap: _OpenGap, now: float, answered: bool) -> Gap:
        end, before, after = gap.end or End(""), gap.before, self._side
        replaced = gap.replaced and answered
        return Gap(
            gap.number, self.connection, gap.began, max(0.0, now - gap.began), gap.cause,
            end=end.how,
            answered=answered,
            since_answer=None if gap.last_answer is None else now - gap.last_answer,
            local=before.local,
            peer=before.peer,
            local_after=after.local if replaced else "",
            peer_after=after.peer if replaced else "",
            last=before.last,
            before=before.who,
            after=after.who if answered else "",
            unanswered=end.unanswered,
            unanswered_bytes=end.unanswered_bytes,
            acknowledged=end.acknowledged,
            failures=dict(sorted(gap.failures.items())),
            detail=end.detail,
        )  # fmt: skip
