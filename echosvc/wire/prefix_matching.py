"""The prefix before replies, recognised in what a peer sends."""

from __future__ import annotations

from collections.abc import Iterator

from echosvc.wire.pattern import Pattern, Run
from echosvc.wire.template import Field, Part, Template

#: Fields that are numbers.
NUMBERS = ("pid", "connection", "message")
#: The bytes of a number, and of any other field.
DIGITS = b"0123456789"
VISIBLE = bytes(range(0x21, 0x7F))
#: Longest text that matches a field, and longest number, bytes.
MAX_FIELD = 255
MAX_NUMBER = 20


def prefix_parts(template: Template) -> list[bytes | Run]:
    """Return the parts of a template as a pattern has them.

    ``{message}`` has no name: its number is another one in each reply.
    """
    return [_run(part) if isinstance(part, Field) else part for part in template.parts]


def _run(field: Field) -> Run:
    name = "" if field.name == "message" else field.name
    if field.name in NUMBERS:
        return Run(DIGITS, MAX_NUMBER, name)
    return Run(VISIBLE, MAX_FIELD, name)


def prefix_pattern(template: Template) -> Pattern:
    """Return the pattern that prefixes made from a template match."""
    return Pattern(prefix_parts(template))


def match_template(template: Template, prefix: bytes) -> Template | None:
    """Bind a template's fields from a prefix that came; ``None``: it does not match.

    ``{message}`` stays a field.
    """
    match = prefix_pattern(template).match_whole(prefix)
    return None if match is None else template.bind(match.values())


def match_template_suffix(template: Template, data: bytes) -> tuple[Template, int] | None:
    """Bind a template's fields from the longest suffix of ``data`` that matches.

    :return: the template, and the position where the prefix begins.
    """
    match = prefix_pattern(template).match_suffix(data)
    return None if match is None else (template.bind(match.values()), match.start)


class PrefixMatcher:
    """Recognises the prefix of one connection: literal bytes and reply numbers.

    :param template: has no field left but ``{message}``.
    :param sizes: of the messages, with ``length`` framing: headers stand before the prefix.
    :ivar min_length: the fewest bytes of a prefix.
    :ivar max_length: the most bytes of a prefix; 0: there is none.
    :ivar literal: the prefix, if it is constant; otherwise ``None``.
    :ivar boundary_bytes: the bytes that a prefix can begin with, and those that would make it
        longer at its end. In a payload without them every prefix is found where it is.
    """

    def __init__(self, template: Template, sizes: frozenset[int] = frozenset()) -> None:
        parts = template.parts
        fields = sum(isinstance(part, Field) for part in parts)
        fixed = sum(len(part) for part in parts if isinstance(part, bytes))
        header = _header(sizes, fixed, fields)
        self._pattern = Pattern([*header, *prefix_parts(template)], greedy=True)
        self.min_length, self.max_length = self._pattern.min_length, self._pattern.max_length
        self.literal = self._pattern.literal
        self._open = bool(parts) and isinstance(parts[-1], Field)
        self.boundary_bytes = b"" if sizes or not parts else _first_bytes(parts[0])
        if self._open:
            self.boundary_bytes += DIGITS

    def __bool__(self) -> bool:
        return self.max_length > 0

    def match(self, data: bytes, start: int) -> int | None:
        """Return where the prefix that begins at ``start`` ends.

        :return: -1: the data ends before the prefix does; ``None``: no prefix begins there.
        """
        if self.literal is not None:
            if data.startswith(self.literal, start):
                return start + len(self.literal)
            left = len(data) - start
            partial = left < len(self.literal) and self.literal.startswith(data[start:])
            return -1 if partial else None
        window = data[start : start + self.max_length + 1]
        for _, end in self.match_backwards(window, 1):
            return end if end < 0 else start + end
        return None

    def match_backwards(self, data: bytes, starts: int) -> Iterator[tuple[int, int]]:
        """Yield start and end of the prefix at each of the first ``starts`` positions.

        They come from the last position to the first. An end of -1 means that the data ends
        before the prefix does.
        """
        for start, end, _ in self._pattern.match_backwards(data, starts):
            yield start, -1 if self._open and end == len(data) else end

    def strip(self, data: bytes) -> bytes:
        """Return ``data`` without prefixes."""
        if not self.max_length:
            return data
        if self.literal is not None:
            return data.replace(self.literal, b"")
        pieces, position = [], 0
        for start, end, _ in self._pattern.find_all(data):
            pieces.append(data[position:start])
            position = end
        return b"".join([*pieces, data[position:]])


def _first_bytes(part: Part) -> bytes:
    return part[:1] if isinstance(part, bytes) else DIGITS


def _header(sizes: frozenset[int], fixed: int, fields: int) -> list[Run]:
    """Return the four bytes of a length header, each as the values that it can have."""
    if not sizes:
        return []
    numbers = range(fields, MAX_NUMBER * fields + 1)
    lengths = [(size + fixed + more).to_bytes(4, "big") for size in sizes for more in numbers]
    return [Run(bytes({each[place] for each in lengths}), 1) for place in range(4)]
