"""Several faults of one kind, found from the differences between what was due and what came.

Theory of operation. One fault explains a window only if there is no other. Where there are
several, each kind is asked whether it explains every difference: bytes are lost if what came is a
part of what was due, in its order; they are inserted if what was due is a part of what came, and
repeated if what was inserted was sent before; they are changed where as many came as were due;
they are reordered if what is missing in one place comes in another. The first difference is
described, and it is said whether its kind explains all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from echosvc.probe.engine.alignment import SHORT_END, Difference, align
from echosvc.probe.engine.fault import Explanation, FaultKind, Window
from echosvc.wire.compare import common_run

#: As many bytes that are sent a second time are not the same by chance.
_MIN_REPEATED = 8
#: As many bytes do not stand in another place by chance.
_MIN_MOVED = 8
#: How far before its first wrong byte a piece may begin: bytes that are the same by chance.
_MAX_UNSEEN = 16
#: Longest piece, or difference, of which each way to cut it is tried, bytes.
_SHORT = 64


def explain_by_several_faults(window: Window) -> Explanation | None:
    """Return the first fault, and whether faults of its kind explain all; ``None``: unknown."""
    alignment = align(window)
    if not alignment.differences:
        return None
    differences = _Differences(window, alignment.differences)
    kind = differences.common_kind()
    complete = alignment.left < SHORT_END
    if kind is not None:
        first = differences.describe_first(kind)
        return replace(first, explained=complete, count=differences.count(kind))
    first = differences.describe_first(differences.kind_of_first())
    return replace(first, explained=False)


class _Differences:
    """The differences of a window, by what can explain them."""

    def __init__(self, window: Window, differences: tuple[Difference, ...]) -> None:
        self._window, self._all = window, differences
        self._sent, self._zero = window.before + window.due, len(window.before)

    def _due(self, each: Difference) -> bytes:
        return self._window.due[each.start : each.start + each.size]

    def _came(self, each: Difference) -> bytes:
        return self._window.seen[each.at : each.at + each.came]

    def common_kind(self) -> FaultKind | None:
        """Return the kind that explains all differences."""
        return self._kind_of(self._all)

    def kind_of_first(self) -> FaultKind:
        """Return the kind that explains the first one, whatever explains the others."""
        first = self._all[0]
        if self._partner() is not None:
            return FaultKind.REORDERED
        return self._kind_of((first,)) or FaultKind.GARBLED

    def count(self, kind: FaultKind) -> int:
        """Return in how many places there is a fault, at least."""
        count = len(self._all)
        return (count + 1) // 2 if kind is FaultKind.REORDERED and self._in_pairs() else count

    def _kind_of(self, some: tuple[Difference, ...]) -> FaultKind | None:
        for kind, explains in self._kinds():
            if all(map(explains, some)):
                return kind
        return FaultKind.REORDERED if some is self._all and self._in_pairs() else None

    def _kinds(self) -> Iterator[tuple[FaultKind, Callable[[Difference], bool]]]:
        yield FaultKind.LOST, self._is_loss
        yield FaultKind.REPEATED, self._is_repetition
        yield FaultKind.INSERTED, self._is_insertion
        yield FaultKind.REORDERED, self._is_permutation
        yield FaultKind.CHANGED, lambda each: each.size == each.came

    def _is_loss(self, each: Difference) -> bool:
        due, came = self._due(each), self._came(each)
        return each.size > each.came and self._is_part(came, due, each)

    def _is_insertion(self, each: Difference) -> bool:
        due, came = self._due(each), self._came(each)
        return each.size < each.came and self._is_part(due, came, each)

    def _is_part(self, some: bytes, data: bytes, each: Difference) -> bool:
        """Return whether ``some`` is ``data`` without some bytes.

        A few bytes occur in a long piece by chance, so agreement must follow, up to the end too.
        """
        if each.start + each.size == len(self._window.due) and len(data) > _SHORT:
            return data.endswith(some)
        return _is_subsequence(some, data)

    def _is_permutation(self, each: Difference) -> bool:
        if each.size != each.came or each.size < 2:
            return False
        return sorted(self._due(each)) == sorted(self._came(each))

    def _is_repetition(self, each: Difference) -> bool:
        """Return whether all that came besides what was due is repeated."""
        if each.came <= each.size:
            return False
        if self._repeats_greedily(each):
            return True
        return each.came <= _SHORT and self._repeats_somehow(each)

    def _repeats_greedily(self, each: Difference) -> bool:
        """Return the same, if each piece that may be a repetition is one."""
        due_at, due_end = each.start, each.start + each.size
        at, end = each.at, each.at + each.came
        while at < end:
            size = self._repeated_at(due_at, at, end)
            if not size:
                most = min(due_end - due_at, end - at)
                size = common_run(self._window.due, due_at, self._window.seen, at, most)
                due_at += size
            if not size:
                return self._is_first_copy(due_at, due_end, at, end)
            at += size
        return due_at == due_end

    def _repeats_somehow(self, each: Difference) -> bool:
        """Return the same, whichever pieces are repetitions; each way is tried."""
        due, seen, end = self._window.due, self._window.seen, each.at + each.came
        due_end = each.start + each.size
        ways: dict[int, set[int]] = {each.at: {each.start}}  # what was due next, by what came next
        for at in range(each.at, end):
            for due_at in ways.pop(at, ()):
                if self._is_first_copy(due_at, due_end, at, end):
                    return True
                for size in self._repeated_sizes(due_at, at, end):
                    ways.setdefault(at + size, set()).add(due_at)
                if due_at < due_end and due[due_at] == seen[at]:
                    ways.setdefault(at + 1, set()).add(due_at + 1)
        return due_end in ways.get(end, ())

    def _is_first_copy(self, due_at: int, due_end: int, at: int, end: int) -> bool:
        """Return whether the rest that came is due next: the first of two copies."""
        behind = self._window.due[due_end : due_end + end - at]
        return due_at == due_end and behind == self._window.seen[at:end]

    def _repeated_at(self, start: int, at: int, end: int) -> int:
        """Return how many bytes that came were due right before, or earlier."""
        for size in self._repeated_sizes(start, at, end):
            return size
        piece = self._window.seen[at:end]
        if len(piece) >= _MIN_REPEATED and self._origin(self._zero + start, piece)[0] >= 0:
            return end - at
        return 0

    def _repeated_sizes(self, start: int, at: int, end: int) -> Iterator[int]:
        """Yield how many bytes that came may be those that were due right before."""
        zero, seen = self._zero + start, self._window.seen
        for size in range(1, min(_SHORT, end - at) + 1):
            if self._sent[max(0, zero - size) : zero] == seen[at : at + size]:
                yield size

    def _origin(self, place: int, piece: bytes) -> tuple[int, int]:
        """Return where a piece that came at ``place`` was sent before; -1: nowhere.

        Its last bytes may be due there by chance. Then it began so many bytes before.

        :return: where in what was sent, and how many bytes it began before.
        """
        for back in range(min(_MAX_UNSEEN, place, len(piece)) + 1):
            begun = self._sent[place - back : place]
            if back and begun != piece[-back:]:
                continue
            found = self._sent.rfind(begun + piece[: len(piece) - back], 0, place)
            if found >= 0:
                return found, back
        return -1, 0

    # -- reordered ------------------------------------------------------------

    def _in_pairs(self) -> bool:
        """Return whether everything that is missing in one place comes in another."""
        others = [each for each in self._all if not self._is_permutation(each)]
        due, came = b"".join(map(self._due, others)), b"".join(map(self._came, others))
        return sorted(due) == sorted(came)

    def _partner(self) -> Difference | None:
        """Return where the bytes of the first difference come, or were due.

        Both may be rotated: their first bytes may be in their places by chance.
        """
        first = self._all[0]
        if first.size and first.came:
            return None
        data = sorted(self._due(first) or self._came(first))
        for each in self._all[1:]:
            other, empty = (each.came, each.size) if first.size else (each.size, each.came)
            piece = self._came(each) if first.size else self._due(each)
            if not empty and other == len(data) and sorted(piece) == data:
                return each
        return None

    # -- the first ------------------------------------------------------------

    def describe_first(self, kind: FaultKind) -> Explanation:
        """Return the first fault, as one of this kind."""
        first = self._all[0]
        if kind is FaultKind.REORDERED:
            return self._describe_order(first)
        if kind is FaultKind.LOST:
            return Explanation(kind, length=self._first_size(first.size - first.came, True))
        if kind is FaultKind.INSERTED:
            return Explanation(kind, length=self._first_size(first.came - first.size, False))
        if kind is FaultKind.REPEATED:
            return self._describe_repetition(first)
        return Explanation(kind, length=first.size if kind is FaultKind.CHANGED else 0)

    def _first_size(self, most: int, lost: bool) -> int:
        """Return how many bytes are lost, or inserted, so that the most bytes agree after it."""
        due, seen = self._window.due, self._window.seen
        if not self._all[0].size or not self._all[0].came:
            return most
        sizes = range(1, min(most, _SHORT) + 1)
        return max(sizes, key=lambda n: common_run(due, n * lost, seen, n * (not lost)))

    def _describe_repetition(self, first: Difference) -> Explanation:
        size = self._repeated_at(first.start, first.at, first.at + first.came)
        origin, back = self._origin(self._zero, self._window.seen[first.at : first.at + size])
        return Explanation(FaultKind.REPEATED, -back, size, origin - self._zero)

    def _describe_order(self, first: Difference) -> Explanation:
        partner = self._partner()
        if partner is None and self._is_permutation(first):
            return self._describe_permutation(first)
        if partner is None:  # its bytes are in another difference, with others
            return Explanation(FaultKind.REORDERED, length=max(first.size, first.came))
        early = first.size == 0  # the bytes that come first were due at its partner
        middle = partner.start if early else first.size
        size = partner.size if early else partner.start - first.size
        return Explanation(FaultKind.REORDERED, length=middle, origin=middle, early=size)

    def _describe_permutation(self, first: Difference) -> Explanation:
        """Return which piece of it came late, so that the most bytes agree."""
        due, seen = self._window.due, self._window.seen

        def agreed(late: int) -> int:
            return common_run(due, late, seen, 0, first.size - late)

        late = max(range(1, min(first.size, _SHORT)), key=agreed)
        early = agreed(late)
        moved = due[late : late + early] + due[:late]
        if not early or (early < _MIN_MOVED and moved != seen[: late + early]):
            return Explanation(FaultKind.REORDERED, length=first.size, explained=False)
        return Explanation(FaultKind.REORDERED, length=late, origin=late, early=early)


def _is_subsequence(some: bytes, data: bytes) -> bool:
    """Return whether all of ``some`` stands in ``data``, in its order."""
    place = 0
    for byte in some:
        place = data.find(byte, place) + 1
        if not place:
            return False
    return True
