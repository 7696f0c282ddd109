"""Alignment of what came with what was due: where they agree, and the differences between.

Theory of operation. What was due is indexed by blocks of eight bytes. From each byte that is
wrong, what came is searched for the first block that is due later. If enough bytes around it
agree, both streams agree there again, and the bytes between are one difference: some that were
due, some that came instead. So a stream with many faults is cut into its differences in time
linear in what came, without a guess about what happened. Faults so close together that nothing
between them can be recognised are one difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import eq

from echosvc.probe.engine.fault import MIN_AGREEMENT, Window
from echosvc.wire.compare import common_run

#: Bytes of a block of the index.
_BLOCK = 8
#: Bytes of what was due that are indexed: a longer loss is not recognised here.
_INDEXED = 1024 * 1024
#: As many places are tried at most at which no more than a block agrees.
_MAX_TRIED = 20_000
#: Part of the bytes that are the same in their places, where others are changed.
_MIN_SAME = 0.25
#: So few bytes at the end may be too few to be recognised.
SHORT_END = 2 * MIN_AGREEMENT


@dataclass(frozen=True)
class Difference:
    """A part of what was due in place of which something else came.

    :ivar start: where it begins in what was due.
    :ivar size: how many bytes were due.
    :ivar at: where it begins in what came.
    :ivar came: how many bytes came.
    """

    start: int
    size: int
    at: int
    came: int


@dataclass(frozen=True)
class Alignment:
    """The differences between what was due and what came.

    :ivar left: bytes that came, behind the last difference, of which nothing was recognised.
    """

    differences: tuple[Difference, ...]
    left: int = 0


def align(window: Window) -> Alignment:
    """Return the differences in a window, in their order."""
    return _Aligner(window).align()


class _Aligner:
    """Goes through what was due and what came, side by side."""

    def __init__(self, window: Window) -> None:
        self._due, self._seen, self._final = window.due, window.seen, window.final
        self._blocks = _index(self._due)
        self._start = self._at = self._tried = 0

    def align(self) -> Alignment:
        """Return the differences up to where no agreement follows."""
        differences = []
        while True:
            run = common_run(self._due, self._start, self._seen, self._at)
            self._start, self._at = self._start + run, self._at + run
            found = self._next_difference()
            if found is None:
                break
            differences.append(found)
            self._start, self._at = found.start + found.size, found.at + found.came
        return self._end(differences)

    def _end(self, differences: list[Difference]) -> Alignment:
        due, came = len(self._due) - self._start, len(self._seen) - self._at
        if self._final and (due or came):
            differences.append(Difference(self._start, due, self._at, came))
            came = 0
        elif came and self._is_changed_here_and_there():
            differences.append(Difference(self._start, came, self._at, came))
            came = 0
        return Alignment(tuple(differences), came)

    def _is_changed_here_and_there(self) -> bool:
        """Return whether each byte is in its place or changed, so that no long run agrees."""
        seen = self._seen[self._at :]
        due = self._due[self._start : self._start + len(seen)]
        same = sum(map(eq, due, seen))
        return len(due) == len(seen) > SHORT_END and same > len(seen) * _MIN_SAME

    def _next_difference(self) -> Difference | None:
        """Return the difference that begins here; ``None``: no agreement comes after it."""
        for place in range(self._at, len(self._seen) - _BLOCK + 1):
            for block in self._blocks.get(self._seen[place : place + _BLOCK], ()):
                found = self._extend(block, place) if block >= self._start else None
                self._tried += 1
                if found is not None or self._tried > _MAX_TRIED:
                    return found
        return None

    def _extend(self, block: int, place: int) -> Difference | None:
        """Return the difference before an agreement; ``None``: too little agrees."""
        back = 0
        while (
            block - back > self._start
            and place - back > self._at
            and self._due[block - back - 1] == self._seen[place - back - 1]
        ):
            back += 1
        run = common_run(self._due, block, self._seen, place)
        ends = self._final and place + run == len(self._seen) and block + run == len(self._due)
        if back + run < MIN_AGREEMENT and not ends:
            return None
        start, at = block - back, place - back
        return Difference(self._start, start - self._start, self._at, at - self._at)


def _index(due: bytes) -> dict[bytes, list[int]]:
    """Return where each block is due, in ascending order."""
    blocks: dict[bytes, list[int]] = {}
    for start in range(0, min(len(due), _INDEXED) - _BLOCK + 1, _BLOCK):
        blocks.setdefault(due[start : start + _BLOCK], []).append(start)
    return blocks
