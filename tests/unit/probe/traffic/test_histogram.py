"""The flat counts are HdrHistogram's: same places, same percentiles, and nothing is lost."""

from __future__ import annotations

import json

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from echosvc.probe.traffic.histogram import DIGITS, HIGHEST, LOWEST, Histogram, lowest_at, place_of

VALUES = st.lists(
    st.integers(0, HIGHEST) | st.integers(0, 5000) | st.integers(0, 32).map(lambda bits: 1 << bits)
).map(lambda values: [min(value, HIGHEST) for value in values])
PERCENTILES = (0, 50, 90, 99, 99.9, 99.99, 100)


def recorded(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        assert histogram.record(value / 1e6) == value
    return histogram


def reference(values: list[int]) -> HdrHistogram:
    hdr = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    for value in values:
        assert hdr.record_value(value)
    return hdr


@given(st.integers(0, HIGHEST))
@settings(deadline=None)
def test_a_value_has_the_place_that_hdrhistogram_gives_it(value):
    hdr = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    assert place_of(value) == hdr.get_counts_array_index(value)
    assert lowest_at(place_of(value)) == hdr.get_lowest_equivalent_value(value)


@given(VALUES)
@settings(deadline=None, max_examples=40)
def test_percentiles_are_those_of_hdrhistogram(values):
    hdr, top = reference(values), max(values, default=0)
    expected = hdr.get_percentile_to_value_dict(list(PERCENTILES)) if values else {}
    found = recorded(values).percentiles(PERCENTILES)
    assert found == {each: min(top, expected.get(each, 0)) for each in PERCENTILES}
    assert found[100] == top


@given(VALUES)
@settings(deadline=None, max_examples=40)
def test_what_is_loaded_is_what_was_dumped(values):
    histogram = recorded(values)
    dumped = json.loads(json.dumps(histogram.dump()))
    assert Histogram.load(dumped) == histogram
    assert HdrHistogram.decode(dumped["hdr"]).get_total_count() == len(values)


@given(VALUES, VALUES)
@settings(deadline=None, max_examples=40)
def test_a_sum_is_the_histogram_of_both(one, other):
    total = recorded(one)
    total.add(recorded(other))
    assert total == recorded(one + other)
    assert total.total == len(one) + len(other)


def test_a_summary_has_the_usual_percentiles_and_the_maximum():
    histogram = recorded(list(range(1, 10_001)))
    assert histogram.summary() == {
        "p50": 5003, "p90": 9007, "p99": 9903, "p999": 9991, "p9999": 9999, "max": 10_000,
    }  # fmt: skip
    assert set(Histogram().summary().values()) == {0}


def test_large_counts_are_kept():
    histogram = Histogram()
    histogram.counts[place_of(1000)] = 1 << 50
    histogram.largest = 1000
    assert Histogram.load(histogram.dump()) == histogram


def test_times_out_of_range_count_as_the_next_in_range():
    histogram = recorded([])
    assert histogram.record(-1.0) == 0
    assert histogram.record(1e9) == HIGHEST
    assert histogram.total == 2


def test_what_is_no_histogram_is_refused():
    other = HdrHistogram(1, 1000, 2).encode().decode()
    for text, why in (("nonsense", "no histogram"), (other, "another range: 1 to 1000, 2 digits")):
        with pytest.raises(ValueError, match=why):
            Histogram.load({"hdr": text, "largest": 0})
