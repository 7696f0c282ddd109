"""A prefix, found in a peer's bytes in time that is linear in what came. No Twisted, no I/O.

A regular expression with several fields backtracks: bytes of one kind, from a hostile peer,
keep it busy for hours. Here every part of the pattern is asked once, from the last to the
first: at which places of the text may it begin, so that all that is behind it fits, too? The
answer is a set of places, the bits of one integer (bit 0 is the first place), and all places
are asked at the same time. What is followed afterwards fits for certain: nothing is tried
in vain.

A field that occurs twice (``{peer} {peer}``) must have the same text each time, which no set
of places can say. Texts are tried for it, the shortest first, no more than :data:`TRIES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from echosvc.wire.template import Field, Template

#: Fields that are numbers.
NUMBERS = ("pid", "connection", "message")
#: What may stand in a number, and in any other field.
DIGITS = b"0123456789"
VISIBLE = bytes(range(0x21, 0x7F))
#: Longest text taken for a field, for one that is a number, bytes.
LONGEST_FIELD = 255
LONGEST_NUMBER = 20
#: Steps that a search makes for fields that occur twice, before it gives up.
TRIES = 20_000
#: How much of a text is looked at again for literals that overlap, before another way is taken.
_AGAIN = 4
#: Longest literal whose beginnings are compared one by one, bytes.
_FEW = 64


@dataclass(frozen=True)
class Run:
    """A part of a pattern that varies: at least one byte.

    :ivar letters: the bytes that may stand in it.
    :ivar most: how many at most.
    :ivar name: of the field, where it has the same text wherever it occurs; else "".
    """

    letters: bytes
    most: int
    name: str = ""


class Found(NamedTuple):
    """A place where the pattern stands.

    :ivar start: its first byte.
    :ivar end: behind its last one.
    :ivar fields: the texts of the named fields.
    """

    start: int
    end: int
    fields: dict[str, bytes]

    def texts(self) -> dict[str, str]:
        """The fields, to bind a template with."""
        return {name: text.decode("ascii") for name, text in self.fields.items()}


def runs_of(template: Template) -> list[bytes | Run]:
    """The parts of a template; ``{message}`` is another number each time."""
    return [_run(part) if isinstance(part, Field) else part for part in template.parts]


def _run(field: Field) -> Run:
    name = "" if field.name == "message" else field.name
    if field.name in NUMBERS:
        return Run(DIGITS, LONGEST_NUMBER, name)
    return Run(VISIBLE, LONGEST_FIELD, name)


class Pattern:
    """What literals and runs, one after the other, match.

    :param parts: without empty literals.
    :param greedy: of all readings take the one with the longest runs, not the shortest.
    :ivar shortest: bytes that it takes at least.
    :ivar longest: bytes that it takes at most.
    :ivar literal: its bytes, where they are always the same; else ``None``.
    """

    def __init__(self, parts: Sequence[bytes | Run], greedy: bool = False) -> None:
        self._parts = tuple(parts)
        self._greedy = greedy
        self.shortest = sum(len(part) if isinstance(part, bytes) else 1 for part in parts)
        self.longest = sum(len(part) if isinstance(part, bytes) else part.most for part in parts)
        literals = [part for part in parts if isinstance(part, bytes)]
        whole = len(literals) == len(self._parts)
        self.literal: bytes | None = b"".join(literals) if whole else None
        names = [part.name if isinstance(part, Run) else "" for part in parts]
        self._first = [names.index(name) if name else at for at, name in enumerate(names)]
        self._repeats = any(first < at for at, first in enumerate(self._first))
        self._failures: dict[bytes, list[int]] = {}

    @classmethod
    def of(cls, template: Template) -> Pattern:
        """The pattern of a prefix."""
        return cls(runs_of(template))

    # -- finding --------------------------------------------------------------

    def find_all(self, text: bytes) -> list[Found]:
        """Give all places from left to right, none within another."""
        if self.literal is not None:
            return _all_of(self.literal, text)
        text_ = _Text(text)
        sets = self._sets(text_, text_.everywhere)
        found, place = [], 0
        starts, ways = _flags(sets[0]), self._ways(sets)
        tries = iter(range(TRIES))
        while (place := starts.find("1", place)) >= 0:
            one = self._follow(text, ways, place, tries)
            if one is not None:
                found.append(one)
            place = one.end if one is not None else place + 1
        return found

    def first(self, text: bytes, everything: bool = False) -> Found | None:
        """Give the first place from which it reaches just to the text's end.

        :param everything: it must begin with the text.
        """
        skipped = max(0, len(text) - self.longest)
        if everything and skipped:
            return None
        if not self._parts:
            return Found(len(text), len(text), {})
        text_ = _Text(text[skipped:])
        sets = self._sets(text_, 1 << len(text_.bytes))
        starts, ways = _flags(sets[0]), self._ways(sets)
        tries, place = iter(range(TRIES)), 0
        while (place := starts.find("1", place, 1 if everything else None)) >= 0:
            one = self._follow(text_.bytes, ways, place, tries)
            if one is not None:
                return Found(skipped + one.start, skipped + one.end, one.fields)
            place += 1
        return None

    def nearby(self, text: bytes, starts: int) -> Iterator[Found]:
        """Give what may stand at each of the first places, from the last one to the first.

        An end of -1: as far as the text goes, it may be the beginning of one.

        :param starts: how many places.
        """
        text_ = _Text(text)
        sets = self._sets(text_, text_.everywhere)
        whole, ways = _flags(sets[0]), self._ways(sets)
        cut = self._begun(text_)
        either, place = _flags(sets[0] | cut), starts
        while (place := either.rfind("1", 0, place)) >= 0:
            one = None
            if whole[place : place + 1] == "1":
                one = self._follow(text, ways, place, iter(range(TRIES)))
            if one is not None or cut >> place & 1:
                yield one or Found(place, -1, {})

    def begun(self, text: bytes) -> int:
        """Count the bytes at the text's end that may be the beginning of one."""
        text = text[max(0, len(text) - self.longest + 1) :]
        begun = self._begun(_Text(text))
        return len(text) - ((begun & -begun).bit_length() - 1)

    # -- sets of places -------------------------------------------------------

    def _sets(self, text: _Text, goal: int) -> list[int]:
        """From where each part, and all behind it, leads to the goal; then the goal."""
        sets = [goal]
        for part in reversed(self._parts):
            goal = goal and self._leading(text, part, goal)
            sets.append(goal)
        return sets[::-1]

    def _leading(self, text: _Text, part: bytes | Run, goal: int) -> int:
        if isinstance(part, Run):
            return _through(text.bits(part.letters), part.most, goal)
        return self._occurrences(text, part) & goal >> len(part)

    def _begun(self, text: _Text) -> int:
        """From where the text ends before the pattern does."""
        begun, size = 0, len(text.bytes)
        for part in reversed(self._parts):
            if isinstance(part, Run):
                left = text.bytes[max(0, size - part.most + 1) :]
                run = len(left) - len(left.rstrip(part.letters))
                cut = ((1 << run + 1) - 1) << size - run
            else:
                cut = self._cut(text.bytes, part)
            begun = cut | (begun and self._leading(text, part, begun))
        return begun or 1 << size

    def _cut(self, text: bytes, literal: bytes) -> int:
        """From where the text is a beginning of the literal, and not all of it."""
        size, found = len(text), 1 << len(text)
        if len(literal) <= _FEW:
            sizes = range(1, len(literal))
            return sum((1 << size - n for n in sizes if text.endswith(literal[:n])), found)
        failure = self._failure(literal)
        state = _overlaps(text[max(0, size - len(literal) + 1) :], literal, failure)[1]
        while state:
            found |= 1 << size - state
            state = failure[state - 1]
        return found

    def _occurrences(self, text: _Text, literal: bytes) -> int:
        """Where the literal stands; one may overlap another."""
        if len(literal) == 1:
            return text.bits(literal)
        places, seen = [], 0
        place = text.bytes.find(literal)
        while place >= 0:
            places.append(place)
            seen += len(literal)
            if seen > _AGAIN * len(text.bytes) + len(literal):  # or this were no longer linear
                places = _overlaps(text.bytes, literal, self._failure(literal))[0]
                break
            place = text.bytes.find(literal, place + 1)
        return _bits(places, len(text.bytes))

    def _failure(self, literal: bytes) -> list[int]:
        if literal not in self._failures:
            self._failures[literal] = _failure(literal)
        return self._failures[literal]

    # -- one way through them -------------------------------------------------

    def _ways(self, sets: list[int]) -> list[str]:
        """The sets behind runs, to look places up in."""
        parts = zip(self._parts, sets[1:], strict=True)
        return [_flags(after) if isinstance(part, Run) else "" for part, after in parts]

    def _follow(
        self, text: bytes, ways: list[str], start: int, tries: Iterator[int]
    ) -> Found | None:
        """Find the first reading from here, by the order of the lengths of its runs.

        Without a field that occurs twice, the first step is always right.
        """
        places, open_ = [start], [self._ends(text, ways, [start])]
        while open_ and not (self._repeats and next(tries, None) is None):
            end = next(open_[-1], None)
            if end is None:
                open_.pop()
                places.pop()
                continue
            places.append(end)
            if len(places) > len(self._parts):
                return Found(start, end, self._fields(text, places))
            open_.append(self._ends(text, ways, places))
        return None

    def _ends(self, text: bytes, ways: list[str], places: list[int]) -> Iterator[int]:
        """Where the part that begins at the last place may end."""
        at, place = len(places) - 1, places[-1]
        part, first = self._parts[at], self._first[at]
        if isinstance(part, bytes):
            return iter((place + len(part),))
        if first < at:
            value = text[places[first] : places[first + 1]]
            end = place + len(value)
            fits = text.startswith(value, place) and ways[at][end : end + 1] == "1"
            return iter((end,) if fits else ())
        run = text[place : place + part.most]
        last = place + len(run) - len(run.lstrip(part.letters))
        return (_from_right if self._greedy else _from_left)(ways[at], place, last)

    def _fields(self, text: bytes, places: list[int]) -> dict[str, bytes]:
        return {
            part.name: text[places[at] : places[at + 1]]
            for at, part in enumerate(self._parts)
            if isinstance(part, Run) and part.name and self._first[at] == at
        }


class _Text:
    """Bytes that are searched, and where in them certain ones stand.

    :ivar everywhere: the set of all places, the one behind the last byte included.
    """

    def __init__(self, data: bytes) -> None:
        self.bytes = data
        self.everywhere = (1 << len(data) + 1) - 1
        self._bits: dict[bytes, int] = {}

    def bits(self, letters: bytes) -> int:
        """The places where one of these bytes stands."""
        if letters not in self._bits:
            table = bytes(48 + (byte in letters) for byte in range(256))  # b"0" or b"1"
            self._bits[letters] = int(self.bytes[::-1].translate(table) or b"0", 2)
        return self._bits[letters]


def _through(letters: int, most: int, goal: int) -> int:
    """The places from which 1 to ``most`` letters lead to the goal."""
    reached, reach = letters & goal >> 1, 1
    runs, run = letters, 1  # where so many letters stand, at least
    while reach < most and reached:
        step = min(reach, most - reach)
        if run < step:
            runs, run = runs & runs >> step - run, step
        many = runs if run == step else _runs(letters, step)
        reached, reach = reached | many & reached >> step, reach + step
    return reached


def _runs(letters: int, size: int) -> int:
    """The places from which at least so many letters stand."""
    runs, run = letters, 1
    while run < size:
        step = min(run, size - run)
        runs, run = runs & runs >> step, run + step
    return runs


def _bits(places: list[int], size: int) -> int:
    """The set of these places of a text."""
    if len(places) < 8:
        return sum(1 << place for place in places)
    flags = bytearray(b"0") * (size + 1)
    for place in places:
        flags[size - place] = 49  # b"1"
    return int(flags, 2)


def _flags(bits: int) -> str:
    """The set as text that can be searched: a "1" at each of its places."""
    return f"{bits:b}"[::-1]


def _from_left(flags: str, place: int, last: int) -> Iterator[int]:
    """The places behind this one up to the last, the first one first."""
    while (place := flags.find("1", place + 1, last + 1)) >= 0:
        yield place


def _from_right(flags: str, place: int, last: int) -> Iterator[int]:
    while (last := flags.rfind("1", place + 1, last + 1)) >= 0:
        yield last
        last -= 1


def _all_of(literal: bytes, text: bytes) -> list[Found]:
    found: list[Found] = []
    if not literal:
        return found
    # A search for one byte is much the fastest, and most of a stream does not have it.
    place, begin = text.find(literal[:1]), literal[:1]
    while place >= 0 and (place := text.find(literal, place)) >= 0:
        found.append(Found(place, place + len(literal), {}))
        place = text.find(begin, place + len(literal))
    return found


def _failure(literal: bytes) -> list[int]:
    """For each beginning: how long is its longest end that is a beginning, too?

    (Knuth, Morris, Pratt: Fast pattern matching in strings, 1977.)
    """
    failure, state = [0], 0
    for byte in literal[1:]:
        while state and literal[state] != byte:
            state = failure[state - 1]
        state += literal[state] == byte
        failure.append(state)
    return failure


def _overlaps(text: bytes, literal: bytes, failure: list[int]) -> tuple[list[int], int]:
    """Give where the literal stands, and how much of it stands at the text's end.

    Each byte is looked at once, and a step back has been a step forward before.
    """
    places, state, size = [], 0, len(literal)
    for place, byte in enumerate(text):
        while state and literal[state] != byte:
            state = failure[state - 1]
        state += literal[state] == byte
        if state == size:
            places.append(place + 1 - size)
            state = failure[state - 1]
    return places, state
