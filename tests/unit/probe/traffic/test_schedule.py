"""The intended times are those of the rate, and the shares together are the whole."""

from __future__ import annotations

import math
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echosvc.probe.traffic.schedule import ClosedLoop, OpenLoop, Schedule, Step

STEPS = st.lists(
    st.builds(Step, st.sampled_from([0.0, 0.5, 3.0, 10.0, 99.0]), st.sampled_from([0.25, 1, 7])),
    min_size=1,
    max_size=4,
).map(tuple)
SCHEDULES = st.builds(
    Schedule, STEPS, arrivals=st.sampled_from(["fixed", "poisson"]), seed=st.integers(0, 9)
)


@given(SCHEDULES, st.integers(1, 5), st.integers(1, 4))
@settings(deadline=None)
def test_the_shares_of_machines_and_connections_are_together_the_whole(schedule, shards, each):
    parts = [
        time
        for shard in range(shards)
        for connection in range(each)
        for time in schedule.share(shard, shards).share(connection, each).times()
    ]
    assert sorted(parts) == list(schedule.times())


@given(SCHEDULES)
@settings(deadline=None)
def test_times_are_in_order_and_end_with_the_last_step(schedule):
    times = list(schedule.times())
    assert times == sorted(times)
    assert all(0 <= time < sum(step.seconds for step in schedule.steps) + 1e-9 for time in times)


@given(STEPS)
@settings(deadline=None)
def test_each_step_has_the_messages_of_its_rate(steps):
    times, start = list(Schedule(steps).times()), 0.0
    for step in steps:
        end = start + step.seconds
        found = sum(start - 1e-9 <= time < end - 1e-9 for time in times)
        assert abs(found - step.rate * step.seconds) <= 1
        start = end


def test_a_fixed_rate_has_equal_gaps_and_no_end():
    times = list(islice(Schedule.at_rate(4).times(), 5))
    assert times == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_pause_moves_what_follows():
    steps = (Step(2, 1), Step(0, 3), Step(1, 2))
    assert list(Schedule(steps).times()) == [0.0, 0.5, 4.0, 5.0]


def test_poisson_arrivals_have_the_rate_and_exponential_gaps():
    times = list(Schedule((Step(1000, 20),), "poisson", seed=5).times())
    gaps = [after - before for before, after in pairwise(times)]
    assert abs(len(times) - 20_000) < 5 * math.sqrt(20_000)
    longer = sum(gap > 0.001 for gap in gaps) / len(gaps)
    assert abs(longer - math.exp(-1)) < 0.02
    variance = sum((gap - 0.001) ** 2 for gap in gaps) / len(gaps)
    assert abs(variance / 1e-6 - 1) < 0.1


def test_a_seed_repeats_poisson_arrivals_and_another_does_not():
    one, same, other = (
        list(islice(Schedule((Step(10),), "poisson", seed=seed).times(), 9)) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_a_closed_loop_fills_its_depth_at_once():
    loop = ClosedLoop(depth=2)
    assert [loop.take(5.0, in_flight) for in_flight in range(3)] == [5.0, 5.0, None]
    assert loop.next_time == math.inf


def test_an_open_loop_returns_what_was_due_before_with_its_intended_time():
    loop = OpenLoop(Schedule.at_rate(10, 0.35), start=100.0)
    assert loop.take(99.9, 0) is None
    assert loop.next_time == 100.0
    assert [loop.take(100.25, 50) for _ in range(4)] == pytest.approx([100.0, 100.1, 100.2, None])
    assert loop.next_time == pytest.approx(100.3)
    assert loop.take(200.0, 0) == pytest.approx(100.3)
    assert loop.take(1e9, 0) is None
    assert loop.next_time == math.inf


def test_what_is_no_schedule_is_refused():
    for wrong in ({"rate": -1}, {"rate": math.inf}, {"rate": 1, "seconds": 0}, {"rate": math.nan}):
        with pytest.raises(ValueError, match="no step"):
            Step(**wrong)
    with pytest.raises(ValueError, match="fixed or poisson, not 'bursts'"):
        Schedule((), "bursts")
    with pytest.raises(ValueError, match="no share 2 of 2"):
        Schedule.at_rate(1).share(2, 2)
    with pytest.raises(ValueError, match="too few"):
        ClosedLoop(0)
