"""What a soak keeps for days is bounded, and what it waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.soak.backoff import BURST, RATE, SHORTEST, AttemptRate, wait_before_attempt
from echosvc.probe.soak.kept import LongestAndEarliest
from echosvc.probe.soak.result import Gap, Slice
from echosvc.probe.soak.slices import MAX_SLICES, Slices
from tests.support.examples import examples


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 5))
@examples(200)
def test_the_longest_and_the_earliest_are_kept(lengths, limit):
    kept: LongestAndEarliest[Gap] = LongestAndEarliest(limit)
    gaps = [Gap(at, 1, at, length, "fin") for at, length in enumerate(lengths, 1)]
    for gap in gaps:
        kept.add(gap)
    later = sorted(gaps[limit:], key=lambda gap: (-gap.seconds, gap.number))[:limit]
    assert list(kept.kept()) == sorted([*gaps[:limit], *later], key=lambda gap: gap.began)
    assert kept.total == len(gaps)


@given(st.lists(st.tuples(st.floats(0, 5000), st.integers(0, 9)), max_size=50))
@examples(200)
def test_slices_are_bounded_and_lose_nothing(notes):
    slices = Slices()
    for offset, count in sorted(notes):
        slices.note(offset, Slice(count, 10 * count, count))
    assert len(slices.slices) <= MAX_SLICES
    assert sum(each.answered for each in slices.slices) == sum(count for _, count in notes)
    for place, each in enumerate(slices.slices):
        begin, end = place * slices.seconds, (place + 1) * slices.seconds
        inside = [count for offset, count in notes if begin <= offset < end]
        assert each.largest == 10 * max(inside, default=0)
        assert each.fewest == min(inside, default=-1)


def test_a_week_has_a_bounded_number_of_slices():
    slices = Slices()
    for hour in range(24 * 7):
        slices.note(3600.0 * hour, Slice(1))
    assert MAX_SLICES / 2 < len(slices.slices) <= MAX_SLICES
    assert slices.seconds == 1024


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_waits_grow_with_the_gap_and_have_a_limit(chance):
    waits, elapsed = [], 0.0
    while elapsed < 60:
        waits.append(wait_before_attempt(elapsed, 1.0, chance))
        elapsed += waits[-1]
    assert waits == sorted(waits)
    assert SHORTEST / 2 <= waits[0] <= SHORTEST
    assert 0.5 <= waits[-1] <= 1.0
    assert len(waits) < 300


def test_many_attempts_are_spread_and_a_few_are_not():
    now = [1000.0]
    rate = AttemptRate(lambda: now[0])
    waits = [rate.reserve() for _ in range(5000)]
    assert max(waits[:BURST]) == 0.0
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx((5000 - BURST) / RATE, rel=0.01)
    now[0] += 20
    assert rate.reserve() == 0.0
