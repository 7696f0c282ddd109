"""Tallies are added exactly, in any order, and are the same after they were dumped and loaded."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echosvc.probe.traffic.incidents import MAX_GAPS, Gap, Kept, Mismatch
from echosvc.probe.traffic.series import Second
from echosvc.probe.traffic.tally import COUNTERS, FAULTS, HISTOGRAMS, Tally

TIMES = st.floats(0, 5, allow_subnormal=False)
ANSWERS = st.tuples(st.just("answer"), TIMES, TIMES, TIMES)
COUNTS = st.tuples(st.just("count"), st.sampled_from(COUNTERS), st.integers(0, 9), TIMES)
ERRORS = st.tuples(st.just("error"), st.sampled_from(["fin", "reset", "refused"]), TIMES)
GAPS = st.tuples(st.just("gap"), TIMES, TIMES, st.integers(0, 3))
WRONG = st.tuples(st.just("mismatch"), TIMES, st.integers(0, 3), st.binary(max_size=16))
EVENTS = st.lists(ANSWERS | COUNTS | ERRORS | GAPS | WRONG, max_size=15)
QUICK = settings(deadline=None, max_examples=10)


def tally_of(events, epoch: float = 1000.5) -> Tally:
    tally, now = Tally(epoch), 0.0
    for kind, *values in events:
        if kind == "answer":
            intended, lag, latency = values
            now = max(now, intended + lag + latency)
            tally.count_answer(intended, intended + lag, now)
        elif kind == "count":
            now = max(now, values[2])
            tally.count(values[0], values[1], now)
        elif kind == "error":
            now = max(now, values[1])
            tally.count_error(values[0], now)
        elif kind == "gap":
            tally.note_gap(Gap(values[0], values[1], values[2], "fin"))
        else:
            tally.note_mismatch(Mismatch(values[0], values[1], 7, "lost", 3, 64, values[2], b""))
    tally.count_connection(0.002, 0.001)
    tally.count_server(f"v{len(events)}")
    return tally


@given(EVENTS)
@QUICK
def test_what_is_loaded_is_what_was_dumped(events):
    tally = tally_of(events)
    text = json.dumps(tally.dump(), allow_nan=False)
    assert Tally.load(json.loads(text)) == tally
    assert json.dumps(Tally.load(json.loads(text)).dump()) == text


@given(EVENTS, EVENTS, EVENTS)
@QUICK
def test_the_order_of_additions_does_not_matter(one, two, three):
    left, right = Tally(), tally_of(three)
    for events in (one, two, three):
        left.add(tally_of(events))
    inner = tally_of(two)
    inner.add(tally_of(one))
    right.add(inner)
    assert left == right
    for name in COUNTERS:
        assert getattr(left, name) == sum(
            getattr(tally_of(events), name) for events in (one, two, three)
        )
    for name in HISTOGRAMS:
        assert getattr(left, name).total == sum(
            getattr(tally_of(events), name).total for events in (one, two, three)
        )


def test_seconds_are_aligned_by_unix_time():
    one, other = Tally(epoch=1000.5), Tally(epoch=2000.75)
    one.count_sent(3, 192, 0.2)
    one.count_sent(1, 64, 0.6)  # 1001.1
    other.count_sent(5, 320, -999.7)  # 1001.05
    one.add(other)
    assert {number: second.sent for number, second in one.series.items()} == {1000: 3, 1001: 6}


def test_times_of_the_warm_up_are_not_counted_but_its_messages_are():
    tally = Tally(begin=10.0)
    tally.count_answer(9.9, 9.9, 10.5)
    tally.count_answer(10.0, 10.0, 10.6)
    assert (tally.answered, tally.corrected.total, tally.series[10].answered) == (2, 1, 2)


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_makes_a_tally_wrong(kind):
    tally = Tally()
    tally.count_sent(1, 64, 1.0)
    tally.count_answer(1.0, 1.0, 1.1)
    assert tally.ok
    tally.count(kind, 1, 1.2)
    assert not tally.ok
    assert tally.series[1].wrong == 1


def test_an_error_or_a_message_that_is_owed_makes_a_tally_wrong():
    tally = Tally()
    tally.count_error("refused", 3.5)
    assert not tally.ok
    assert (tally.series[3].failed, tally.series[3].wrong) == (1, 0)
    tally = Tally()
    tally.count_sent(1, 64, 1.0)
    assert (tally.owed, tally.ok) == (1, False)


def test_the_longest_gaps_are_kept_whatever_the_order():
    gaps = [Gap(float(number), float(number % 1700), 1, "fin") for number in range(3000)]
    one, other = Tally(), Tally()
    for gap in gaps:
        one.note_gap(gap)
    for part in (gaps[2000:], gaps[:2000]):
        tally = Tally()
        for gap in part:
            tally.note_gap(gap)
        other.add(tally)
    assert one == other
    assert one.gaps.total == 3000
    assert [gap.seconds for gap in one.gaps.best[:3]] == [1699.0, 1698.0, 1697.0]
    assert len(one.gaps.best) == MAX_GAPS
    assert Tally.load(one.dump()) == one


def test_what_is_kept_is_bounded():
    kept: Kept[Gap] = Kept(10, lambda gap: gap.began)
    for number in range(1000):
        kept.append(Gap(float(-number), 1.0, 1, "fin"))
    assert len(vars(kept)["_all"]) < 20
    assert kept.best[0].began == -999


@given(st.lists(st.integers(0, 3_600_000_000), min_size=1, max_size=50))
@QUICK
def test_percentiles_of_a_second_are_at_most_seven_percent_too_high(latencies):
    second = Second()
    for latency in latencies:
        second.answer(latency)
    for wanted in (1, 50, 99, 100):
        true = sorted(latencies)[max(0, math.ceil(wanted / 100 * len(latencies)) - 1)]
        assert true <= second.percentile(wanted) <= true * 1.07


def test_a_second_without_answers_has_no_percentile():
    assert Second().percentile(99) == 0


def test_answers_of_the_warm_up_are_in_no_percentile_of_a_second():
    tally = Tally(begin=10.0)
    for _ in range(9):
        tally.count_answer(9.9, 9.9, 10.5)
    tally.count_answer(10.0, 10.0, 10.6)
    assert 600_000 <= tally.series[10].percentile(50) <= 600_000 * 1.07


def test_what_is_no_tally_is_refused():
    whole = Tally().dump()
    wrong = [None, [], {}, {**whole, "schema": 99}, {"schema": 1}, {**whole, "series": [1]}]
    wrong += [{**whole, "gaps": None}, {**whole, "histograms": {}}, {**whole, "series": {"x": 1}}]
    for value in (None, -1, 1.5, "7", True, 1 << 53, math.nan):
        wrong.append({**whole, "counters": {**whole["counters"], "sent": value}})
        wrong.append({**whole, "errors": {"fin": value}})
        wrong.append({**whole, "servers": {"v1": value}})
        wrong.append({**whole, "series": {"7": [1, 1, 0, value, 5, []]}})
        wrong.append({**whole, "series": {"7": [1, 1, 0, 0, 5, [[5, value]]]}})
        wrong.append({**whole, "gaps": {"total": value, "longest": []}})
    rest = [-1, "", "", "", ""]
    for gap in ([math.nan, 1.0, 0, "fin"], ["1", 1.0, 0, "fin"], [1.0, 1.0, 0, 5], [1.0, 2.0]):
        wrong.append({**whole, "gaps": {"total": 1, "longest": [[*gap, *rest]]}})
    for mismatch in ([1.0], [1.0, 1, 2, "lost", 3, 4, "zz", ""], [1.0, 1, 2, 7, 3, 4, "", ""]):
        wrong.append({**whole, "mismatches": {"total": 1, "earliest": [mismatch]}})
    why = r"no |missing|not say|of format 99"
    for dumped in wrong:
        with pytest.raises(ValueError, match=why):
            Tally.load(dumped)
