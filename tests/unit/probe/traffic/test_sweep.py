"""The search for the highest rate that keeps an objective."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.traffic.load_result import LoadResult
from echosvc.probe.traffic.merge import RunResult
from echosvc.probe.traffic.sweep import NEAR, Objective, RateSearch, SweepResult, SweepStep
from echosvc.probe.traffic.tally import Tally


def run_at(latency: float, lost: int = 0) -> LoadResult:
    tally = Tally()
    tally.count_sent(1, 64, 0.0)
    tally.count_answer(0.0, 0.0, latency)
    tally.count("lost", lost, 0.0)
    return LoadResult(RunResult("1", "x", {}, (), tally), 1.0)


@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(0.1, 1e7))
def test_the_best_rate_is_near_the_limit_and_keeps_the_objective(one, other, limit):
    low, high = sorted((one, other))
    search, tried = RateSearch(low, high), []
    while rate := search.next_rate:
        tried.append(rate)
        assert len(tried) < 60
        search.note(rate <= limit)
    assert all(low <= rate <= high for rate in tried)
    if low > limit:
        assert (search.best, tried) == (0.0, [low])
    else:
        assert search.best <= limit
        assert search.best >= min(high, limit) / (NEAR + 0.01)


@pytest.mark.parametrize(
    ("text", "percentile", "limit", "shown"),
    [
        ("p99<5ms", 99.0, 0.005, "p99<5ms"),
        ("p99.9 < 20ms", 99.9, 0.02, "p99.9<20ms"),
        ("p9999<500us", 99.99, 0.0005, "p99.99<500µs"),
        ("max<1.5s", 100.0, 1.5, "max<1.5s"),
        ("max<1m", 100.0, 60.0, "max<60s"),
        ("p50<.5ms", 50.0, 0.0005, "p50<500µs"),
    ],
)
def test_an_objective_is_read_and_shown(text, percentile, limit, shown):
    objective = Objective.parse(text)
    assert (objective.percentile, objective.limit) == (percentile, pytest.approx(limit))
    assert str(objective) == shown


@pytest.mark.parametrize(
    "text", ["", "p99", "p99<5", "p99>5ms", "p1<5ms", "p99<0ms", "p99<5msx", "p99<1e400s"]
)
def test_what_is_no_objective_is_refused(text):
    with pytest.raises(ValueError, match="p99<5ms"):
        Objective.parse(text)


def test_an_objective_is_kept_below_its_limit_and_without_loss():
    objective = Objective.parse("p99<5ms")
    assert objective.is_kept(run_at(0.0049))
    assert not objective.is_kept(run_at(0.005))
    assert not objective.is_kept(run_at(0.001, lost=1))
    assert Objective.parse("max<6ms").is_kept(run_at(0.005))


def test_the_result_says_the_highest_rate_that_keeps_it_or_why_there_is_none():
    objective = Objective.parse("p99<5ms")
    steps = (SweepStep(10, run_at(0.001), True), SweepStep(20, run_at(0.01), False))
    found = SweepResult(objective, steps, True)
    assert found.why == "the highest rate that keeps p99<5ms is 10 messages a second"
    assert found.exit_status == 0
    none = SweepResult(objective, steps[1:], True)
    assert none.why == "no rate that was tried keeps p99<5ms"
    assert none.exit_status == 1
    stopped = SweepResult(objective, steps, False)
    assert "as far as was tried: at 20 the run is OK" in stopped.why
    assert stopped.exit_status == 3


def test_a_step_shows_the_latency_that_the_objective_is_about():
    step = SweepStep(10, run_at(0.002), True)
    assert "/s  p42     2 ms  kept" in step.describe(Objective.parse("p42<5ms"))
    assert "/s  max     2 ms  kept" in step.describe(Objective.parse("max<5ms"))


def test_a_step_without_an_answer_shows_no_latency():
    result = LoadResult(RunResult("1", "x", {}, (), Tally()), 1.0)
    assert "p99        -  not kept" in SweepStep(10, result, False).describe(Objective(99.0, 0.005))
