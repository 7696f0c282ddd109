"""The result of a load as an HTML page."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from echosvc._text import printable
from echosvc._version import __version__
from echosvc.probe.traffic.incidents import Gap, Mismatch
from echosvc.probe.traffic.merge import Shard
from echosvc.probe.traffic.series import Second
from echosvc.probe.traffic.sweep import Objective
from echosvc.probe.traffic.tally import Tally
from echosvc.reports.load_page import load_page
from echosvc.reports.load_run import columns
from tests.support.commands import slow
from tests.support.examples import examples
from tests.support.html import Reader, read
from tests.unit.reports.load_samples import NOON, break_it, result, run, sweep, tally_of
from tests.unit.reports.samples import TEXTS

#: Bytes of a page, at most.
LIMIT = 100 * 1024


def page(found: Any = None, **values: Any) -> Reader:
    text = load_page(run(found, **values))
    assert len(text.encode("utf-8")) <= LIMIT
    return read(text)


def pictures(reader: Reader) -> list[str]:
    return [str(each["aria-label"]) for each in reader.tags("svg") if "aria-label" in each]


def test_the_page_has_the_verdict_the_figures_and_what_was_asked() -> None:
    found = result(break_it(tally_of(5)), warmup=1.0)
    reader = page(found, versions="CPython 3.11.7, Twisted 26.10.0, Linux 6.18")
    assert reader.title == "FAIL: tcp:lb.example:9000, echosvc load"
    wanted = (
        "FAIL  25/s, p50 ",
        "1 message was lost",
        "1 connection was reset",
        "102 sent, 100 answered, 1 lost, 1 duplicated, 1 reordered, 1 damaged, 1 late",
        "over 5 s with 1 s of warm-up",
        "command echosvc load lb.example:9000",
        "measured by echosvc 2.0",
        f"reported by echosvc {__version__} on CPython 3.11.7, Twisted 26.10.0, Linux 6.18",
        "1 result: shard 1/1 of seed 7",
        "connections 10 rate 100",
        "prefix -",
        "on here, 2027-01-15 12:00:00 UTC, 5 s",
    )
    for part in wanted:
        assert part in reader.text, part


def test_the_verdict_has_its_colour() -> None:
    good, broken, late = result(), result(break_it(tally_of(5))), result(lag=0.02)
    for found, kind in ((good, "pass"), (broken, "fail"), (late, "info")):
        assert page(found).tags("strong")[0]["class"] == f"verdict {kind}"


def test_every_picture_says_what_it_shows_and_has_its_table() -> None:
    found = pictures(page(result(break_it(tally_of(5))), sweep=sweep()))
    assert [re.split("[ :]", text)[0] for text in found] == [
        "The", "Messages", "Latency", "Errors", "Percentiles",
    ]  # fmt: skip
    assert "Errors: 5 messages that were not answered right, 2 connections." in found


def test_rates_latencies_and_errors_have_the_same_axis_of_time() -> None:
    reader = page(result(break_it(tally_of(60))))
    label = "time (UTC), 2027-01-15"
    assert reader.text.count(label) == 3
    assert reader.text.count("12:00:10 12:00:20 12:00:30 12:00:40") == 3


def test_a_stall_is_seen_in_the_corrected_latency_alone() -> None:
    reader = page(result(tally_of(60, stall=20), seconds=60.0))
    row = re.search(r"99\.9 % (\S+ \S+) (\S+ \S+) ", reader.text)
    assert row is not None
    corrected, uncorrected = row.groups()
    assert corrected.startswith("9")
    assert corrected.endswith(" ms")
    assert re.fullmatch(r"[1-9](\.\d+)? ms", uncorrected)


def test_the_rates_of_a_sweep_are_drawn_and_listed_in_the_order_of_the_sweep() -> None:
    found = sweep((100, 9e-4, True), (400, 9e-3, False), (200, 1.5e-3, True))
    reader = page(sweep=found)
    assert "The highest rate that keeps p99<5ms is 200 messages a second." in reader.text
    assert "100/s 900 µs kept OK 400/s 9 ms not kept OK 200/s 1.5 ms kept OK" in reader.text
    assert "The sweep" not in page().text


def test_what_went_wrong_is_listed_and_escaped() -> None:
    text = page(result(break_it(tally_of(5)))).text
    assert "Wrong replies: 1 of 1" in text
    assert "connection 3, message 18: changed at byte 5; due b'abc<', seen b'ab\\x1b<'" in text
    assert "Longest gaps: 1 of 1" in text
    assert "750 ms, connection 4: reset" in text
    assert "Nothing did." in page().text


def test_a_run_in_which_nothing_was_sent_has_a_page() -> None:
    reader = page(result(Tally(), failure="nothing answers", seconds=0.0))
    assert "nothing answers" in reader.text
    assert pictures(reader) == []


def test_an_hour_is_thinned_and_nothing_is_lost() -> None:
    tally = tally_of(3600, rate=1)
    thinned = columns(tally.series, 100)
    assert (len(thinned), thinned[0].seconds, thinned[0].start) == (100, 36, NOON)
    assert sum(each.all.answered for each in thinned) == tally.answered
    assert "A row for each 36 seconds" in page(result(tally, seconds=3600.0)).text


def test_the_last_column_has_the_rate_of_its_own_seconds() -> None:
    series = {number: Second() for number in range(7)}
    for second in series.values():
        second.sent = 10
    thinned = columns(series, 3)
    assert [(each.start, each.seconds) for each in thinned] == [(0, 3), (3, 3), (6, 1)]
    assert [each.rate(each.all.sent) for each in thinned] == [10, 10, 10]


def test_a_second_in_which_nothing_happened_is_no_gap_in_the_axis() -> None:
    thinned = columns({5: Second(), 9: Second()}, 100)
    assert [each.start for each in thinned] == [5, 6, 7, 8, 9]
    assert columns({}, 100) == []


@pytest.mark.parametrize("text", ["<&\"'>" * 4000, *slow("\U000e0001" * 4000, "\U0001f600" * 4000)])
def test_the_page_is_small_whatever_the_run_was(text: str) -> None:
    """Three hundred days, every list full, and all texts as long and as hostile as they may be."""
    tally = Tally(epoch=NOON)
    for number in range(0, 300 * 86400, 86400):
        tally.count_sent(10**12, 10**15, number)
        for latency in (1e-6, 1e-3, 3599.0):
            tally.count_answer(number - latency, number - latency, number)
        tally.count("lost", 10**12, number)
        tally.count_error(f"{number}{text}", number)
        tally.note_gap(Gap(number, number, number, text, 1, text, text, text, text))
        tally.note_mismatch(Mismatch(number, number, 1, text, 1, 1, b"<" * 99, b"\0" * 99))
    options = {f"{number}{text}": [text] * 9 for number in range(99)}
    shards = tuple(Shard(seed, 0, 2) for seed in range(999))
    found = result(tally, shards, endpoint=text, options=options, failure=text, version=text)
    page(found, command=text, host=text, versions=text, sweep=sweep(*[(100, 1.0, True)] * 60))


@given(TEXTS)
@examples(40)
def test_every_text_is_escaped(text: str) -> None:
    tally = break_it(tally_of(2))
    tally.errors[text] += 1
    found = result(tally, endpoint=text, options={text: text}, failure=f"said {text}")
    shown = page(found, command=f"c {text}", host=text).text
    assert "".join(printable(f"said {text}").split()) in "".join(shown.split())


def test_a_sweep_shows_the_latency_of_its_objective_and_none_without_an_answer() -> None:
    found = sweep((100, 9e-4, True), (400, 9e-3, False))
    silent = replace(found.steps[1], result=result(Tally(epoch=NOON)))
    found = replace(found, objective=Objective.parse("max<5ms"), steps=(found.steps[0], silent))
    text = page(sweep=found).text
    assert "max over the rate, objective max<5ms" in text
    assert "100/s 900 µs kept OK 400/s - not kept" in text
