"""The messages of one connection, from the time they are sent until it is known what they became.

Each message ends in one of four ways: answered, damaged, lost or abandoned. A message that is
missing, because a later one was answered, may still come. One that was taken for damaged by its
place in the stream may still come intact; then it was another one's fault.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.traffic.incidents import Gap
from echosvc.probe.traffic.sent_message import SentMessage
from echosvc.probe.traffic.tally import Tally

#: So many messages that are missing, or damaged, are remembered for a connection.
MAX_REMEMBERED = 4096


def never_paused(since: float, now: float) -> float:  # noqa: ARG001
    """Return 0: this process never stood still."""
    return 0.0


class Ledger:
    """The account of the messages of one connection.

    :param tally: where everything is counted.
    :param connection: its number.
    :param deadline: seconds from the time a message is sent after which its answer is late.
    :param max_gap: seconds without an answer, while one is due, that are noted as a gap.
    :param closed_loop: a message is sent when one is answered.
    :param paused: returns for how many seconds this process stood still between two times. An
        answer that it did not read meanwhile is not late.
    :ivar now: the time of what is noted next.
    :ivar sent: how many messages were sent; the number of the next one.
    :ivar pending: messages that are due, in order; their numbers have no gaps.
    :ivar answers: messages that were answered since the last :meth:`take_answers`.
    :ivar last: the last message that was answered.
    """

    def __init__(
        self,
        tally: Tally,
        connection: int,
        deadline: float,
        max_gap: float,
        closed_loop: bool,
        paused: Callable[[float, float], float] = never_paused,
    ) -> None:
        self.tally, self.connection = tally, connection
        self._deadline, self._max_gap, self._closed_loop = deadline, max_gap, closed_loop
        self._paused = paused
        self.now, self.sent = 0.0, 0
        self.pending: deque[SentMessage] = deque()
        self.answers: list[SentMessage] = []
        self.last: SentMessage | None = None
        self._missing: dict[int, SentMessage] = {}
        self._damaged: dict[int, SentMessage | None] = {}
        self._last_answer = -math.inf

    @property
    def owed(self) -> int:
        """How many messages may still be answered."""
        return len(self.pending) + len(self._missing)

    @property
    def silent_since(self) -> float:
        """When something was due first and nothing was answered since; infinity: nothing is."""
        if not self.pending:
            return math.inf
        return max(self._last_answer, self.pending[0].sent)

    def take_answers(self) -> list[SentMessage]:
        """Return what was answered, and forget it."""
        answers, self.answers = self.answers, []
        return answers

    def answer(self, message: SentMessage) -> None:
        """Note that the reply to a message came, intact."""
        now = self.now
        # The message before it was answered by then.
        alone = self._closed_loop or self._last_answer <= message.sent
        self.tally.count_answer(message.intended, message.sent, now, alone)
        waited = now - message.sent
        if waited > self._deadline and waited - self._paused(message.sent, now) > self._deadline:
            self.count("late")
        if now - self._last_answer > self._max_gap:
            self._note_gap(message)
        self._last_answer, self.last = now, message
        self.answers.append(message)

    def _note_gap(self, message: SentMessage) -> None:
        began = max(self._last_answer, message.sent)
        if self.now - began > self._max_gap:
            last = -1 if self.last is None else self.last.number
            gap = Gap(began, self.now - began, self.connection, "silence", last)
            self.tally.note_gap(gap)

    def count(self, kind: str, count: int = 1) -> None:
        """Count a fault that was found now."""
        if count:
            self.tally.count(kind, count, self.now)

    # -- faults ---------------------------------------------------------------

    def is_pending(self, number: int) -> bool:
        """Return whether a message that was sent is due."""
        return bool(self.pending) and self.pending[0].number <= number

    def take_before(self, number: int) -> list[SentMessage]:
        """Remove and return the messages that are due before another one that is."""
        taken = []
        while self.is_pending(number) and self.pending[0].number < number:
            taken.append(self.pending.popleft())
        return taken

    def skip(self, messages: Iterable[SentMessage], damaged: Sequence[SentMessage]) -> None:
        """Note that messages were not answered, and which of them are damaged."""
        for message in messages:
            if message not in damaged:
                self._missing[message.number] = message
        self.count("damaged", len(damaged))
        self._damaged.update((message.number, None) for message in damaged)
        self._forget()

    def damage_by_place(self, messages: Sequence[SentMessage]) -> None:
        """Note that messages are damaged, since as many bytes came as were due.

        At least the first one is. The others may have been moved, and may come intact.
        """
        self.count("damaged", len(messages))
        self._damaged.update((message.number, message) for message in messages)
        if messages:
            self._damaged[messages[0].number] = None
        self._forget()

    def note_again(self, number: int) -> FaultKind:
        """Note that a message came intact that is not due; return what that means."""
        if number in self._missing:
            self.count("reordered")
            self.answer(self._missing.pop(number))
            return FaultKind.REORDERED
        if number not in self._damaged:
            self.count("duplicated")
            return FaultKind.REPEATED
        message = self._damaged[number]
        if message is not None:
            del self._damaged[number]
            self.count("damaged", -1)
            self.answer(message)
        return FaultKind.INSERTED

    def _forget(self) -> None:
        """Bound what is remembered: the oldest missing message is lost."""
        while len(self._missing) > MAX_REMEMBERED:
            number = next(iter(self._missing))
            del self._missing[number]
            self._damaged[number] = None
            self.count("lost")
        while len(self._damaged) > MAX_REMEMBERED:
            del self._damaged[next(iter(self._damaged))]

    def close(self, abandon: bool) -> None:
        """Note that nothing more will come: what is due is lost, or abandoned."""
        if abandon:
            self.tally.count("abandoned", self.owed, self.now)
        else:
            self.count("unanswered", len(self.pending))
            self.count("lost", self.owed)
        self.pending.clear()
        self._missing.clear()
