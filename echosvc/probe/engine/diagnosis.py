"""What happened to a stream, found from what was due and what came.

Theory of operation. Each hypothesis (bytes lost, repeated, reordered, changed, inserted) predicts
what comes from the first wrong byte on. Predictions are compared with what came, those of the
simplest hypotheses first. The first that agrees with everything is the fault; if none does, the
one that agrees with the most bytes. So a single loss, repetition, swap or change is named for what
it is, at the cost of a few comparisons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from echosvc.wire.compare import common_prefix_length

#: As many bytes do not agree by accident.
MIN_AGREEMENT = 24
#: Longest piece of which every length is tried, bytes.
_SHORT = 64
#: Longest change that is recognised, bytes.
_MAX_CHANGE = 128 * 1024
#: How far before the first wrong byte a swap may begin: bytes that are the same by chance.
_MAX_UNSEEN = 16
#: Bytes of what was due, and of what came, that a fault has.
SAMPLE_SIZE = 16


class FaultKind(Enum):
    """What happened to the bytes."""

    LOST = "lost"
    REPEATED = "repeated"
    REORDERED = "reordered"
    CHANGED = "changed"
    INSERTED = "inserted"
    CUT = "cut"
    UNMARKED = "unmarked"
    GARBLED = "garbled"


@dataclass(frozen=True)
class Fault:
    """The first fault of a stream.

    :ivar kind: what happened.
    :ivar offset: of the first wrong byte, in what was sent.
    :ivar length: how many bytes are lost, repeated, changed or inserted; of a reordered
        piece, how many came late. 0: not known.
    :ivar origin: offset of the repeated bytes, or of those that came too early.
    :ivar early: how many bytes came too early.
    :ivar before: the bytes right before it, which are as they should be.
    :ivar expected: what was due there.
    :ivar seen: what came.
    :ivar explained: it explains everything that came after it.
    """

    kind: FaultKind
    offset: int
    length: int = 0
    origin: int = 0
    early: int = 0
    before: bytes = b""
    expected: bytes = b""
    seen: bytes = b""
    explained: bool = True


@dataclass(frozen=True)
class _Hypothesis:
    """A hypothesis.

    :ivar base: where it applies, relative to the first wrong byte; never after it.
    :ivar predicted: what comes from ``base`` on.
    """

    kind: FaultKind
    predicted: bytes
    length: int
    origin: int = 0
    early: int = 0
    base: int = 0


def diagnose(before: bytes, due: bytes, seen: bytes, offset: int, final: bool) -> Fault:
    """Return the fault at the first wrong byte.

    :param before: what was sent right before it, and came.
    :param due: what was sent from there on; all of it, if ``final``.
    :param seen: what came instead; it differs in its first byte or is the shorter one.
    :param offset: of that byte.
    :param final: nothing else will come.
    """
    best, reach = _Hypothesis(FaultKind.GARBLED, b"", 0), -1
    for hypothesis in _hypotheses(before, due, seen, final):
        came = (before[hypothesis.base :] if hypothesis.base else b"") + seen
        agreed = common_prefix_length(hypothesis.predicted, came)
        whole = agreed == len(came) and (not final or agreed == len(hypothesis.predicted))
        if whole or agreed > reach:
            best, reach = hypothesis, agreed
        if whole:
            return _make_fault(best, offset, due, seen, True)
    if reach < MIN_AGREEMENT:
        best = _Hypothesis(FaultKind.GARBLED, b"", 0)
    return _make_fault(best, offset, due, seen, False)


def _make_fault(
    hypothesis: _Hypothesis, offset: int, due: bytes, seen: bytes, explained: bool
) -> Fault:
    at = offset + hypothesis.base
    moved = hypothesis.kind in (FaultKind.REPEATED, FaultKind.REORDERED)
    origin = offset + hypothesis.origin if moved else 0
    return Fault(
        hypothesis.kind,
        at,
        hypothesis.length,
        origin,
        hypothesis.early,
        expected=due[:SAMPLE_SIZE],
        seen=seen[:SAMPLE_SIZE],
        explained=explained,
    )


def _hypotheses(before: bytes, due: bytes, seen: bytes, final: bool) -> Iterator[_Hypothesis]:
    """Yield all hypotheses, the simplest first."""
    if final and not seen:
        yield _Hypothesis(FaultKind.CUT, b"", len(due))
        return
    if not due:  # everything has come already
        yield from _repeated(before, due, seen, final)
        yield _Hypothesis(FaultKind.INSERTED, seen, len(seen))
        return
    yield _Hypothesis(FaultKind.CHANGED, seen[:1] + due[1:], 1)
    yield from _lost(due, seen, final)
    yield from _repeated(before, due, seen, final)
    for base in range(0, -min(_MAX_UNSEEN, len(before)) - 1, -1):
        yield from _swapped(
            before[base:] + due if base else due, (before[base:] if base else b"") + seen, base
        )
    yield from _inserted(due, seen, final)
    yield from _changed(due, seen)


def _lost(due: bytes, seen: bytes, final: bool) -> Iterator[_Hypothesis]:
    sizes = [len(due) - len(seen)] if final else []
    sizes.append(due.find(seen[:MIN_AGREEMENT], 1))
    for size in sizes:
        if size > 0:
            yield _Hypothesis(FaultKind.LOST, due[size:], size)


def _repeated(before: bytes, due: bytes, seen: bytes, final: bool) -> Iterator[_Hypothesis]:
    if final and 0 < (size := len(seen) - len(due)) <= len(before):
        yield _Hypothesis(FaultKind.REPEATED, before[-size:] + due, size, -size)
    start = before.rfind(seen[:MIN_AGREEMENT])
    if start < 0:
        return
    stream = before + due
    run = common_prefix_length(stream[start : start + len(seen)], seen)
    longest = min(run, len(before) - start)
    for size in range(longest, max(0, longest - _MAX_UNSEEN), -1):
        yield _Hypothesis(
            FaultKind.REPEATED, stream[start : start + size] + due, size, start - len(before)
        )


def _swapped(due: bytes, seen: bytes, base: int) -> Iterator[_Hypothesis]:
    """Yield hypotheses of a piece that came late: what follows it came before it."""
    for late, most in _late(due, seen):
        for early in range(most, max(0, most - _MAX_UNSEEN), -1):
            predicted = due[late : late + early] + due[:late] + due[late + early :]
            yield _Hypothesis(FaultKind.REORDERED, predicted, late, late + base, early, base)


def _late(due: bytes, seen: bytes) -> Iterator[tuple[int, int]]:
    """Yield how many bytes may have come late, and how many at most came early."""
    for late in {*range(1, min(_SHORT, len(due))), due.find(seen[:MIN_AGREEMENT], 1)}:
        if late > 0 and due[late : late + 1] == seen[:1]:
            yield late, common_prefix_length(due[late:], seen)
    for early in range(1, min(_SHORT, len(seen))):
        if seen[early : early + MIN_AGREEMENT] == due[: min(MIN_AGREEMENT, len(seen) - early)]:
            run = common_prefix_length(seen[early:], due)
            for late in range(run, max(0, run - _MAX_UNSEEN), -1):
                if due[late : late + early] == seen[:early]:
                    yield late, early


def _inserted(due: bytes, seen: bytes, final: bool) -> Iterator[_Hypothesis]:
    sizes = [len(seen) - len(due)] if final else []
    sizes.append(seen.find(due[:MIN_AGREEMENT], 1))
    for size in sizes:
        if size > 0:
            yield _Hypothesis(FaultKind.INSERTED, seen[:size] + due, size)


def _changed(due: bytes, seen: bytes) -> Iterator[_Hypothesis]:
    most = min(_MAX_CHANGE, len(due), len(seen))
    for size in range(2, most + 1):
        if due[size : size + MIN_AGREEMENT] == seen[size : size + MIN_AGREEMENT]:
            yield _Hypothesis(FaultKind.CHANGED, seen[:size] + due[size:], size)
            if size > _SHORT:
                return
