"""Histograms of times: counted in a flat list, and HdrHistogram's at the end.

Theory of operation. HdrHistogram with three digits has 2,048 counts for the values below 2,048, and
1,024 for each further power of two. The place of a value follows from its bit length. Counting in a
list by this arithmetic takes a quarter of the time of ``record_value``. Both have the same places,
so nothing is lost from one to the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress
from itertools import count as numbers
from operator import add
from typing import TYPE_CHECKING, Any

from echosvc.probe.traffic.checked import checked_count, checked_member

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

#: The range, µs: from one microsecond to one hour, with three digits.
LOWEST, HIGHEST, DIGITS = 1, 3_600_000_000, 3
#: The percentiles of a result, by name.
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "p9999": 99.99}
#: Letters of an encoded histogram, at most; all of its places take about half of them.
_LONGEST = 1 << 19
#: Places below which each value has its own: 2 to the power of 11.
_BITS = 11
_HALF = 1 << (_BITS - 1)


def place_of(value: int) -> int:
    """Return where a value is counted."""
    shift = max(0, value.bit_length() - _BITS)
    return shift * _HALF + (value >> shift)


def lowest_at(place: int) -> int:
    """Return the lowest value that is counted at a place."""
    shift = max(0, place // _HALF - 1)
    return (place - shift * _HALF) << shift


_PLACES = place_of(HIGHEST) + 1


class Histogram:
    """How often each time occurred.

    :ivar counts: how often, by place.
    :ivar largest: the largest time, µs.
    """

    def __init__(self) -> None:
        self.counts = [0] * _PLACES
        self.largest = 0

    def record(self, seconds: float) -> int:
        """Count a time; return it in whole µs. One above an hour counts as an hour."""
        value = int(seconds * 1e6 + 0.5)
        if value < 2048:
            value = max(value, 0)
            self.counts[value] += 1
        else:
            value = min(value, HIGHEST)
            shift = value.bit_length() - 11
            self.counts[(shift << 10) + (value >> shift)] += 1
        if value > self.largest:
            self.largest = value
        return value

    def repeat(self, value: int) -> None:
        """Count a time that another histogram's :meth:`record` has returned."""
        if value < 2048:
            self.counts[value] += 1
        else:
            shift = value.bit_length() - 11
            self.counts[(shift << 10) + (value >> shift)] += 1
        if value > self.largest:
            self.largest = value

    def add(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        self.counts = list(map(add, self.counts, other.counts))
        self.largest = max(self.largest, other.largest)

    @property
    def smallest(self) -> int:
        """The smallest time, µs, with three digits; 0: there is none."""
        return next((lowest_at(place) for place, each in enumerate(self.counts) if each), 0)

    @property
    def total(self) -> int:
        """How many times were counted."""
        return sum(self.counts)

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield each place that has counts, with how many."""
        return zip(compress(numbers(), self.counts), filter(None, self.counts), strict=True)

    def to_hdr(self) -> HdrHistogram:
        """Return the same counts as HdrHistogram has them, in µs."""
        hdr = _new_hdr()
        for place, found in self.places():
            hdr.record_value(lowest_at(place), found)
        return hdr

    def percentiles(self, wanted: Iterable[float]) -> dict[float, int]:
        """Return the value of each percentile, µs, as HdrHistogram says it; 0, if it is empty.

        No value is above the largest that occurred: HdrHistogram says the highest one that is
        counted at the same place.
        """
        wanted = sorted(set(wanted))
        found = self.to_hdr().get_percentile_to_value_dict(wanted)
        return {each: min(found.get(each, 0), self.largest) for each in wanted}

    def summary(self) -> dict[str, int]:
        """Return the usual percentiles and the maximum, µs, as a result names them."""
        found = self.percentiles(PERCENTILES.values())
        return {name: found[each] for name, each in PERCENTILES.items()} | {"max": self.largest}

    def dump(self) -> dict[str, Any]:
        """Return the counts in HdrHistogram's own encoding, which is text, and the largest time."""
        return {"hdr": self.to_hdr().encode().decode("ascii"), "largest": self.largest}

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Histogram:
        """Return the histogram that was dumped.

        :raises ValueError: it is none, or has another range.
        """
        histogram, counts = cls(), list(checked_member(dumped, "hdr", _decode).counts)[:_PLACES]
        histogram.counts[: len(counts)] = counts
        histogram.largest = checked_member(dumped, "largest", checked_count)
        return histogram

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.counts == other.counts and self.largest == other.largest

    __hash__ = None  # type: ignore[assignment]


def _new_hdr() -> HdrHistogram:
    from hdrh.histogram import HdrHistogram

    return HdrHistogram(LOWEST, HIGHEST, DIGITS)


def _decode(text: str) -> HdrHistogram:
    from hdrh.histogram import HdrHistogram

    if not isinstance(text, str) or len(text) > _LONGEST:
        raise ValueError("no histogram: no text, or too long")
    try:
        hdr = HdrHistogram.decode(text)
    except Exception as error:  # its codec raises its own classes, zlib's and struct's
        raise ValueError("no histogram in HdrHistogram's encoding") from error
    found = hdr.lowest_trackable_value, hdr.highest_trackable_value, hdr.significant_figures
    if found != (LOWEST, HIGHEST, DIGITS):
        raise ValueError(
            f"a histogram of another range: {found[0]} to {found[1]}, {found[2]} digits"
        )
    return hdr
