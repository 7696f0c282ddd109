"""What stands before replies, as it is found in a stream. No Twisted, no I/O."""

from __future__ import annotations

from collections.abc import Iterator

from echosvc.wire.prefix_matching import DIGITS, LONGEST_NUMBER, Pattern, Run, runs_of
from echosvc.wire.template import Field, Part, Template


class Mark:
    """The prefix of one connection: literal bytes and reply numbers.

    :param template: with no field left but ``{message}``.
    :param sizes: with ``length`` framing, of the messages: headers stand before the prefix.
    :ivar shortest: bytes that it takes at least.
    :ivar longest: bytes that it takes at most.
    :ivar literal: its bytes, where they are always the same; else ``None``.
    :ivar first: the bytes that it can begin with, and those that would lengthen its end.
    """

    def __init__(self, template: Template, sizes: frozenset[int] = frozenset()) -> None:
        parts = template.parts
        fields = sum(isinstance(part, Field) for part in parts)
        fixed = sum(len(part) for part in parts if isinstance(part, bytes))
        self._pattern = Pattern([*_header(sizes, fixed, fields), *runs_of(template)], greedy=True)
        self.shortest, self.longest = self._pattern.shortest, self._pattern.longest
        self.literal = self._pattern.literal
        self._open = bool(parts) and isinstance(parts[-1], Field)
        self.first = b"" if sizes or not parts else _beginning(parts[0])
        if self._open:
            self.first += DIGITS

    def __bool__(self) -> bool:
        return self.longest > 0

    def match(self, data: bytes, start: int) -> int | None:
        """Give where the mark at ``start`` ends.

        :return: -1: so far it begins like one; ``None``: it is none.
        """
        if self.literal is not None:
            if data.startswith(self.literal, start):
                return start + len(self.literal)
            left = len(data) - start
            return (
                -1 if left < len(self.literal) and self.literal.startswith(data[start:]) else None
            )
        window = data[start : start + self.longest + 1]
        for _, end in self.nearby(window, 1):
            return end if end < 0 else start + end
        return None

    def nearby(self, data: bytes, starts: int) -> Iterator[tuple[int, int]]:
        """Give each mark that stands at one of the first places, from the last one to the first.

        :param starts: how many places.
        :return: where it begins, and where it ends; -1: so far it begins like one.
        """
        for start, end, _ in self._pattern.nearby(data, starts):
            yield start, -1 if self._open and end == len(data) else end

    def strip(self, data: bytes) -> bytes:
        """Give ``data`` without marks."""
        if not self.longest:
            return data
        if self.literal is not None:
            return data.replace(self.literal, b"")
        pieces, place = [], 0
        for start, end, _ in self._pattern.find_all(data):
            pieces.append(data[place:start])
            place = end
        return b"".join([*pieces, data[place:]])


def _beginning(part: Part) -> bytes:
    return part[:1] if isinstance(part, bytes) else DIGITS


def _header(sizes: frozenset[int], fixed: int, fields: int) -> list[Run]:
    """The four bytes of a length, each by the values that it can have."""
    if not sizes:
        return []
    numbers = range(fields, LONGEST_NUMBER * fields + 1)
    lengths = [(size + fixed + more).to_bytes(4, "big") for size in sizes for more in numbers]
    return [Run(bytes({each[place] for each in lengths}), 1) for place in range(4)]


def bound(template: Template, before: bytes) -> Template | None:
    """Fill a template's fields in from a prefix that came; ``None``: it is not of that kind.

    ``{message}`` stays.
    """
    found = Pattern.of(template).first(before, everything=True)
    return None if found is None else template.bind(found.texts())


def bound_at_end(template: Template, before: bytes) -> tuple[Template, int] | None:
    """Fill the fields in from the longest end of what came that is of that kind.

    :return: the template, and where the prefix begins.
    """
    found = Pattern.of(template).first(before)
    return None if found is None else (template.bind(found.texts()), found.start)
