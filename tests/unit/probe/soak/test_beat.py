"""Messages are due at an interval, and what was missed is left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.soak.beat import MAX_IN_FLIGHT, Beat
from echosvc.probe.soak.stall_watch import StallWatch


def test_a_message_is_due_each_interval() -> None:
    beat = Beat(0.5, 10.0)
    assert beat.take(9.9, 0) is None
    assert beat.take(10.1, 0) == 10.0
    assert beat.take(10.2, 0) is None
    assert beat.next_time == 10.5


def test_after_a_gap_one_message_is_due_at_once_and_the_beat_goes_on() -> None:
    beat = Beat(0.5, 10.0)
    assert beat.take(25.75, 0) == 25.5
    assert beat.take(25.75, 0) is None
    assert beat.next_time == 26.0


def test_nothing_is_due_while_too_much_waits_and_time_goes_on() -> None:
    beat = Beat(0.5, 10.0)
    assert beat.take(10.0, MAX_IN_FLIGHT) is None
    assert beat.next_time == 10.5


@given(st.floats(1e-3, 100), st.floats(0, 1e9), st.floats(0, 1e6))
def test_whatever_is_rounded_the_next_time_is_in_the_future(interval, start, later) -> None:
    beat, now = Beat(interval, start), start + later
    intended = beat.take(now, 0)
    assert intended is not None
    assert intended <= now < beat.next_time
    assert beat.take(now, 0) is None


def test_only_a_long_pause_is_a_stall() -> None:
    watch = StallWatch(0.5, 10.0)
    assert watch.seconds(10.5) == 0
    assert watch.seconds(11.25) == 0.75
    assert watch.seconds(11.5) == 0
