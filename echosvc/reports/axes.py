"""Axes of pictures: where a value stands on one, and which values are named there. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

#: Values that an axis names, about.
_TICKS = 6
#: Steps between times that are named, seconds.
_TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DAY = 86400
#: The last second of the year 9999.
_LATEST = 253402300799.0
#: Nines that an axis has at most.
_NINES = 7


@dataclass(frozen=True)
class Axis:
    """An axis.

    :ivar label: what it shows, with the unit.
    :ivar place: returns where a value stands: 0 is the beginning of the axis, and 1 its end.
    :ivar ticks: the values that are named, each with its name.
    """

    label: str
    place: Callable[[float], float]
    ticks: tuple[tuple[float, str], ...]


def _between(low: float, high: float) -> Callable[[float], float]:
    """Return what maps a range to the whole axis. What is out of the range stands at its edge."""
    return lambda value: min(max((value - low) / (high - low), 0.0), 1.0)


def linear(label: str, high: float, text: Callable[[float], str]) -> Axis:
    """Return an axis from 0 to ``high`` or a little more.

    :param text: names a value.
    """
    step = _round_step(max(high, 1.0) / _TICKS)
    count = math.ceil(max(high, 1.0) / step)
    ticks = tuple((number * step, text(number * step)) for number in range(count + 1))
    return Axis(label, _between(0.0, count * step), ticks)


def _round_step(least: float) -> float:
    """Return the next number of 1, 2 and 5 times a power of ten; at least 1."""
    power = 10.0 ** math.floor(math.log10(max(least, 1.0)))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


def logarithmic(label: str, low: float, high: float, text: Callable[[float], str]) -> Axis:
    """Return a logarithmic axis, from the power of ten below ``low`` to the one above ``high``.

    :param low: more than 0.
    :param text: names a value.
    """
    first = math.floor(math.log10(low))
    last = max(math.ceil(math.log10(max(low, high))), first + 1)
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    values = [10.0**power * each for power in range(first, last) for each in factors]
    scale = _between(first, last)
    ticks = tuple((value, text(value)) for value in (*values, 10.0**last))
    return Axis(label, lambda value: scale(math.log10(max(value, 10.0**first))), ticks)


def nines(label: str, count: int) -> Axis:
    """Return the axis of percentiles, on which each further nine is as wide as the one before.

    :param count: of the values; the last of them stands at the end of the axis, if there are not
        more than 10,000,000.
    """
    end = min(max(math.log10(max(count, 1)), 1.0), _NINES)
    scale = _between(0.0, end)

    def place(percentile: float) -> float:
        rest = 1 - percentile / 100
        return scale(-math.log10(rest)) if rest > 0 else 1.0

    names = ["0", "50", "90", "99", *(f"99.{'9' * more}" for more in range(1, _NINES - 1))]
    return Axis(label, place, tuple((float(each), each) for each in names[: int(end + 1e-9) + 2]))


def utc(began: float, seconds: float) -> Axis:
    """Return an axis of Unix time, whose times are named in UTC."""
    seconds = max(seconds, 1.0)
    step = _time_step(seconds)
    first = math.ceil(began / step) * step
    count = math.floor((began + seconds - first) / step) + 1
    form = "%m-%d %H:%M" if seconds >= _DAY else "%H:%M:%S" if step < 60 else "%H:%M"
    times = [first + number * step for number in range(count)]
    ticks = tuple((time, utc_text(time, form)) for time in times)
    label = f"time (UTC), {utc_text(began, '%Y-%m-%d')}"
    return Axis(label, _between(began, began + seconds), ticks)


def _time_step(seconds: float) -> int:
    least = seconds / _TICKS
    days = math.ceil(least / _DAY) * _DAY
    return next((step for step in _TIMES if step >= least), days)


def utc_text(time: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a Unix time as text, in UTC."""
    return utc_time(time).strftime(form)


def utc_time(time: float) -> datetime:
    """Return a Unix time in UTC; one before 1970 or after 9999 becomes the nearest that is not."""
    return datetime.fromtimestamp(min(max(time, 0.0), _LATEST), timezone.utc)


def lanes(label: str, names: Sequence[str]) -> Axis:
    """Return an axis with a lane for each name, the first at the end: at the top of a picture.

    A lane has the height 1: the first is from 0 to 1.
    """
    count = max(len(names), 1)
    ticks = tuple((number + 0.5, name) for number, name in enumerate(names))
    return Axis(label, lambda value: 1 - min(max(value / count, 0.0), 1.0), ticks)
