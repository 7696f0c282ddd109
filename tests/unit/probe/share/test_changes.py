"""A change of the shares is found with its time, and none where there was none."""

from __future__ import annotations

import random

import pytest

from echosvc.probe.share.changes import Change, find_changes
from echosvc.probe.share.timeline import MOST_INTERVALS, SHORTEST, Timeline

SECONDS, RATE = 60.0, 100


def watched(*shares: tuple[float, float], seed: int = 1, slow: float = 0.0) -> Timeline:
    """A timeline of two servers: from when on the first one has which share."""
    drawn, timeline = random.Random(seed), Timeline(SECONDS)
    for number in range(int(SECONDS * RATE)):
        when = number / RATE
        share = next(each for begin, each in reversed(shares) if begin <= when)
        timeline.add(when, "v1" if drawn.random() < share else "v2", slow)
    return timeline


def changes(timeline: Timeline, end: float = SECONDS, error: float = 1e-4) -> list[Change]:
    return find_changes(timeline, end, error)


@pytest.mark.parametrize("seed", range(5))
def test_where_the_shares_stay_there_is_no_change(seed: int) -> None:
    assert changes(watched((0, 0.8), seed=seed)) == []


def test_no_change_is_seen_in_nothing() -> None:
    assert changes(Timeline(SECONDS)) == []
    assert changes(Timeline(0.01), 0.0) == []


@pytest.mark.parametrize("after", [0.5, 0.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_change_is_found_and_its_time_is_within_what_is_said(after: float, seed: int) -> None:
    (found,) = changes(watched((0, 0.8), (20.02, after), seed=seed))
    assert found.earliest <= 20.02 <= found.latest
    assert found.earliest <= found.at <= found.latest
    assert found.latest - found.earliest < 6
    assert found.before.counts["v1"] / found.before.total == pytest.approx(0.8, abs=0.05)
    assert found.after.counts.get("v1", 0) / found.after.total == pytest.approx(after, abs=0.05)


def test_a_full_change_is_found_to_a_fraction_of_a_second() -> None:
    (found,) = changes(watched((0, 1.0), (30.02, 0.0)))
    assert found.earliest <= 30.02 <= found.latest
    assert found.latest - found.earliest < 0.5


def test_two_changes_are_two() -> None:
    first, second = changes(watched((0, 1.0), (15.02, 0.5), (45.02, 0.0)))
    assert first.earliest <= 15.02 <= first.latest < second.earliest <= 45.02 <= second.latest
    assert first.after == second.before


def test_a_short_time_with_other_shares_is_two_changes() -> None:
    """It is one sixtieth of the time: in the whole, no single change explains it."""
    first, second = changes(watched((0, 0.8), (30.02, 0.0), (31.02, 0.8)))
    assert first.earliest <= 30.02 <= first.latest <= second.earliest <= 31.02 <= second.latest
    assert first.after.counts["v2"] > 0.95 * first.after.total


def test_a_change_that_goes_on_for_long_is_said_where_it_is_sure() -> None:
    """A ramp has no moment of change; but each that is said has other shares before and after."""
    ramp = watched(*((float(second), 1 - second / SECONDS) for second in range(60)))
    found = changes(ramp)
    assert 1 < len(found) < 10
    shares = [each.before.counts["v1"] / each.before.total for each in found]
    assert shares == sorted(shares, reverse=True)


def test_a_change_of_failures_is_one() -> None:
    timeline = Timeline(SECONDS)
    for number in range(6000):
        timeline.add(number / RATE, "v1" if number < 3000 or number % 3 else None)
    (found,) = changes(timeline)
    assert found.earliest <= 30.0 <= found.latest
    assert found.before.failed == 0 < found.after.failed


def test_a_slow_answer_makes_the_time_less_certain() -> None:
    """The server may be chosen at any moment until it answers."""
    (quick,), (slow,) = (changes(watched((0, 1), (30.02, 0), slow=each)) for each in (0.0, 2.0))
    assert slow.latest == pytest.approx(quick.latest + 2.0)
    assert slow.earliest == quick.earliest


def test_a_change_is_seen_before_the_end_of_the_time() -> None:
    timeline = Timeline(SECONDS)
    for number in range(2000):
        timeline.add(number / RATE, "v1" if number < 1000 else "v2")
    (found,) = changes(timeline, 20.0)
    assert found.earliest <= 10.0 <= found.latest


def test_no_change_is_said_where_none_was_more_often_than_is_stated() -> None:
    few = [Timeline(2.0) for _ in range(60)]
    for seed, timeline in enumerate(few):
        drawn = random.Random(seed)
        for number in range(200):
            timeline.add(number / 100, "v1" if drawn.random() < 0.5 else "v2")
    assert sum(bool(changes(each, 2.0, 0.2)) for each in few) <= 0.2 * len(few)


def test_an_interval_has_a_part_of_the_time_and_is_not_too_short() -> None:
    assert (Timeline(1.0).size, Timeline(1.0).width) == (20, SHORTEST)
    assert (Timeline(7000.0).size, Timeline(7000.0).width) == (MOST_INTERVALS, 7.0)
    assert (Timeline(0.01).size, Timeline(0.01).width) == (1, 0.01)


def test_windows_have_all_connections_once() -> None:
    timeline = watched((0, 0.8))
    timeline.add(SECONDS + 5, None)
    timeline.add(-1.0, None)
    windows = timeline.windows(10, SECONDS)
    assert len(windows) == 10
    assert sum(each.total for each in windows) == 6002
    assert (windows[0].failed, windows[-1].failed) == (1, 1)
    assert [each.start for each in windows] == pytest.approx([6.0 * n for n in range(10)])
