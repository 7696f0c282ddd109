"""A pattern of literals and variable runs, found in time linear in the bytes searched.

A regular expression with several fields backtracks: a hostile peer that sends bytes of one kind
keeps it busy for hours. Here the parts of the pattern are evaluated once each, from the last to
the first: at which positions of the text may this part begin, so that everything behind it fits
too? The answer is a set of positions, stored as the bits of one integer (bit 0 is the first
position), so that one operation on integers evaluates all positions together. A search that
follows these sets forwards never takes a wrong step.

A field that occurs twice (``{peer} {peer}``) must have the same text each time. No set of
positions can express that. For such a pattern, texts are tried, the shortest first, in at most
:data:`MAX_TRIES` steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Steps of a search for fields that occur twice, before it stops without a result.
MAX_TRIES = 20_000
#: Occurrences of a literal are searched one by one until the bytes compared exceed this multiple
#: of the text's length; then the search continues with Knuth-Morris-Pratt.
_MAX_RESCAN = 4
#: Longest literal whose beginnings are compared one by one, bytes.
_SHORT_LITERAL = 64


@dataclass(frozen=True)
class Run:
    """A part of a pattern that varies: one byte or more.

    :ivar allowed: the bytes that may occur in it.
    :ivar max_length: the most bytes that it has.
    :ivar name: of the field, if it has the same text at each occurrence; otherwise "".
    """

    allowed: bytes
    max_length: int
    name: str = ""


class Match(NamedTuple):
    """An occurrence of a pattern.

    :ivar start: position of its first byte.
    :ivar end: position behind its last byte.
    :ivar fields: the texts of the named fields.
    """

    start: int
    end: int
    fields: dict[str, bytes]

    def values(self) -> dict[str, str]:
        """Return the fields as text, to bind a template with."""
        return {name: text.decode("ascii") for name, text in self.fields.items()}


class Pattern:
    """A sequence of literals and runs.

    :param parts: the literals and runs; no literal is empty.
    :param greedy: of all matches at a position, find the one with the longest runs, not the one
        with the shortest.
    :ivar min_length: the fewest bytes that match.
    :ivar max_length: the most bytes that match.
    :ivar literal: the bytes that match, if the pattern has no run; otherwise ``None``.
    """

    def __init__(self, parts: Sequence[bytes | Run], greedy: bool = False) -> None:
        self._parts = tuple(parts)
        self._greedy = greedy
        self.min_length = sum(len(part) if isinstance(part, bytes) else 1 for part in parts)
        self.max_length = sum(
            len(part) if isinstance(part, bytes) else part.max_length for part in parts
        )
        literals = [part for part in parts if isinstance(part, bytes)]
        constant = len(literals) == len(self._parts)
        self.literal: bytes | None = b"".join(literals) if constant else None
        names = [part.name if isinstance(part, Run) else "" for part in parts]
        self._first = [names.index(name) if name else at for at, name in enumerate(names)]
        self._repeats = any(first < at for at, first in enumerate(self._first))
        self._failures: dict[bytes, list[int]] = {}

    # -- searches -------------------------------------------------------------

    def find_all(self, data: bytes) -> list[Match]:
        """Return all matches from left to right that do not overlap."""
        if self.literal is not None:
            return _find_literal(self.literal, data)
        text = _IndexedText(data)
        sets = self._sets(text, text.everywhere)
        found, position = [], 0
        starts, after = _flags(sets[0]), self._after_runs(sets)
        tries = iter(range(MAX_TRIES))
        while (position := starts.find("1", position)) >= 0:
            match = self._follow(data, after, position, tries)
            if match is not None:
                found.append(match)
            position = match.end if match is not None else position + 1
        return found

    def match_whole(self, data: bytes) -> Match | None:
        """Return the match that is all of ``data``."""
        return self._match_to_end(data, last_start=1) if len(data) <= self.max_length else None

    def match_suffix(self, data: bytes) -> Match | None:
        """Return the longest match that ends where ``data`` ends."""
        return self._match_to_end(data, last_start=None)

    def _match_to_end(self, data: bytes, last_start: int | None) -> Match | None:
        if not self._parts:
            return Match(len(data), len(data), {})
        skipped = max(0, len(data) - self.max_length)
        text = _IndexedText(data[skipped:])
        sets = self._sets(text, 1 << len(text.bytes))
        starts, after = _flags(sets[0]), self._after_runs(sets)
        tries, position = iter(range(MAX_TRIES)), 0
        while (position := starts.find("1", position, last_start)) >= 0:
            match = self._follow(text.bytes, after, position, tries)
            if match is not None:
                return Match(skipped + match.start, skipped + match.end, match.fields)
            position += 1
        return None

    def match_backwards(self, data: bytes, starts: int) -> Iterator[Match]:
        """Yield the match at each of the first ``starts`` positions, from the last to the first.

        An end of -1 means that ``data`` ends before the match does.
        """
        text = _IndexedText(data)
        sets = self._sets(text, text.everywhere)
        whole, after = _flags(sets[0]), self._after_runs(sets)
        partial = self._partial(text)
        either, position = _flags(sets[0] | partial), starts
        while (position := either.rfind("1", 0, position)) >= 0:
            match = None
            if whole[position : position + 1] == "1":
                match = self._follow(data, after, position, iter(range(MAX_TRIES)))
            if match is not None or partial >> position & 1:
                yield match or Match(position, -1, {})

    def partial_length(self, data: bytes) -> int:
        """Return how many bytes at the end of ``data`` may be the beginning of a match."""
        data = data[max(0, len(data) - self.max_length + 1) :]
        partial = self._partial(_IndexedText(data))
        return len(data) - ((partial & -partial).bit_length() - 1)

    # -- sets of positions ----------------------------------------------------

    def _sets(self, text: _IndexedText, goal: int) -> list[int]:
        """Return for each part where it may begin so that the goal is reached; then the goal."""
        sets = [goal]
        for part in reversed(self._parts):
            goal = goal and self._before(text, part, goal)
            sets.append(goal)
        return sets[::-1]

    def _before(self, text: _IndexedText, part: bytes | Run, goal: int) -> int:
        """Return the positions from which one part leads to the goal."""
        if isinstance(part, Run):
            return _before_run(text.positions_of(part.allowed), part.max_length, goal)
        return self._occurrences(text, part) & goal >> len(part)

    def _partial(self, text: _IndexedText) -> int:
        """Return the positions from which the text ends before the pattern does."""
        partial, size = 0, len(text.bytes)
        for part in reversed(self._parts):
            if isinstance(part, Run):
                last = text.bytes[max(0, size - part.max_length + 1) :]
                run = len(last) - len(last.rstrip(part.allowed))
                cut = ((1 << run + 1) - 1) << size - run
            else:
                cut = self._cut(text.bytes, part)
            partial = cut | (partial and self._before(text, part, partial))
        return partial or 1 << size

    def _cut(self, data: bytes, literal: bytes) -> int:
        """Return the positions from which the data is a proper prefix of the literal."""
        size, found = len(data), 1 << len(data)
        if len(literal) <= _SHORT_LITERAL:
            sizes = range(1, len(literal))
            return sum((1 << size - n for n in sizes if data.endswith(literal[:n])), found)
        failure = self._failure(literal)
        state = _kmp_search(data[max(0, size - len(literal) + 1) :], literal, failure)[1]
        while state:
            found |= 1 << size - state
            state = failure[state - 1]
        return found

    def _occurrences(self, text: _IndexedText, literal: bytes) -> int:
        """Return the positions of a literal; occurrences may overlap."""
        if len(literal) == 1:
            return text.positions_of(literal)
        positions, compared = [], 0
        position = text.bytes.find(literal)
        while position >= 0:
            positions.append(position)
            compared += len(literal)
            # Many occurrences that overlap would make this search quadratic.
            if compared > _MAX_RESCAN * len(text.bytes) + len(literal):
                positions = _kmp_search(text.bytes, literal, self._failure(literal))[0]
                break
            position = text.bytes.find(literal, position + 1)
        return _set_of(positions, len(text.bytes))

    def _failure(self, literal: bytes) -> list[int]:
        if literal not in self._failures:
            self._failures[literal] = _failure_function(literal)
        return self._failures[literal]

    # -- one path through the sets --------------------------------------------

    def _after_runs(self, sets: list[int]) -> list[str]:
        """Return the sets behind runs as flags, in which positions are looked up."""
        parts = zip(self._parts, sets[1:], strict=True)
        return [_flags(after) if isinstance(part, Run) else "" for part, after in parts]

    def _follow(
        self, data: bytes, after: list[str], start: int, tries: Iterator[int]
    ) -> Match | None:
        """Return the first match from ``start``, in the order of the lengths of its runs.

        Without a field that occurs twice, no step is ever taken back.
        """
        positions, open_ = [start], [self._ends(data, after, [start])]
        while open_ and not (self._repeats and next(tries, None) is None):
            end = next(open_[-1], None)
            if end is None:
                open_.pop()
                positions.pop()
                continue
            positions.append(end)
            if len(positions) > len(self._parts):
                return Match(start, end, self._fields(data, positions))
            open_.append(self._ends(data, after, positions))
        return None

    def _ends(self, data: bytes, after: list[str], positions: list[int]) -> Iterator[int]:
        """Return where the part that begins at the last position may end."""
        at, position = len(positions) - 1, positions[-1]
        part, first = self._parts[at], self._first[at]
        if isinstance(part, bytes):
            return iter((position + len(part),))
        if first < at:
            value = data[positions[first] : positions[first + 1]]
            end = position + len(value)
            fits = data.startswith(value, position) and after[at][end : end + 1] == "1"
            return iter((end,) if fits else ())
        run = data[position : position + part.max_length]
        last = position + len(run) - len(run.lstrip(part.allowed))
        return (_from_right if self._greedy else _from_left)(after[at], position, last)

    def _fields(self, data: bytes, positions: list[int]) -> dict[str, bytes]:
        return {
            part.name: data[positions[at] : positions[at + 1]]
            for at, part in enumerate(self._parts)
            if isinstance(part, Run) and part.name and self._first[at] == at
        }


class _IndexedText:
    """Bytes to be searched, with the positions of certain bytes in them.

    :ivar everywhere: the set of all positions, the one behind the last byte included.
    """

    def __init__(self, data: bytes) -> None:
        self.bytes = data
        self.everywhere = (1 << len(data) + 1) - 1
        self._sets: dict[bytes, int] = {}

    def positions_of(self, allowed: bytes) -> int:
        """Return the positions of bytes that are one of ``allowed``."""
        if allowed not in self._sets:
            table = bytes(48 + (byte in allowed) for byte in range(256))  # b"0" or b"1"
            self._sets[allowed] = int(self.bytes[::-1].translate(table) or b"0", 2)
        return self._sets[allowed]


def _before_run(allowed: int, max_length: int, goal: int) -> int:
    """Return the positions from which a run of 1 to ``max_length`` bytes leads to the goal."""
    reached, reach = allowed & goal >> 1, 1
    runs, run = allowed, 1  # positions from which at least this many allowed bytes follow
    while reach < max_length and reached:
        step = min(reach, max_length - reach)
        if run < step:
            runs, run = runs & runs >> step - run, step
        many = runs if run == step else _run_starts(allowed, step)
        reached, reach = reached | many & reached >> step, reach + step
    return reached


def _run_starts(allowed: int, size: int) -> int:
    """Return the positions from which at least ``size`` allowed bytes follow."""
    runs, run = allowed, 1
    while run < size:
        step = min(run, size - run)
        runs, run = runs & runs >> step, run + step
    return runs


def _set_of(positions: list[int], size: int) -> int:
    """Return the set of positions in a text of ``size`` bytes."""
    if len(positions) < 8:
        return sum(1 << position for position in positions)
    flags = bytearray(b"0") * (size + 1)
    for position in positions:
        flags[size - position] = 49  # b"1"
    return int(flags, 2)


def _flags(positions: int) -> str:
    """Return a set as text that can be searched: a "1" at each of its positions."""
    return f"{positions:b}"[::-1]


def _from_left(flags: str, position: int, last: int) -> Iterator[int]:
    """Yield the positions in the set behind ``position`` up to ``last``, the first one first."""
    while (position := flags.find("1", position + 1, last + 1)) >= 0:
        yield position


def _from_right(flags: str, position: int, last: int) -> Iterator[int]:
    """Yield the same positions, the last one first."""
    while (last := flags.rfind("1", position + 1, last + 1)) >= 0:
        yield last
        last -= 1


def _find_literal(literal: bytes, data: bytes) -> list[Match]:
    found: list[Match] = []
    if not literal:
        return found
    # Searching for one byte is by far the fastest, and most of a stream does not contain it.
    position, begin = data.find(literal[:1]), literal[:1]
    while position >= 0 and (position := data.find(literal, position)) >= 0:
        found.append(Match(position, position + len(literal), {}))
        position = data.find(begin, position + len(literal))
    return found


def _failure_function(literal: bytes) -> list[int]:
    """Return for each prefix of a literal the length of its longest border.

    A border is a proper prefix that is a suffix, too (Knuth, Morris, Pratt: Fast pattern
    matching in strings, 1977).
    """
    failure, state = [0], 0
    for byte in literal[1:]:
        while state and literal[state] != byte:
            state = failure[state - 1]
        state += literal[state] == byte
        failure.append(state)
    return failure


def _kmp_search(data: bytes, literal: bytes, failure: list[int]) -> tuple[list[int], int]:
    """Return the positions of a literal, and how many of its bytes the data ends with.

    Each byte is read once; every step back was a step forward before.
    """
    positions, state, size = [], 0, len(literal)
    for position, byte in enumerate(data):
        while state and literal[state] != byte:
            state = failure[state - 1]
        state += literal[state] == byte
        if state == size:
            positions.append(position + 1 - size)
            state = failure[state - 1]
    return positions, state
