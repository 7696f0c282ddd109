"""A soak in lines: each event as it happens, and the summary."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.soak.events import (
    Ended,
    GapBegan,
    Minute,
    Opened,
    Stall,
    Started,
    event_facts,
)
from echosvc.probe.soak.result import Outage, utc
from echosvc.reports.soak_text import (
    MAX_SHOWN,
    describe_outage,
    live_line,
    long_time,
    summary_lines,
)
from tests.unit.reports.soak_samples import (
    ALL,
    ALONE,
    BEGAN,
    BROKEN,
    LEFT,
    MARKS,
    SILENT,
    UPGRADE,
    gaps,
    result,
)

#: Two seconds after the full hour.
FIRST = GapBegan(BEGAN + 2, 1, 7, "reset", 1, True)


def test_times_are_in_utc_to_the_millisecond() -> None:
    assert utc(1_800_000_000.0625) == "2027-01-15T08:00:00.062Z"


def test_an_event_has_a_line() -> None:
    assert live_line(FIRST) == "2027-01-15T08:00:02.000Z  gap     connection 7 is not answered: RST"
    assert live_line(MARKS[0]).endswith("mark    1")
    assert live_line(MARKS[1]).endswith("mark    2: the upgrade begins")
    assert "3 s; no silence before this counts" in live_line(Stall(BEGAN, 3.0))
    begin = live_line(Started(BEGAN, "tcp:h:1", result().options))
    assert "20 connections to tcp:h:1, a message each 200 ms" in begin


def test_a_minute_says_what_happened_in_it() -> None:
    line = live_line(Minute(BEGAN, 60.0, 20, 19, 5980, 400, 1200, 2500, 1))
    assert line.endswith("19 of 20 up, 5980 answered, 1 gap; p50 400 µs, p99 1.2 ms, max 2.5 ms")
    assert live_line(Minute(BEGAN, 60.0, 2, 0, 0, 0, 0, 0, 0)).endswith("0 answered, no gap")


def test_of_the_gaps_of_an_outage_one_has_a_line() -> None:
    assert live_line(replace(FIRST, first=False)) == live_line(BROKEN) == ""
    assert live_line(Opened(BEGAN, 1, "a:1", "b:2", "v1")) == live_line(Ended(BEGAN, UPGRADE)) == ""


def test_an_outage_of_one_is_told_apart_from_one_of_all() -> None:
    assert "connection 7 alone: FIN; 512 ms; 'v1' before, 'v2' after" in live_line(ALONE)
    line = live_line(ALL)
    assert "all 20 of 20 connections at the same moment: FIN 12, RST 8; 2.5 s" in line
    assert "nothing was answered for 2.25 s" in line
    rolling = replace(ALL, connections=19, together=3, most=4, all_out=0.0)
    assert "19 of 20 connections, at most 4 at once" in live_line(rolling)


def test_the_summary_has_the_verdict_the_timeline_and_every_gap() -> None:
    text = summary_lines(UPGRADE)
    first, *lines = text.splitlines()
    assert first.startswith("tcp:lb.example:9000: NOT OK after 1 min 0 s: 3 gaps")
    assert "1 connection not answered at the end" in first
    times = [found[1] for line in lines if (found := re.search(r"^  (\S+Z) +(mark|outage)", line))]
    assert times == sorted(times)
    assert len(times) == 4
    assert "messages: 1200 sent, 1199 answered, 1 lost" in text
    assert "gaps: 3 (FIN 1, silence 1), the longest 9 s; 2 breaks" in text
    assert "this process stood still 1 time, 3 s at most" in text


def test_a_gap_says_who_where_why_and_what_was_left() -> None:
    (line,) = [
        each for each in summary_lines(result(BROKEN)).splitlines() if "connection 7" in each
    ]
    for part in (
        "connection 7 (127.0.0.1:46458 to 127.0.0.1:9000): FIN; 512 ms",
        "attempts failed: refused 3",
        "last answered: message 77",
        "1 message not answered (64 of 64 bytes acknowledged)",
        "'v1' before, 'v2' after",
        "then 127.0.0.1:46500 to 127.0.0.1:9000",
    ):
        assert part in line
    assert "silence, then given up; 9 s, and not answered at the end" in summary_lines(result(LEFT))
    assert "before" not in summary_lines(result(SILENT))


def test_a_clean_soak_is_short() -> None:
    lines = summary_lines(result()).splitlines()
    assert lines[0] == "tcp:lb.example:9000: ok after 1 min 0 s: no gap"
    assert len(lines) == 4


def test_what_is_left_out_of_the_summary_is_said() -> None:
    many = tuple(replace(SILENT, number=number) for number in range(100))
    text = summary_lines(result(*many))
    assert text.count("silence;") == MAX_SHOWN
    assert "... and 60 more gaps" in text


def test_long_times_are_readable() -> None:
    assert [long_time(each) for each in (0.5, 59.4, 61, 3600, 90_000)] == [
        "500 ms", "59.4 s", "1 min 1 s", "1 h 0 min", "25 h 0 min",
    ]  # fmt: skip


def test_every_event_is_a_line_of_json_with_its_time() -> None:
    for event in (FIRST, MARKS[1], BROKEN, ALL, Stall(BEGAN, 1.0), Ended(BEGAN, UPGRADE)):
        facts = json.loads(json.dumps(event_facts(event)))
        assert facts["time"].endswith("Z")
        assert facts["event"]
    assert event_facts(Ended(BEGAN, UPGRADE))["ok"] is False


@given(st.lists(gaps(), max_size=3))
def test_whatever_a_peer_sends_each_line_is_one_and_printable(found) -> None:
    outages = tuple(
        Outage(
            1, gap.began, 1.0, 2, 2, 2, 2, 0.5, 2, {gap.cause: 2}, {gap.before: 2}, {gap.after: 2}
        )
        for gap in found
    )
    of = result(*found, outages=outages, outage_count=len(outages))
    text = summary_lines(of)
    assert all(line.isprintable() for line in text.split("\n"))
    expected = 6 + len(outages) + len(found) if found else 4
    assert text.count("\n") == expected


def test_an_outage_says_that_nothing_was_ever_answered_in_place_of_a_time() -> None:
    assert "nothing was answered for 2.25 s" in describe_outage(ALL)
    words = describe_outage(replace(ALL, ever_answered=False))
    assert "nothing was ever answered" in words
    assert "answered for" not in words
