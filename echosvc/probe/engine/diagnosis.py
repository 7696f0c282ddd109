"""What happened to a stream: from what was due and what came. No Twisted, no I/O.

Each explanation predicts what comes after the first wrong byte; the one whose prediction
holds is given. So a single loss, repetition, swap or change is named for what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from echosvc.wire.compare import common_prefix_length

#: So many bytes that agree are no accident, bytes.
SURE = 24
#: Longest piece of which every possible length is tried, bytes.
_CHANGE = 64
#: Longest change that is called one, bytes.
_LONGEST_CHANGE = 128 * 1024
#: How far before the first wrong byte a swap may begin unseen, bytes.
_UNSEEN = 16
#: Bytes shown before and after the first wrong one.
SHOWN = 16


class Kind(Enum):
    """What happened."""

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
    """The first thing that is wrong with a stream.

    :ivar kind: what happened.
    :ivar offset: of the first wrong byte, in what was sent.
    :ivar length: how many bytes are lost, repeated, changed or inserted; of a reordered
        piece, how many came late. 0 = not known.
    :ivar origin: where repeated bytes stand; where the bytes that came too early do.
    :ivar early: how many bytes came too early.
    :ivar before: the bytes right before it, which are as they should be.
    :ivar expected: what was due there.
    :ivar seen: what came.
    :ivar explained: it accounts for everything that came after it.
    """

    kind: Kind
    offset: int
    length: int = 0
    origin: int = 0
    early: int = 0
    before: bytes = b""
    expected: bytes = b""
    seen: bytes = b""
    explained: bool = True


@dataclass(frozen=True)
class _Guess:
    """An explanation.

    :ivar base: where it applies, relative to the first wrong byte; never after it.
    :ivar predicted: what comes from ``base`` on.
    """

    kind: Kind
    predicted: bytes
    length: int
    origin: int = 0
    early: int = 0
    base: int = 0


def diagnose(before: bytes, due: bytes, seen: bytes, offset: int, over: bool) -> Fault:
    """Name the fault at the first wrong byte.

    :param before: what was sent right before it, and came.
    :param due: what was sent from there on; all of it, if ``over``.
    :param seen: what came instead; it differs in its first byte or is the shorter one.
    :param offset: of that byte.
    :param over: nothing else will come.
    """
    best, reach = _Guess(Kind.GARBLED, b"", 0), -1
    for guess in _guesses(before, due, seen, over):
        came = (before[guess.base :] if guess.base else b"") + seen
        agreed = common_prefix_length(guess.predicted, came)
        whole = agreed == len(came) and (not over or agreed == len(guess.predicted))
        if whole or agreed > reach:
            best, reach = guess, agreed
        if whole:
            return _fault(best, offset, due, seen, True)
    if reach < SURE:
        best = _Guess(Kind.GARBLED, b"", 0)
    return _fault(best, offset, due, seen, False)


def _fault(guess: _Guess, offset: int, due: bytes, seen: bytes, explained: bool) -> Fault:
    at = offset + guess.base
    origin = offset + guess.origin if guess.kind in (Kind.REPEATED, Kind.REORDERED) else 0
    return Fault(
        guess.kind,
        at,
        guess.length,
        origin,
        guess.early,
        expected=due[:SHOWN],
        seen=seen[:SHOWN],
        explained=explained,
    )


def _guesses(before: bytes, due: bytes, seen: bytes, over: bool) -> Iterator[_Guess]:
    """All explanations, the simplest first."""
    if over and not seen:
        yield _Guess(Kind.CUT, b"", len(due))
        return
    if not due:  # everything has come already
        yield from _repeated(before, due, seen, over)
        yield _Guess(Kind.INSERTED, seen, len(seen))
        return
    yield _Guess(Kind.CHANGED, seen[:1] + due[1:], 1)
    yield from _lost(due, seen, over)
    yield from _repeated(before, due, seen, over)
    for base in range(0, -min(_UNSEEN, len(before)) - 1, -1):
        yield from _swapped(
            before[base:] + due if base else due, (before[base:] if base else b"") + seen, base
        )
    yield from _inserted(due, seen, over)
    yield from _changed(due, seen)


def _lost(due: bytes, seen: bytes, over: bool) -> Iterator[_Guess]:
    sizes = [len(due) - len(seen)] if over else []
    sizes.append(due.find(seen[:SURE], 1))
    for size in sizes:
        if size > 0:
            yield _Guess(Kind.LOST, due[size:], size)


def _repeated(before: bytes, due: bytes, seen: bytes, over: bool) -> Iterator[_Guess]:
    if over and 0 < (size := len(seen) - len(due)) <= len(before):
        yield _Guess(Kind.REPEATED, before[-size:] + due, size, -size)
    start = before.rfind(seen[:SURE])
    if start < 0:
        return
    stream = before + due
    run = common_prefix_length(stream[start : start + len(seen)], seen)
    longest = min(run, len(before) - start)
    for size in range(longest, max(0, longest - _UNSEEN), -1):
        yield _Guess(Kind.REPEATED, stream[start : start + size] + due, size, start - len(before))


def _swapped(due: bytes, seen: bytes, base: int) -> Iterator[_Guess]:
    """A piece that came late: what stands behind it came before it."""
    for late, most in _late(due, seen):
        for early in range(most, max(0, most - _UNSEEN), -1):
            predicted = due[late : late + early] + due[:late] + due[late + early :]
            yield _Guess(Kind.REORDERED, predicted, late, late + base, early, base)


def _late(due: bytes, seen: bytes) -> Iterator[tuple[int, int]]:
    """How many bytes may have come late, and how many early at most."""
    for late in {*range(1, min(_CHANGE, len(due))), due.find(seen[:SURE], 1)}:
        if late > 0 and due[late : late + 1] == seen[:1]:
            yield late, common_prefix_length(due[late:], seen)
    for early in range(1, min(_CHANGE, len(seen))):
        if seen[early : early + SURE] == due[: min(SURE, len(seen) - early)]:
            run = common_prefix_length(seen[early:], due)
            for late in range(run, max(0, run - _UNSEEN), -1):
                if due[late : late + early] == seen[:early]:
                    yield late, early


def _inserted(due: bytes, seen: bytes, over: bool) -> Iterator[_Guess]:
    sizes = [len(seen) - len(due)] if over else []
    sizes.append(seen.find(due[:SURE], 1))
    for size in sizes:
        if size > 0:
            yield _Guess(Kind.INSERTED, seen[:size] + due, size)


def _changed(due: bytes, seen: bytes) -> Iterator[_Guess]:
    most = min(_LONGEST_CHANGE, len(due), len(seen))
    for size in range(2, most + 1):
        if due[size : size + SURE] == seen[size : size + SURE]:
            yield _Guess(Kind.CHANGED, seen[:size] + due[size:], size)
            if size > _CHANGE:
                return
