"""Where values stand on an axis, and which of them are named."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.reports.axes import Axis, lanes, linear, logarithmic, nines, utc

POSITIVE = st.floats(1, 1e9)
NOON = 1_800_014_400.0


def plain(value: float) -> str:
    return f"{value:g}"


def assert_readable(axis: Axis, most: int = 14) -> None:
    """The ticks stand on the axis, in order, each where its value does, and are not too many."""
    places = [axis.place(value) for value, _ in axis.ticks]
    assert all(0 <= place <= 1 for place in places)
    assert all(before < after for before, after in pairwise(places))
    assert 1 <= len(places) <= most
    names = [name for _, name in axis.ticks]
    assert len(set(names)) == len(names)


@given(st.floats(0, 1e12))
def test_a_linear_axis_begins_at_nothing_and_has_room_for_the_highest(high: float) -> None:
    axis = linear("messages", high, plain)
    assert_readable(axis)
    assert axis.place(0) == 0
    last = axis.ticks[-1][0]
    assert max(high, 1) <= last * (1 + 1e-9)
    assert axis.place(last / 2) == pytest.approx(0.5)


@given(POSITIVE, POSITIVE)
def test_a_logarithmic_axis_has_room_for_both_ends(one: float, other: float) -> None:
    low, high = sorted((one, other))
    axis = logarithmic("time", low, high, plain)
    assert_readable(axis)
    assert axis.ticks[0][0] <= low * (1 + 1e-9)
    assert high <= axis.ticks[-1][0] * (1 + 1e-9)


def test_each_power_of_ten_is_as_wide_on_a_logarithmic_axis() -> None:
    axis = logarithmic("time", 1, 10_000, plain)
    assert [axis.place(10.0**power) for power in range(5)] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert axis.place(0) == 0


def test_each_nine_is_as_wide() -> None:
    axis = nines("percentile", 100_000)
    places = [axis.place(each) for each in (0, 90, 99, 99.9, 99.99, 99.999)]
    assert places == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert axis.place(100) == 1
    names = ["0", "50", "90", "99", "99.9", "99.99", "99.999"]
    assert [name for _, name in axis.ticks] == names


@given(st.integers(0, 1 << 40))
def test_the_axis_of_nines_can_be_read_however_many_values_there_are(count: int) -> None:
    assert_readable(nines("percentile", count), 9)


@given(st.floats(0, 4e9), st.floats(0, 40 * 86400))
def test_the_axis_of_time_can_be_read_however_long_it_is(began: float, seconds: float) -> None:
    axis = utc(math.floor(began), seconds)
    if seconds > 10:
        assert_readable(axis)
        assert len(axis.ticks) >= 3


def test_times_are_named_in_utc() -> None:
    axis = utc(NOON, 60)
    assert axis.label == "time (UTC), 2027-01-15"
    assert axis.ticks[0] == (NOON, "12:00:00")
    assert axis.ticks[1][1] == "12:00:10"
    assert utc(NOON, 3600).ticks[1][1] == "12:10"
    assert utc(NOON, 3 * 86400).ticks[1][1] == "01-16 00:00"


def test_lanes_are_named_from_the_top() -> None:
    axis = lanes("connection", ["a", "b"])
    assert [(axis.place(value), name) for value, name in axis.ticks] == [(0.75, "a"), (0.25, "b")]
    assert axis.place(0) == 1
    assert lanes("connection", []).ticks == ()
