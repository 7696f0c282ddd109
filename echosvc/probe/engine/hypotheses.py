"""Hypotheses of one fault that explains all that came.

Theory of operation. Each hypothesis (bytes lost, repeated, reordered, changed, inserted) predicts
all that comes from the first wrong byte on. Its prediction is a list of pieces of what was sent
and, where bytes are changed or inserted, of what came. Predictions are compared with what came,
those of the simplest hypotheses first, and the first that agrees with everything is the fault. A
hypothesis that agrees with less proves nothing: a swap that begins before the first wrong byte,
for example, agrees with the bytes before it in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from echosvc.probe.engine.fault import MIN_AGREEMENT, Explanation, FaultKind, Window
from echosvc.wire.compare import common_run

#: Longest piece of which every length is tried, bytes.
_SHORT = 64
#: Longest change that is recognised, bytes.
_MAX_CHANGE = 128 * 1024
#: How far before the first wrong byte a swap may begin: bytes that are the same by chance.
_MAX_UNSEEN = 16
#: Bytes that must agree besides those that agree in any case, if more may come.
_MIN_PROOF = 8
#: The end of a piece that has none.
_END = 1 << 62

#: A piece of a prediction: of what came (``True``) or of what was sent (``False``), from where,
#: and to where.
_Piece = tuple[bool, int, int]


@dataclass(frozen=True)
class _Hypothesis:
    """A hypothesis.

    :ivar pieces: what comes from its beginning on.
    :ivar certain: how many bytes agree in any case.
    """

    explanation: Explanation
    pieces: tuple[_Piece, ...]
    certain: int = 0


def explain_by_one_fault(window: Window) -> Explanation | None:
    """Return the simplest fault that explains all that came; ``None``: none does.

    A change of several bytes is the last one: it copies what came, so it explains much of it in
    any case.
    """
    return _Hypotheses(window).find()


class _Hypotheses:
    """The hypotheses of one window. Offsets count from the first wrong byte."""

    def __init__(self, window: Window) -> None:
        self._final, self._due, self._seen = window.final, window.due, window.seen
        self._zero = len(window.before)  # the first wrong byte, in what was sent
        self._sent = window.before + window.due
        self._kept = min(_MAX_UNSEEN, self._zero)  # the same, in what came
        self._came = window.before[self._zero - self._kept :] + window.seen

    def find(self) -> Explanation | None:
        """Return the first hypothesis that explains all that came."""
        return next((each.explanation for each in self._all() if self._explains(each)), None)

    def _explains(self, hypothesis: _Hypothesis) -> bool:
        """Return whether all that came is what is predicted, and enough of it to prove it."""
        begin = position = self._kept + hypothesis.explanation.at
        ended = True  # what is predicted ends, too
        for from_came, start, end in hypothesis.pieces:
            buffer, zero = (self._came, self._kept) if from_came else (self._sent, self._zero)
            size = min(zero + end, len(buffer)) - (zero + start)
            agreed = common_run(buffer, zero + start, self._came, position, size)
            position += agreed
            if agreed < size:
                ended = False
                break
        if position < len(self._came):
            return False
        return ended if self._final else position - begin >= hypothesis.certain + _MIN_PROOF

    def _all(self) -> Iterator[_Hypothesis]:
        """Yield all hypotheses, the simplest first."""
        if not self._due:  # everything has come already
            yield from self._repeated()
            yield self._insertion(len(self._seen), certain=-_MIN_PROOF)
            return
        if self._seen:
            yield self._change(1)
        yield from self._lost()
        yield from self._repeated()
        for base in range(0, -self._kept - 1, -1):
            yield from self._reordered(base)
        yield from self._inserted()
        yield from self._changed()

    def _run(self, start: int, at: int) -> int:
        """Return how much of what was sent at ``start`` came at ``at``."""
        return common_run(self._sent, self._zero + start, self._came, self._kept + at)

    def _sent_at(self, start: int, size: int) -> bytes:
        return self._sent[self._zero + start : self._zero + start + size]

    def _came_at(self, start: int, size: int) -> bytes:
        return self._came[self._kept + start : self._kept + start + size]

    def _find_sent(self, data: bytes, start: int) -> int:
        """Return where ``data`` is sent from ``start`` on; a negative number: nowhere."""
        found = self._sent.find(data, self._zero + start)
        return found - self._zero if found >= 0 else start - 1

    # -- lost -----------------------------------------------------------------

    def _lost(self) -> Iterator[_Hypothesis]:
        sizes = [len(self._due) - len(self._seen)] if self._final else []
        sizes.append(self._find_sent(self._seen[:MIN_AGREEMENT], 1))
        for size in sizes:
            if size > 0:
                explanation = Explanation(FaultKind.LOST, length=size)
                yield _Hypothesis(explanation, ((False, size, _END),))

    # -- repeated -------------------------------------------------------------

    def _repeated(self) -> Iterator[_Hypothesis]:
        sizes = [len(self._seen) - len(self._due)] if self._final else []
        sizes += [
            size
            for size in range(1, min(_SHORT, self._zero, len(self._seen)) + 1)
            if self._sent_at(-size, size) == self._seen[:size]
        ]
        for size in sizes:
            if 0 < size <= self._zero:
                yield self._repetition(-size, size)
        yield from self._repeated_earlier()

    def _repeated_earlier(self) -> Iterator[_Hypothesis]:
        """Yield repetitions of any bytes that were sent before, the last ones first."""
        found = self._sent.rfind(self._seen[:MIN_AGREEMENT], 0, self._zero)
        if found < 0:
            return
        start = found - self._zero
        longest = min(self._run(start, 0), -start)
        for size in range(longest, max(0, longest - _MAX_UNSEEN), -1):
            yield self._repetition(start, size)

    def _repetition(self, start: int, size: int) -> _Hypothesis:
        explanation = Explanation(FaultKind.REPEATED, length=size, origin=start)
        pieces = ((False, start, start + size), (False, 0, _END))
        return _Hypothesis(explanation, pieces, min(size, _MIN_PROOF))

    # -- reordered ------------------------------------------------------------

    def _reordered(self, base: int) -> Iterator[_Hypothesis]:
        """Yield hypotheses of a piece at ``base`` that came late: what follows came before it."""
        for late, most in self._late(base):
            for early in range(most, max(0, most - _MAX_UNSEEN), -1):
                middle, end = base + late, base + late + early
                explanation = Explanation(FaultKind.REORDERED, base, late, middle, early)
                pieces = ((False, middle, end), (False, base, middle), (False, end, _END))
                yield _Hypothesis(explanation, pieces, -base)

    def _late(self, base: int) -> Iterator[tuple[int, int]]:
        """Yield how many bytes may have come late, and how many at most came early."""
        left = len(self._due) - base
        found = self._find_sent(self._came_at(base, MIN_AGREEMENT), base + 1) - base
        for late in {*range(1, min(_SHORT, left)), found}:
            if late > 0 and self._sent_at(base + late, 1) == self._came_at(base, 1):
                yield late, self._run(base + late, base)
        for early in range(1, min(_SHORT, len(self._seen) - base)):
            size = min(MIN_AGREEMENT, len(self._seen) - base - early)
            if self._came_at(base + early, size) == self._sent_at(base, size):
                run = self._run(base, base + early)
                for late in range(run, max(0, run - _MAX_UNSEEN), -1):
                    if self._sent_at(base + late, early) == self._came_at(base, early):
                        yield late, early

    # -- inserted and changed -------------------------------------------------

    def _inserted(self) -> Iterator[_Hypothesis]:
        sizes = [len(self._seen) - len(self._due)] if self._final else []
        sizes.append(self._seen.find(self._due[:MIN_AGREEMENT], 1))
        for size in sizes:
            if size > 0:
                yield self._insertion(size, size)

    def _insertion(self, size: int, certain: int) -> _Hypothesis:
        pieces = ((True, 0, size), (False, 0, _END))
        return _Hypothesis(Explanation(FaultKind.INSERTED, length=size), pieces, certain)

    def _changed(self) -> Iterator[_Hypothesis]:
        most = min(_MAX_CHANGE, len(self._due), len(self._seen))
        for size in range(2, most + 1):
            end = size + MIN_AGREEMENT
            if self._due[size:end] == self._seen[size:end]:
                yield self._change(size)
                if size > _SHORT:
                    return

    def _change(self, size: int) -> _Hypothesis:
        pieces = ((True, 0, size), (False, size, _END))
        return _Hypothesis(Explanation(FaultKind.CHANGED, length=size), pieces, size)
