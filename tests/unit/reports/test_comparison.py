"""Two results side by side, and the conditions that fail."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.reports.comparison import Comparison, comparison_document, comparison_text
from echosvc.reports.conditions import Condition, ConditionError
from echosvc.reports.load_figures import UNITS, Figure
from tests.unit.reports.load_samples import OPTIONS, break_it, result, tally_of

NAMES = ("a.json", "b.json")


def compared(before: Any, after: Any, *conditions: str) -> Comparison:
    return Comparison(NAMES, (before, after), [Condition.parse(each) for each in conditions])


def holds(text: str, before: float, after: float) -> bool:
    condition = Condition.parse(text)
    unit = UNITS[condition.name]
    return condition.holds(Figure(before, unit), Figure(after, unit))


@pytest.mark.parametrize(
    ("text", "before", "kept", "broken"),
    [
        ("p99>+10%", 1000, 1100, 1101),
        ("p99 > +10 %", 1000, 1100, 1101),
        ("rate<-5%", 1000, 950, 949),
        ("p99>5ms", 0, 5000, 5001),
        ("p99>0.005s", 9999, 5000, 5001),
        ("p99>5000us", 0, 5000, 5001),
        ("p99>5000µs", 0, 5000, 5001),
        ("p99>+2ms", 1000, 3000, 3001),
        ("connect.max>1s", 0, 1_000_000, 1_000_001),
        ("p99.9>+1%", 1000, 1010, 1011),
        ("p999>+1%", 1000, 1010, 1011),
        ("send-lag.p9999>1ms", 0, 1000, 1001),
        ("lost>0", 5, 0, 1),
        ("errors>+0", 3, 3, 4),
        ("rate<10k", 0, 10_000, 9_999),
        ("bytes-rate<1M", 0, 1 << 20, (1 << 20) - 1),
        ("answered<-3", 10, 7, 6),
        ("p50<1us", 0, 1, 0),
    ],
)
def test_a_condition_holds_beyond_its_bound(
    text: str, before: float, kept: float, broken: float
) -> None:
    assert not holds(text, before, kept)
    assert holds(text, before, broken)


def test_a_rise_from_nothing_is_more_than_any_per_cent() -> None:
    assert holds("p99>+10000%", 0, 1)
    assert not holds("p99>+10%", 0, 0)
    assert not holds("rate<-5%", 0, 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is no condition such as p99>\\+10%, rate<-5% or p99>5ms"),
        ("p99", "no condition"),
        ("p99>=5ms", "no condition"),
        ("p99>5 ms ms", "no condition"),
        ("p99>+10%;p50>1ms", "no condition"),
        ("p98>+10%", "there is no figure 'p98'"),
        ("latency.p99>1ms", "there is no figure 'latency.p99'"),
        ("p99>10%", "a change in per cent has a sign: \\+10% or -10%"),
        ("p99<+10%", "an increase is written >\\+, and a decrease <-"),
        ("rate>-5%", "an increase is written >\\+, and a decrease <-"),
        ("p99>5", "a time needs a unit: us, ms or s"),
        ("p99>5Ms", "a time needs a unit"),
        ("p99>+5", "a time needs a unit"),
        ("rate<5ms", "it takes no such unit"),
        ("lost>1k", "it takes no such unit"),
        ("p99>1.2.3ms", "'1.2.3' is no number"),
        ("p99>.ms", "'.' is no number"),
        ("p99>1e3ms", "no condition"),
        (f"p99>{'9' * 99}ms", "is no number"),
        ("p\x1b[31m99>5ms", "no condition"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(ConditionError, match=why) as raised:
        Condition.parse(text)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 200


@given(st.text(max_size=20))
def test_any_text_is_a_condition_or_an_error(text: str) -> None:
    for given_text in (text, f"p99>{text}", f"{text}>+10%"):
        with suppress(ConditionError):
            assert Condition.parse(given_text).name in UNITS


def test_two_runs_stand_side_by_side() -> None:
    text = comparison_text(compared(result(), result(seconds=10.0)))
    assert "A: a.json: tcp:lb.example:9000: OK\nB: b.json: tcp:lb.example:9000: OK\n" in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["rate"] == ["20/s", "10/s", "-50.0", "%"]
    assert rows["lost"] == ["0", "0", "="]
    assert set(UNITS) <= rows.keys()


def test_the_conditions_come_first_with_what_they_compare() -> None:
    comparison = compared(result(), result(seconds=10.0), "rate<-5%", "p99>+10%")
    lines = comparison_text(comparison).splitlines()
    assert lines[0] == "rate<-5%: FAIL: 20/s to 10/s (-50.0 %)"
    assert lines[1].startswith("p99>+10%: ok: ")
    assert [each.text for each in comparison.failed] == ["rate<-5%"]
    assert not comparison.ok
    assert compared(result(), result(), "rate<-5%").ok


def test_a_fault_is_a_condition_too() -> None:
    assert not compared(result(), result(break_it(tally_of(5))), "lost>0").ok
    assert "lost" in comparison_text(compared(result(), result(break_it(tally_of(5)))))


def test_figures_that_mean_nothing_are_not_compared() -> None:
    comparison = compared(result(), result(lag=0.02), "rate<-5%")
    assert (comparison.invalid, comparison.ok) == (("b.json",), False)
    text = comparison_text(comparison)
    assert text.startswith("INVALID: the figures of b.json mean nothing\n")
    assert "   the generator sent too late" in text


def test_it_is_said_where_the_runs_asked_for_other_things() -> None:
    other = result(options={**OPTIONS, "rate": 200.0}, version="2.1")
    text = comparison_text(compared(result(), other))
    assert "they differ in rate: 100.0 and 200.0\n" in text
    assert "they differ in version: '2.0' and '2.1'\n" in text


def test_the_same_is_there_for_programs() -> None:
    comparison = compared(result(), result(seconds=10.0), "rate<-5%", "p99>+10%")
    document = json.loads(json.dumps(comparison_document(comparison), allow_nan=False))
    assert (document["schema"], document["ok"], document["invalid"]) == (1, False, [])
    assert [each["verdict"] for each in document["runs"]] == ["OK", "OK"]
    assert document["conditions"] == [
        {"condition": "rate<-5%", "failed": True},
        {"condition": "p99>+10%", "failed": False},
    ]
    assert document["figures"]["rate"] == {
        "unit": "/s", "before": 20.0, "after": 10.0, "change_percent": -50.0,
    }  # fmt: skip
    assert document["figures"]["lost"]["change_percent"] is None
