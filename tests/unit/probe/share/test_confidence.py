"""The interval of a share is what the formula says, and holds at every moment."""

from __future__ import annotations

import random
from math import comb, exp, inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.share.confidence import excludes, interval, log_evidence

#: Successes, connections, error, and the ends of the interval, which were found once by bisection
#: with exact fractions.
RECORDED = (
    (80, 100, 1e-4, 0.57313, 0.94134),
    (1712, 2140, 1e-4, 0.75350, 0.84164),
    (0, 10, 0.05, 0.0, 0.41689),
    (10, 10, 0.05, 0.58311, 1.0),
    (350, 500, 1e-4, 0.59356, 0.79364),
)


def exact_evidence(successes: int, total: int, share: float) -> float:
    """The same by whole numbers: the mixture is ``1 / ((n + 1) C(n, s))``."""
    likelihood = comb(total, successes) * share**successes * (1 - share) ** (total - successes)
    return -log((total + 1) * likelihood)


@pytest.mark.parametrize(("successes", "total", "share"), [(8, 10, 0.8), (3, 9, 0.5), (0, 4, 0.1)])
def test_the_evidence_is_that_of_a_uniform_mixture(
    successes: int, total: int, share: float
) -> None:
    found = log_evidence(successes, total, share)
    assert found == pytest.approx(exact_evidence(successes, total, share))


def test_nothing_speaks_against_a_share_before_the_first_connection() -> None:
    assert log_evidence(0, 0, 0.3) == 0.0
    assert interval(0, 0, 1e-4) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "total"), [(1, 5), (4, 5)])
def test_a_share_of_0_or_1_is_excluded_by_what_it_cannot_give(successes: int, total: int) -> None:
    assert log_evidence(successes, total, 0.0) == inf
    assert log_evidence(successes, total, 1.0) == inf


@pytest.mark.parametrize(("successes", "total", "error", "low", "high"), RECORDED)
def test_the_interval_is_as_recorded(
    successes: int, total: int, error: float, low: float, high: float
) -> None:
    assert interval(successes, total, error) == pytest.approx((low, high), abs=3e-5)


@given(st.integers(1, 5000), st.data(), st.sampled_from([0.05, 1e-4, 1e-9]))
def test_the_interval_contains_what_was_seen_and_ends_where_shares_are_excluded(
    total: int, data: st.DataObject, error: float
) -> None:
    successes = data.draw(st.integers(0, total))
    low, high = interval(successes, total, error)
    assert 0 <= low <= successes / total <= high <= 1
    for edge, outwards in ((low, -1e-9), (high, 1e-9)):
        if 0 < edge < 1:
            assert excludes(successes, total, edge + outwards, error)
            assert not excludes(successes, total, edge - 1e-6 * outwards / 1e-9, error)


@given(st.integers(1, 2000), st.data())
def test_a_smaller_error_makes_the_interval_wider(total: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, total))
    inner, outer = interval(successes, total, 0.01), interval(successes, total, 1e-4)
    assert outer[0] <= inner[0]
    assert inner[1] <= outer[1]


def ever_wrong(truth: float, error: float, connections: int, seed: int) -> bool:
    """Whether the truth is outside of the interval at any moment of one run."""
    drawn, successes = random.Random(seed), 0
    for total in range(1, connections + 1):
        successes += drawn.random() < truth
        if excludes(successes, total, truth, error):
            return True
    return False


@pytest.mark.parametrize("truth", [0.5, 0.8, 0.98])
def test_over_all_moments_it_is_wrong_no_more_often_than_it_says(truth: float) -> None:
    runs = [ever_wrong(truth, 0.1, 300, seed) for seed in range(200)]
    assert 0 < sum(runs) <= 0.1 * len(runs)  # an interval for a fixed number errs far more often


def test_the_evidence_is_a_martingale_that_begins_at_1() -> None:
    """Its expectation after any number of connections is 1, whatever the truth is."""
    for total, truth in ((1, 0.2), (7, 0.2), (20, 0.7)):
        expected = sum(
            comb(total, s)
            * truth**s
            * (1 - truth) ** (total - s)
            * exp(log_evidence(s, total, truth))
            for s in range(total + 1)
        )
        assert expected == pytest.approx(1.0)
