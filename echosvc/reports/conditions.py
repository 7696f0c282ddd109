"""Conditions on the figures of a load: ``p99>+10%``, ``rate<-5%``, ``p99>5ms``. No I/O.

A condition holds where it fails a comparison: the second run is judged, against the first one where
the bound has a sign, and against the bound alone where it has none.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from echosvc._text import BYTE_UNITS, quote, read_microseconds
from echosvc.reports.load_figures import UNITS, Figure, format_figure

_CONDITION = re.compile(r"\s*([a-z0-9.-]*)\s*([<>])\s*([+-]?)\s*([0-9.]+)\s*(%|[a-zA-Zµμ]*)\s*")
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
#: As the document names percentiles.
_ALIAS = re.compile(r"\bp99(9+)$")
#: What a unit of a bound is in the unit of its figure, where that is no time.
_FACTORS: dict[str, dict[str, int]] = {
    "/s": {"": 1, "k": 1000},
    "B/s": BYTE_UNITS,
    "": {"": 1},
}


class ConditionError(ValueError):
    """A text is no condition; says why in one line."""


@dataclass(frozen=True)
class Condition:
    """A condition.

    :ivar text: as it was given.
    :ivar name: of the figure.
    :ivar above: the figure must not be above the bound, or else not below it.
    :ivar relative: ``%``: the bound is a change in per cent; ``+``: it is a change; "": it is
        compared with the figure itself.
    :ivar bound: with its sign, in the unit of the figure or in per cent.
    """

    text: str
    name: str
    above: bool
    relative: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Return the condition that a text says.

        :raises ConditionError: it says none.
        """
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise ConditionError(
                f"{quote(text)} is no condition such as p99>+10%, rate<-5% or p99>5ms"
            )
        given, sign, change, number, unit = found.groups()
        name = _ALIAS.sub(r"p99.\1", given)
        if name not in UNITS:
            raise ConditionError(f"{quote(text)}: there is no figure {quote(given)}")
        if why := _find_fault(sign, change, number, unit):
            raise ConditionError(f"{quote(text)}: {why}")
        size = float(number) if unit == "%" else _bound(text, UNITS[name], number, unit)
        bound = -size if change == "-" else size
        relative = "%" if unit == "%" else "+" if change else ""
        return cls(text, name, sign == ">", relative, bound)

    def holds(self, before: Figure, after: Figure) -> bool:
        """Return whether it holds for the same figure of two runs."""
        found = self._measured(before.value, after.value)
        return found > self.bound if self.above else found < self.bound

    def _measured(self, before: float, after: float) -> float:
        if not self.relative:
            return after
        return change_in_percent(before, after) if self.relative == "%" else after - before

    def describe(self, before: Figure, after: Figure) -> str:
        """Return the figures that it compares, and how it came out."""
        word = "FAIL" if self.holds(before, after) else "ok"
        return f"{self.text}: {word}: {before} to {after} ({format_change(before, after)})"


def _find_fault(sign: str, change: str, number: str, unit: str) -> str:
    """Return what is wrong with a condition; "": nothing is."""
    if not _NUMBER.fullmatch(number):
        return f"{quote(number)} is no number"
    if unit == "%" and not change:
        return "a change in per cent has a sign: +10% or -10%"
    if change and (change == "+") != (sign == ">"):
        return "an increase is written >+, and a decrease <-"
    return ""


def _bound(text: str, unit: str, number: str, given: str) -> float:
    """Return a bound in the unit of its figure."""
    if unit == "µs":
        found, wanted = read_microseconds(number + given), "a time needs a unit: us, ms or s"
    else:
        factor, wanted = _FACTORS[unit].get(given.lower()), "it takes no such unit"
        found = None if factor is None else float(number) * factor
    if found is None:
        raise ConditionError(f"{quote(text)}: {wanted}")
    return found


def change_in_percent(before: float, after: float) -> float:
    """Return by how many per cent a value changed; infinity, where it was 0."""
    if before == after:
        return 0.0
    return (after - before) / before * 100 if before else math.inf


def format_change(before: Figure, after: Figure) -> str:
    """Return a change for people: in per cent, and as a difference where there was nothing."""
    change = change_in_percent(before.value, after.value)
    if math.isinf(change):
        return f"+{format_figure(after.value, after.unit)}"
    return f"{change:+.1f} %" if change else "="
