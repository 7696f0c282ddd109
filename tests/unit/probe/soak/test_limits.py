"""A soak fails by what is above its limits, and says why."""

from __future__ import annotations

import pytest

from echosvc.probe.soak.limits import failures
from echosvc.probe.soak.settings import SoakSettings, SoakSettingsError, validate
from tests.unit.probe.soak.timelines import RecordedTimeline

CLEAN = {"sent": 10, "answered": 10}


def judged(timeline: RecordedTimeline, messages=CLEAN, **settings) -> list[str]:
    asked = SoakSettings(**settings)
    validate(asked)
    return [each.words for each in failures(asked, timeline, messages)]


def cut(*seconds: float) -> RecordedTimeline:
    """A timeline of connections that had a break of so many seconds each."""
    timeline = RecordedTimeline(len(seconds))
    for number, each in enumerate(seconds, 1):
        timeline.cut(number, 10.0)
        timeline.reopen(number, 10.0 + each)
    timeline.finish(100.0)
    return timeline


def test_a_clean_soak_is_ok():
    clean = RecordedTimeline(3)
    clean.finish(10.0)
    assert judged(clean) == []
    assert judged(RecordedTimeline(3), max_gap=1.0, max_breaks=0) == []


def test_without_limits_any_gap_fails():
    assert judged(cut(0.1, 0.2)) == ["2 gaps, in 2 of which the connection ended"]
    silent = RecordedTimeline(1)
    silent.check(1, 1.0, 3.0)
    silent.answer(1, 1, 3.5)
    assert judged(silent) == ["1 gap"]


def test_only_a_longer_gap_fails():
    assert judged(cut(0.5, 0.7), max_gap=0.8) == []
    assert judged(cut(0.5, 0.7), max_gap=0.6) == ["a gap of 700 ms, more than 0.6 s"]


def test_only_more_breaks_fail():
    assert judged(cut(50, 60), max_breaks=2) == []
    assert judged(cut(50, 60), max_breaks=1) == ["2 breaks, more than 1"]
    silent = RecordedTimeline(1)
    silent.check(1, 1.0, 3.0)
    silent.answer(1, 1, 3.5)
    assert judged(silent, max_breaks=0) == []


def test_both_limits_are_kept():
    why = judged(cut(2, 3), max_gap=2.5, max_breaks=1)
    assert why == ["a gap of 3 s, more than 2.5 s", "2 breaks, more than 1"]


def test_a_connection_that_is_not_answered_at_the_end_fails_whatever_the_limits():
    timeline = RecordedTimeline(2)
    timeline.cut(1, 10.0)
    timeline.finish(10.1)
    why = ["1 connection not answered at the end"]
    assert judged(timeline, max_gap=60, max_breaks=9) == why


@pytest.mark.parametrize("name", ["damaged", "duplicated", "reordered", "skipped"])
def test_wrong_replies_fail_whatever_the_limits(name):
    (why,) = judged(RecordedTimeline(1), {**CLEAN, name: 1}, max_gap=60, max_breaks=9)
    assert why.startswith("1 ")


def test_a_soak_without_an_answer_fails():
    assert judged(RecordedTimeline(1), {"sent": 3}) == ["nothing was answered"]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"connections": 0}, "connections"),
        ({"connections": 10_001}, "connections"),
        ({"connections": 1.5}, "connections"),
        ({"connections": True}, "connections"),
        ({"interval": 0.0}, "interval"),
        ({"interval": -1}, "interval"),
        ({"interval": float("nan")}, "interval"),
        ({"interval": "1"}, "interval"),
        ({"size": 15}, "size"),
        ({"size": 16, "framing": "line"}, "size"),
        ({"size": 1 << 30}, "size"),
        ({"silence": -1}, "silence"),
        ({"silence": float("inf")}, "silence"),
        ({"silence": 11.0}, "timeout"),
        ({"silence": 2.0, "max_gap": 1.0}, "max_gap"),
        ({"interval": 2.0, "max_gap": 1.0}, "interval"),
        ({"max_gap": 0}, "max_gap"),
        ({"max_gap": "1"}, "max_gap"),
        ({"max_breaks": -1}, "max_breaks"),
        ({"max_breaks": 1.0}, "max_breaks"),
        ({"timeout": 0}, "timeout"),
        ({"max_wait": 0}, "max_wait"),
        ({"duration": -1}, "duration"),
        ({"framing": "xml"}, "framing"),
        ({"prefix": "v1"}, "prefix"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, word):
    with pytest.raises(SoakSettingsError, match=word):
        validate(SoakSettings(**settings))


def test_a_short_limit_makes_a_short_silence_a_gap():
    assert SoakSettings().longest_silence == 1.0
    assert SoakSettings(max_gap=0.5).longest_silence == 0.5
    assert SoakSettings(timeout=0.5).longest_silence == 0.5
    assert SoakSettings(silence=0.25, max_gap=0.5).longest_silence == 0.25
