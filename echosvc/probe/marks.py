"""What stands before replies, as it is found in a stream. No Twisted, no I/O."""

from __future__ import annotations

import re

from echosvc.answer import Step, begins, prefix_pattern, steps_of
from echosvc.prefix import Field, Part, Template

_NUMBER = 20  # digits of a number at most
_DIGITS = b"0123456789"


class Mark:
    """The prefix of one connection: literal bytes and reply numbers.

    :param template: with no field left but ``{message}``.
    :param sizes: with ``length`` framing, of the messages: headers stand before the prefix.
    :ivar longest: bytes that it takes at most.
    :ivar literal: its bytes, where they are always the same; else ``None``.
    :ivar first: the bytes that it can begin with, and those that would lengthen its end.
    """

    def __init__(self, template: Template, sizes: frozenset[int] = frozenset()) -> None:
        parts = template.parts
        fields = sum(isinstance(part, Field) for part in parts)
        fixed = sum(len(part) for part in parts if isinstance(part, bytes))
        self.literal = template.constant if not sizes else None
        header = _header(sizes, fixed, fields)
        self.longest = len(header) + fixed + _NUMBER * fields
        self._steps = header + steps_of(template)
        self._pattern = re.compile(b"".join(map(_expression, self._steps)), re.DOTALL)
        self._open = bool(parts) and isinstance(parts[-1], Field)
        self.first = b"" if sizes or not parts else _beginning(parts[0])
        if self._open:
            self.first += _DIGITS

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
        found = self._pattern.match(data, start)
        if found is not None:
            return -1 if self._open and found.end() == len(data) else found.end()
        return -1 if begins(self._steps, data[start : start + self.longest]) else None

    def strip(self, data: bytes) -> bytes:
        """Give ``data`` without marks."""
        if not self.longest:
            return data
        if self.literal is not None:
            return data.replace(self.literal, b"")
        return self._pattern.sub(b"", data)


def _beginning(part: Part) -> bytes:
    return part[:1] if isinstance(part, bytes) else _DIGITS


def _expression(step: Step) -> bytes:
    letters = b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(step.allowed)) + b"]"
    return letters + b"{1,%d}" % _NUMBER if step.repeats else letters


def _header(sizes: frozenset[int], fixed: int, fields: int) -> list[Step]:
    """The four bytes of a length, each by the values that it can have."""
    if not sizes:
        return []
    numbers = range(fields, _NUMBER * fields + 1)
    lengths = [(size + fixed + more).to_bytes(4, "big") for size in sizes for more in numbers]
    return [Step(frozenset(each[place] for each in lengths)) for place in range(4)]


def bound(template: Template, before: bytes) -> Template | None:
    """Fill a template's fields in from a prefix that came; ``None``: it is not of that kind.

    ``{message}`` stays.
    """
    found = prefix_pattern(template).fullmatch(before)
    if found is None:
        return None
    return template.bind({name: text.decode("ascii") for name, text in found.groupdict().items()})
