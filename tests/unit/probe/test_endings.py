"""What the ends of several connections prove together."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from echosvc.probe.engine.endings import (
    Ending,
    busy_age,
    count_moments,
    ended_at_once,
    find_lifetime,
    is_repeated,
)


def ending(opened: float, ended: float, busy: bool = True, reason: str = "FIN") -> Ending:
    return Ending(busy, opened, ended if busy else opened, ended, reason)


def watched(*ages: float, idle: float | None = None, later: float = 0.3) -> list[Ending]:
    """Busy connections that were opened one after the other, and one that rested."""
    found = [ending(later * number, later * number + age) for number, age in enumerate(ages)]
    return found + ([] if idle is None else [ending(0.0, idle, busy=False)])


@given(age=st.floats(0.5, 600.0), error=st.floats(-0.009, 0.009), later=st.floats(0.1, 0.5))
def test_one_age_of_busy_connections_is_a_limit_of_life(
    age: float, error: float, later: float
) -> None:
    found = find_lifetime(watched(age, age * (1 + error), later=later), busy=2)
    assert found is not None
    assert found.longest == pytest.approx(age, rel=0.01)
    assert not found.idle_too
    assert is_repeated(age, found)


def test_a_connection_that_rested_and_ended_at_that_age_is_named() -> None:
    found = find_lifetime(watched(3.0, 3.01, idle=3.0), busy=2)
    assert found is not None
    assert found.describe() == "connections live 3.01 s at most, busy or not: then comes FIN"
    sooner = find_lifetime(watched(3.0, 3.01, idle=1.0), busy=2)
    assert sooner is not None
    assert "though they are busy" in sooner.describe()


@given(moment=st.floats(1.0, 600.0), later=st.floats(0.2, 0.5))
def test_one_moment_is_no_limit_of_life(moment: float, later: float) -> None:
    """Unless the difference of the ages is too small to be seen: then the age must come again."""
    endings = watched(moment, moment - later, idle=moment, later=later)
    assert ended_at_once(endings)
    found = find_lifetime(endings, busy=2)
    assert found is None or later <= 0.02 * found.longest


def test_ages_that_a_busy_machine_makes_longer_are_one_limit_of_life() -> None:
    """The ends are as far apart as the openings, which those of a restart are not."""
    rested = [ending(0.0, 0.8 + late, busy=False) for late in (0.0, 0.02, 0.09)]
    found = find_lifetime([*watched(0.8, 0.92, 0.85), *rested], busy=2)
    assert found is not None
    assert found.shortest == 0.8
    assert found.idle_too


def test_ends_at_two_moments_are_two_restarts() -> None:
    """The second connections were opened after the first restart."""
    endings = [*watched(0.3, idle=0.3), *(ending(1.0, 3.0 + 0.01 * late) for late in range(3))]
    assert count_moments(endings) == 2
    assert ended_at_once(endings)
    assert find_lifetime(endings, busy=2) is None


def test_a_limit_that_varies_is_one_where_a_connection_at_rest_ends_too() -> None:
    found = find_lifetime(watched(3.0, 4.2, idle=3.5), busy=2)
    assert found is not None
    assert "live 3 s to 4.2 s at most" in found.describe()


def test_a_limit_of_messages_is_no_limit_of_life() -> None:
    """Both have sent as many: at their rates at different ages, and the one at rest none."""
    assert find_lifetime(watched(2.0, 5.0), busy=2) is None


def test_the_end_of_one_of_two_busy_connections_proves_nothing() -> None:
    assert find_lifetime(watched(2.0, idle=2.0), busy=2) is None
    assert find_lifetime([], busy=2) is None
    assert busy_age([]) == 0.0


@given(first=st.floats(0.5, 50.0), again=st.floats(0.5, 50.0))
def test_an_age_is_repeated_only_by_the_same_age(first: float, again: float) -> None:
    found = find_lifetime(watched(again, again, later=0.0), busy=2)
    assert found is not None
    difference, most = abs(first - again), max(0.15, 2 * 0.02 * again)
    assume(abs(difference - most) > 1e-6)
    assert is_repeated(first, found) == (difference < most)


def test_ends_some_time_apart_are_not_one_event() -> None:
    assert not ended_at_once([ending(0, 1.0), ending(0, 1.2)])
    assert not ended_at_once([ending(0, 1.0)])
