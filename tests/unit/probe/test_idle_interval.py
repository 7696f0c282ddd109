"""The search for an idle time-out that can be seen only once a connection is used again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.engine.idle_interval import SHORTEST, IdleInterval, interleaved

#: As many as the probe makes, and as many connections as it opens where nothing limits them.
ROUNDS, COUNT = 5, 24


def search(timeout: float, longest: float, count: int, rounds: int) -> IdleInterval:
    """Search on a path that forgets connections after ``timeout`` seconds."""
    interval = IdleInterval(longest)
    for _ in range(rounds):
        for seconds in interleaved(interval.next_times(count)):
            interval.note(seconds, survived=seconds < timeout)
        if interval.dead == math.inf or interval.is_narrow:
            break
    return interval


@given(longest=st.floats(1.0, 3600.0), part=st.floats(0.001, 1.0))
def test_two_rounds_find_any_time_out_within_2_percent_or_20_ms(
    longest: float, part: float
) -> None:
    timeout = longest * part
    found = search(timeout, longest, COUNT, rounds=2)
    assert found.alive < timeout <= found.dead
    assert abs(found.middle - timeout) <= max(0.02 * timeout, 0.02)


@given(longest=st.floats(1.0, 600.0), part=st.floats(0.1, 1.0), count=st.integers(3, 23))
def test_with_fewer_connections_it_takes_more_rounds(
    longest: float, part: float, count: int
) -> None:
    timeout = longest * part
    found = search(timeout, longest, count, ROUNDS)
    assert found.alive < timeout <= found.dead
    assert abs(found.middle - timeout) <= max(0.02 * timeout, 0.02)


@given(longest=st.floats(0.01, 3600.0), count=st.integers(1, 40))
def test_the_first_round_reaches_the_longest_time_and_no_longer_one(
    longest: float, count: int
) -> None:
    times = IdleInterval(longest).next_times(count)
    assert times == sorted(times)
    assert times[-1] == longest
    assert times[0] == pytest.approx(min(SHORTEST, longest)) or count == 1


@given(longest=st.floats(1.0, 3600.0), opened=st.integers(1, COUNT))
def test_the_connections_that_are_opened_first_span_the_whole_interval(
    longest: float, opened: int
) -> None:
    """The longest one is among them, and no gap is much wider than with evenly spread ones."""
    times = IdleInterval(longest).next_times(COUNT)
    first = sorted(interleaved(times)[:opened])
    assert first[-1] == longest
    steps = [times.index(each) for each in first]
    widest = max(b - a for a, b in zip([-1, *steps], steps, strict=False))
    assert widest <= 2 * math.ceil(COUNT / opened) + 8 // opened


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=50, unique=True))
def test_the_order_of_opening_leaves_none_out(times: list[float]) -> None:
    assert sorted(interleaved(sorted(times))) == sorted(times)


def test_a_path_that_is_not_alike_for_all_is_noticed() -> None:
    interval = IdleInterval(10.0)
    for seconds, survived in ((1.0, True), (2.0, False), (3.0, True), (4.0, False)):
        interval.note(seconds, survived)
    assert (interval.alive, interval.dead, interval.differs) == (1.0, 2.0, True)


def test_without_a_dead_connection_nothing_is_found() -> None:
    interval = search(math.inf, 10.0, COUNT, ROUNDS)
    assert (interval.alive, interval.dead, interval.is_narrow) == (10.0, math.inf, False)
