"""The timeline says when each connection was not answered, why, and what happened at once."""

from __future__ import annotations

import pytest

from echosvc.probe.soak.connection_record import End
from echosvc.probe.soak.events import GapBegan, Opened, Stall
from echosvc.probe.soak.result import Gap, Mark, Outage
from echosvc.probe.soak.timeline import MAX_KEPT, MAX_MARKS
from tests.unit.probe.soak.timelines import EPOCH, INTERVAL, SILENCE, RecordedTimeline


def near(value: float) -> object:
    return pytest.approx(value, abs=1e-6)  # Unix times have no more digits


def test_a_gap_lasts_from_the_end_of_a_connection_to_the_first_answer_of_the_next():
    timeline = RecordedTimeline(1)
    timeline.answer(1, 7, 9.9)
    timeline.cut(1, 10.0)
    timeline.fail(1, "refused", 10.1)
    timeline.fail(1, "refused", 10.2)
    timeline.open(1, "here:9", "there:2", "v2", 10.5)
    gap = timeline.only_gap
    assert (gap.began, gap.seconds) == (near(EPOCH + 10), near(0.5))
    assert (gap.cause, gap.end, gap.is_break) == ("fin", "fin", True)
    assert (gap.last, gap.since_answer) == (7, near(0.6))
    assert (gap.before, gap.after) == ("v1", "v2")
    assert (gap.local, gap.peer) == ("here:1v1", "there:1")
    assert (gap.local_after, gap.peer_after) == ("here:9", "there:2")
    assert gap.failures == {"refused": 2}
    assert timeline.breaks == 1


def test_a_gap_begins_with_the_message_that_was_not_answered_before_the_end():
    timeline = RecordedTimeline(1)
    timeline.end(1, End("reset", 2, 128, 64, since=9.8), 10.0)
    timeline.reopen(1, 10.1)
    gap = timeline.only_gap
    assert gap.began == near(EPOCH + 9.8)
    assert gap.seconds == near(0.3)
    assert (gap.unanswered, gap.unanswered_bytes, gap.acknowledged) == (2, 128, 64)


def test_a_gap_begins_when_the_end_came_and_not_when_it_was_read():
    timeline = RecordedTimeline(2)
    timeline.answer(2, 5, 9.95)
    timeline.end(1, End("fin", came=9.9), 10.0)
    timeline.end(2, End("fin", came=9.9), 10.0)
    for number in (1, 2):
        timeline.reopen(number, 10.5)
    one, other = timeline.of(Gap)
    assert one.began == near(EPOCH + 9.9)
    assert other.began == near(EPOCH + 9.95)  # what was answered was not in a gap


def test_a_silence_that_passes_is_a_gap_and_no_break():
    timeline = RecordedTimeline(1)
    timeline.check(1, 5.0, 5.0 + SILENCE)
    assert not timeline.of(GapBegan)
    timeline.check(1, 5.0, 6.1)
    timeline.check(1, 5.0, 6.3)
    timeline.answer(1, 3, 8.0)
    (began,), gap = timeline.of(GapBegan), timeline.only_gap
    assert began.when == gap.began == near(EPOCH + 5)
    assert (gap.seconds, gap.cause, gap.end) == (near(3.0), "silence", "")
    assert gap.local_after == ""
    assert (timeline.breaks, timeline.noticed) == (0, 1)


def test_a_connection_that_ends_after_a_silence_is_one_gap():
    timeline = RecordedTimeline(1)
    timeline.check(1, 5.0, 6.5)
    timeline.end(1, End("timeout", since=5.0), 15.0)
    timeline.reopen(1, 16.0)
    gap = timeline.only_gap
    assert (gap.cause, gap.end, gap.seconds) == ("silence", "timeout", near(11.0))


def test_an_end_and_attempts_that_fail_are_one_gap():
    timeline = RecordedTimeline(1)
    timeline.cut(1, 10.0, "reset")
    for when in (11.0, 12.0):
        timeline.fail(1, "fin", when)
    timeline.reopen(1, 13.0)
    gap = timeline.only_gap
    assert (gap.cause, gap.failures, gap.local) == ("reset", {"fin": 2}, "here:1v1")
    assert (timeline.breaks, timeline.failures) == (1, {"fin": 2})


def test_a_server_that_is_not_there_at_the_beginning_is_a_gap_and_no_break():
    timeline = RecordedTimeline(1, answered=False)
    timeline.fail(1, "refused", 0.1)
    timeline.reopen(1, 4.0, "v1")
    gap = timeline.only_gap
    assert (gap.began, gap.seconds, gap.cause) == (near(EPOCH), near(4.0), "refused")
    assert (gap.is_break, gap.since_answer, gap.last, gap.local) == (False, None, -1, "")
    assert timeline.breaks == 0


def test_what_is_not_answered_at_the_end_is_a_gap_without_an_answer():
    timeline = RecordedTimeline(2)
    timeline.cut(2, 10.0)
    timeline.finish(12.0)
    gap = timeline.only_gap
    assert (gap.answered, gap.seconds, gap.after) == (False, near(2.0), "")
    assert timeline.unanswered == 1
    assert timeline.only_outage.connection == 2


def test_a_connection_that_was_never_open_is_not_answered_at_the_end():
    timeline = RecordedTimeline(3, answered=False)
    timeline.reopen(1, 0.5)
    timeline.finish(0.9)
    assert timeline.unanswered == 2
    assert timeline.up == 1
    assert not timeline.of(Gap)


def test_a_gap_of_one_connection_is_told_apart_from_one_of_all_at_once():
    timeline = RecordedTimeline(20)
    timeline.cut(7, 10.0)
    timeline.reopen(7, 10.2, "v1")
    timeline.advance(20.0)
    for number in range(1, 21):
        timeline.cut(number, 30.0 + number / 1000, "reset")
    for number in range(1, 21):
        timeline.reopen(number, 30.5 + number / 1000, "v2")
    timeline.advance(40.0)
    one, all_of_them = timeline.of(Outage)
    assert (one.connection, one.connections, one.together) == (7, 1, 1)
    assert (all_of_them.connection, all_of_them.connections) == (0, 20)
    assert (all_of_them.together, all_of_them.most) == (20, 20)
    assert all_of_them.all_out == near(30.501 - 30.020)
    assert all_of_them.seconds == near(30.520 - 30.001)
    assert all_of_them.causes == {"reset": 20}
    assert (all_of_them.before, all_of_them.after) == ({"v1": 20}, {"v2": 20})
    assert [gap.outage for gap in timeline.of(Gap)] == [1] + [2] * 20


def test_gaps_that_follow_each_other_are_not_said_to_be_at_once():
    timeline = RecordedTimeline(3)
    for number in (1, 2, 3):
        timeline.cut(number, 10.0 * number)
        timeline.reopen(number, 10.0 * number + 11.0)
    timeline.finish(60.0)
    outage = timeline.only_outage
    assert (outage.connections, outage.together, outage.most) == (3, 1, 2)
    assert outage.all_out == 0


def test_two_gaps_of_one_connection_are_not_two_connections_at_the_same_moment():
    timeline = RecordedTimeline(2)
    for when in (10.0, 10.2):
        timeline.cut(1, when)
        timeline.reopen(1, when + 0.1)
    timeline.cut(2, 11.0)
    timeline.reopen(2, 11.5)
    timeline.finish(20.0)
    outage = timeline.only_outage
    assert (outage.gaps, outage.connections, outage.together, outage.most) == (3, 2, 1, 1)


def test_a_silence_that_is_noticed_late_joins_the_outage_that_it_overlaps():
    timeline = RecordedTimeline(2)
    timeline.cut(1, 10.0)
    timeline.reopen(1, 10.3)
    timeline.advance(10.4)
    timeline.check(2, 10.1, 11.2)
    timeline.answer(2, 9, 11.5)
    timeline.advance(20.0)
    outage = timeline.only_outage
    assert (outage.connections, outage.seconds) == (2, near(1.5))


def test_marks_are_numbered_and_have_names():
    timeline = RecordedTimeline(1)
    timeline.mark("", 1.0)
    timeline.mark("the upgrade begins", 2.0)
    assert timeline.of(Mark) == [
        Mark(1, EPOCH + 1, ""),
        Mark(2, EPOCH + 2, "the upgrade begins"),
    ]


def test_a_silence_while_this_process_stood_still_is_no_gap():
    timeline = RecordedTimeline(1)
    timeline.stall(5.0, 10.0)
    timeline.check(1, 5.2, 10.0)
    timeline.answer(1, 1, 10.1)
    assert not timeline.of(Gap)
    assert timeline.of(Stall) == [Stall(EPOCH + 10, 5.0)]
    assert (timeline.stalls, timeline.longest_stall) == (1, 5.0)


def test_a_silence_that_goes_on_after_this_process_stood_still_is_counted_from_then_on():
    timeline = RecordedTimeline(1)
    timeline.stall(5.0, 10.0)
    timeline.check(1, 5.2, 11.5)
    timeline.answer(1, 1, 12.0)
    assert timeline.only_gap.began == near(EPOCH + 10)


def test_each_connection_that_is_opened_is_announced():
    timeline = RecordedTimeline(1)
    timeline.answer(1, 1, 0.2)
    timeline.cut(1, 1.0)
    timeline.reopen(1, 1.5, "v2")
    opened = timeline.of(Opened)
    assert [(each.local, each.server) for each in opened] == [
        ("here:1v1", "v1"),
        ("here:1v2", "v2"),
    ]
    assert timeline.servers == {"v1": 1, "v2": 1}


def test_memory_is_bounded_and_nothing_is_left_out_of_the_counts():
    timeline = RecordedTimeline(1)
    timeline._listen = lambda _: None
    rounds = 3 * MAX_KEPT + 17
    for at in range(rounds):
        timeline.cut(1, 10.0 * at)
        timeline.reopen(1, 10.0 * at + (5.0 if at == MAX_KEPT + 9 else 0.5))
        timeline.advance(10.0 * at + 9)
        timeline.mark("again", 10.0 * at + 9)
    timeline.finish(10.0 * rounds)
    assert timeline.gaps.total == timeline.outages.total == timeline.breaks == rounds
    assert len(timeline.gaps.kept()) == len(timeline.outages.kept()) == 2 * MAX_KEPT
    assert max(gap.seconds for gap in timeline.gaps.kept()) == near(5.0) == timeline.longest
    assert timeline.mark_count == rounds
    assert len(timeline.marks) == min(rounds, MAX_MARKS)
    assert not timeline._membership


def test_a_clean_run_has_no_gap():
    timeline = RecordedTimeline(5)
    for turn in range(200):
        for number in range(1, 6):
            timeline.check(number, turn * INTERVAL, turn * INTERVAL + 0.1)
            timeline.answer(number, turn, turn * INTERVAL + 0.1)
        timeline.advance(turn * INTERVAL + 0.1)
    timeline.finish(100.0)
    assert not timeline.of(GapBegan)
    assert not timeline.of(Outage)
    assert timeline.up == 5
