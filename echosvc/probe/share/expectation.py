r"""What is expected of the shares: ``v1=80±5,v2=20±5``. No I/O.

An expectation has a name, a share and a tolerance, in per cent. The tolerance must be given: no
number of connections shows that a share is exact. ``*`` stands for all names that are not listed.
In a name a backslash escapes: ``\,`` ``\=`` ``\*`` ``\\`` are these characters, ``\n`` and
``\t`` as usual, ``\xNN`` is a byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from echosvc._text import quote
from echosvc.probe.share.names import name_text
from echosvc.probe.share.result import OTHERS

#: Expectations at most: each one makes the others' intervals wider.
MOST = 100

_ESCAPES = {b"n": b"\n", b"t": b"\t", b",": b",", b"=": b"=", b"*": b"*", b"\\": b"\\"}
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
#: One expectation: no separator in it unless a backslash stands before it.
_PART = re.compile(r"((?:\\.|[^\\,])*)(,|\Z)", re.DOTALL)
_NAME = re.compile(r"((?:\\.|[^\\=])*)=(.*)\Z", re.DOTALL)
_FORM = "NAME=SHARE±TOLERANCE in per cent, such as v1=80±5"
_NUMBER = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*%?\s*", re.ASCII)


class ExpectationError(ValueError):
    """An expectation makes no sense; says which and why in one line."""


@dataclass(frozen=True)
class Expectation:
    """The share that one server is to have.

    :ivar name: the server's; ``None``: all that are not listed.
    :ivar share: from 0 to 1.
    :ivar tolerance: how far off the share may be, from 0 to 1.
    """

    name: str | None
    share: Fraction
    tolerance: Fraction

    @property
    def low(self) -> float:
        """The lowest share that is as expected."""
        return float(max(Fraction(0), self.share - self.tolerance))

    @property
    def high(self) -> float:
        """The highest share that is as expected."""
        return float(min(Fraction(1), self.share + self.tolerance))

    @property
    def label(self) -> str:
        """The name as :func:`label` returns it."""
        return label(self.name)

    def __str__(self) -> str:
        return f"{_per_cent(self.share)}±{_per_cent(self.tolerance)}"


def _per_cent(value: Fraction) -> str:
    return f"{float(value * 100):.9f}".rstrip("0").rstrip(".")


def label(name: str | None) -> str:
    """Return a name, which differs from what stands for all that are not listed.

    :param name: a server's; ``None``: all that are not listed.
    """
    if name is None:
        return OTHERS
    return f"\\{OTHERS}" if name == OTHERS else name


def parse_expectations(text: str) -> tuple[Expectation, ...]:
    """Read expectations.

    :raises ExpectationError: the text has another form, a name stands there twice, or the shares
        add to more than 100.
    """
    found = tuple(_parse(part) for part in _parts(text))
    check_expectations(found)
    return found


def check_expectations(expected: Sequence[Expectation]) -> None:
    """Check that expectations go together.

    :raises ExpectationError: they do not.
    """
    if len(expected) > MOST:
        raise ExpectationError(f"{len(expected)} expectations; there may be {MOST}")
    names = [each.name for each in expected]
    for each in expected:
        if names.count(each.name) > 1:
            raise ExpectationError(f"{quote(each.label)} is given twice")
    total = sum(each.share for each in expected)
    if total > 1:
        raise ExpectationError(f"the shares add to {_per_cent(Fraction(total))}, more than 100")
    if None in names and len(names) == 1:
        raise ExpectationError("* stands for the names that are not listed, and none is listed")


def _parts(text: str) -> Iterator[str]:
    position, separator = 0, ","
    while separator:
        part = _PART.match(text, position)
        if part is None:
            raise ExpectationError(f"a backslash at the end of {quote(text)}")
        position, separator = part.end(), part[2]
        yield part[1]


def _parse(part: str) -> Expectation:
    found = _NAME.match(part.strip())
    if found is None or not found[1]:
        raise ExpectationError(f"must be {_FORM}, not {quote(part)}")
    share, sign, tolerance = _split_numbers(found[2])
    if not sign:
        raise ExpectationError(
            f"{quote(part)} has no tolerance, and no number of connections shows that a share is"
            f" exact: write {quote(part.strip() + '±5')}"
        )
    expected = Expectation(_name(found[1]), _number(part, share), _number(part, tolerance))
    if not expected.tolerance:
        raise ExpectationError(f"{quote(part)}: the tolerance must be more than 0")
    return expected


def _split_numbers(text: str) -> tuple[str, str, str]:
    """Return the share, the sign of the tolerance and the tolerance; both "" where it has none."""
    for sign in ("±", "+-", "+/-"):
        share, found, tolerance = text.partition(sign)
        if found:
            return share, found, tolerance
    return text, "", "0"


def _number(part: str, text: str) -> Fraction:
    number = _NUMBER.fullmatch(text)
    value = Fraction(number[1]) if number else Fraction(-1)
    if not 0 <= value <= 100:
        raise ExpectationError(
            f"must be {_FORM}, not {quote(part)}: {quote(text)} is no number from 0 to 100"
        )
    return value / 100


def _name(text: str) -> str | None:
    """Return a name without its escapes, as :func:`name_text` returns those of servers."""
    if text == OTHERS:
        return None
    try:
        data = _ESCAPE.sub(_unescape, text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise ExpectationError(f"{quote(text)} is no text") from None
    return name_text(data)


def _unescape(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes.fromhex(found[1].decode())
    if found[2] not in _ESCAPES:
        known = r"\, \= \* \\ \n \t \xNN"
        raise ExpectationError(f"{quote(found[0])} is no escape in a name; there are {known}")
    return _ESCAPES[found[2]]
