"""A decision is right, or it is not made; and it is made as soon as it is sure."""

from __future__ import annotations

import random
from functools import cache
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.share.confidence import interval
from echosvc.probe.share.decision import Judge
from echosvc.probe.share.expectation import parse_expectations
from echosvc.probe.share.settings import ERROR, MOST_TO_DECIDE

SPLIT = "v1=80±5,v2=20±5"


def judge(text: str = SPLIT, error: float = ERROR) -> Judge:
    return Judge(parse_expectations(text), error)


def verdict(counts: dict[str, int], total: int = 0, text: str = SPLIT) -> str:
    return judge(text).decide(counts, total or sum(counts.values())).verdict


def test_before_the_first_connection_nothing_is_sure() -> None:
    assert verdict({}) == "undecided"


def test_the_right_shares_pass_once_there_are_enough_connections() -> None:
    assert verdict({"v1": 800, "v2": 200}) == "undecided"
    assert verdict({"v1": 2400, "v2": 600}) == "pass"


def test_wrong_shares_fail() -> None:
    assert verdict({"v1": 60, "v2": 40}) == "undecided"
    assert verdict({"v1": 600, "v2": 400}) == "fail"


def test_shares_at_the_edge_of_what_is_tolerated_stay_undecided() -> None:
    assert verdict({"v1": 15_000, "v2": 5_000}) == "undecided"


def test_connections_that_failed_are_in_the_denominator() -> None:
    assert verdict({"v1": 2400, "v2": 600}, total=3000) == "pass"
    assert verdict({"v1": 2400, "v2": 600}, total=4000) == "fail"


def test_a_name_that_never_answers_has_the_share_0() -> None:
    assert verdict({"v1": 5000}) == "fail"
    assert verdict({"v1": 5000}, text="v1=99±2,v2=1±2") == "pass"


def test_another_name_fails_at_once_where_the_shares_leave_nothing_for_it() -> None:
    found = judge().decide({"v1": 2400, "v2": 600, "v3": 1}, 3001)
    assert (found.verdict, found.unexpected) == ("fail", ("v3",))


def test_another_name_is_no_failure_where_the_shares_leave_something_for_it() -> None:
    assert verdict({"v1": 2400, "v3": 600}, text="v1=80±5") == "pass"


def test_a_star_counts_all_other_names_together() -> None:
    text = "v1=90±5,*=10±5"
    assert verdict({"v1": 2700, "x": 150, "y": 150}, text=text) == "pass"
    assert verdict({"v1": 2000, "x": 500, "y": 500}, text=text) == "fail"


def test_a_server_that_is_called_star_is_not_all_others() -> None:
    assert verdict({"*": 2700, "x": 300}, text=r"\*=90±5,*=10±5") == "pass"


@given(st.integers(1, 5000), st.data())
def test_a_decision_says_the_same_as_the_intervals(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    found = judge().decide({"v1": count, "v2": total - count}, total)
    for share in found.shares:
        low, high = interval(share.count, total, ERROR / 2)
        outside = low > share.expectation.high or high < share.expectation.low
        inside = low > share.expectation.low and high < share.expectation.high
        expected = "fail" if outside else "pass" if inside else "undecided"
        assert share.verdict == expected


# -- simulated truth --------------------------------------------------------------------------


def _first(low: int, high: int, wanted: str, total: int) -> int:
    """The least count from ``low`` to ``high`` whose verdict is not ``wanted`` any more."""
    while low < high:
        middle = (low + high) // 2
        if verdict({"v1": middle, "v2": total - middle}) == wanted:
            low = middle + 1
        else:
            high = middle
    return low


@cache
def boundaries(total: int) -> tuple[int, int, int, int]:
    """For which counts of v1 the split passes or fails: [0, a) fail, [b, c) pass, [d, n] fail."""
    middle = round(0.8 * total)
    fails = _first(0, middle, "fail", total)
    if verdict({"v1": middle, "v2": total - middle}) == "pass":
        passes = _first(fails, middle, "undecided", total)
        ends = _first(middle, total + 1, "pass", total)
    else:
        passes = ends = middle
    return fails, passes, ends, _first(max(ends, middle), total + 1, "undecided", total)


def decided(truth: float, seed: int) -> tuple[str, int]:
    """The verdict at a truth, and after how many connections. It looks after each tenth one."""
    drawn, count = random.Random(seed), 0
    for total in range(1, MOST_TO_DECIDE + 1):
        count += drawn.random() < truth
        if total % 10 == 0:
            fails, passes, ends, above = boundaries(total)
            if count < fails or count >= above:
                return "fail", total
            if passes <= count < ends:
                return "pass", total
    return "undecided", MOST_TO_DECIDE


#: The truth, the right verdict, and how many connections it takes: half of the runs need less.
TRUTHS = ((0.8, "pass", 2400), (0.78, "pass", 6200), (0.7, "fail", 2200), (0.5, "fail", 150))


def check_runs(truth: float, right: str, connections: int, runs: int) -> None:
    """At an error of 1e-4 a wrong verdict in a thousand runs would have a probability of 10 %."""
    found = [decided(truth, seed) for seed in range(runs)]
    wrong = [verdict for verdict, _ in found if verdict not in (right, "undecided")]
    assert wrong == []
    assert sum(verdict == right for verdict, _ in found) >= 0.99 * runs
    assert median(total for _, total in found) < connections


@pytest.mark.parametrize(
    ("truth", "right", "connections"), [TRUTHS[3], (0.6, "fail", 500), (0.98, "fail", 500)]
)
def test_a_truth_is_judged_rightly(truth: float, right: str, connections: int) -> None:
    check_runs(truth, right, connections, 20)


@pytest.mark.slow
@pytest.mark.parametrize(("truth", "right", "connections"), TRUTHS)
def test_a_truth_is_judged_rightly_in_a_thousand_runs(
    truth: float, right: str, connections: int
) -> None:
    check_runs(truth, right, connections, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("truth", [0.74, 0.76])
def test_a_truth_near_the_edge_is_not_judged_wrongly(truth: float) -> None:
    wrong = "pass" if truth < 0.75 else "fail"
    assert [decided(truth, seed)[0] for seed in range(60)].count(wrong) == 0


def test_it_errs_as_rarely_as_it_says_at_an_error_that_can_be_seen() -> None:
    """The truth is at the edge, where either verdict would be as wrong as it can be."""
    careless, wrong = judge(error=0.2), 0
    for seed in range(100):
        drawn, count = random.Random(seed), 0
        for total in range(1, 401):
            count += drawn.random() < 0.7499
            counts = {"v1": count, "v2": total - count}
            if total % 5 == 0 and careless.decide(counts, total).verdict == "pass":
                wrong += 1
                break
    assert wrong <= 0.2 * 100
