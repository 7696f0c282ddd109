"""A soak as JUnit XML and as an HTML page."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.soak.result import SUBJECTS, Gap, Mark, Outage, Slice
from echosvc.reports.soak_junit import soak_junit
from echosvc.reports.soak_page import soak_page
from tests.support.html import read
from tests.support.junit import accepted
from tests.unit.reports.samples import TEXTS
from tests.unit.reports.soak_samples import BEGAN, BROKEN, SILENT, UPGRADE, gaps, result, run

#: Bytes of a page at most.
LARGEST = 100 * 1024


def test_each_promise_is_a_case_and_fails_by_its_reason() -> None:
    suite = accepted(soak_junit(run(UPGRADE)))
    failed = {case.get("name"): case.find("failure") for case in suite.iter("testcase")}
    assert len(failed) == len(SUBJECTS)
    messages = [each.get("message") for each in failed.values() if each is not None]
    assert sorted(messages) == [
        "1 connection not answered at the end",
        "3 gaps, in 2 of which the connection ended",
    ]
    (text,) = [each.text for each in failed.values() if each is not None and "3 gaps" in each.text]
    assert "the upgrade begins" in text
    assert accepted(soak_junit(run(result()))).get("failures") == "0"


def test_a_soak_that_was_interrupted_is_an_error_in_junit() -> None:
    suite = accepted(soak_junit(run(replace(result(), complete=False))))
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")


def test_names_of_properties_are_unique() -> None:
    suite = accepted(soak_junit(run(UPGRADE)))
    names = [each.get("name") for each in suite.iter("property")]
    assert len(names) == len(set(names))


def test_a_page_shows_the_verdict_the_timeline_and_the_gaps() -> None:
    reader = read(soak_page(run(UPGRADE)))
    for part in ("NOT OK", "3 gaps", "the upgrade begins", "all 20 of 20 connections", "FIN"):
        assert part in reader.text
    bars = {each["class"] for each in reader.tags("path") if str(each["class"]).startswith("bars")}
    assert bars == {"bars fail", "bars two"}
    assert len([each for each in reader.tags("path") if each["class"] == "mark"]) == 3 * 2
    assert len(reader.tags("table")) == len(reader.tags("figure")) == 3


def test_a_page_of_a_clean_soak_says_so() -> None:
    reader = read(soak_page(run(result())))
    assert "ok  after 1 min 0 s" in reader.text
    assert "None." in reader.text


def test_a_page_of_nothing_is_a_page() -> None:
    empty = result(messages={"sent": 0}, slices=(), seconds=0.0, latency_us={})
    assert len(read(soak_page(run(empty))).tags("figure")) == 1


def test_a_page_of_days_with_many_connections_is_small() -> None:
    many = tuple(
        replace(
            BROKEN if at % 2 else SILENT,
            number=at, connection=1 + at % 900, began=BEGAN + 400.0 * at, before="v" * 200,
        )
        for at in range(1000)
    )  # fmt: skip
    outages = tuple(
        Outage(at, BEGAN + 400.0 * at, 1.0, 2, 900, 2, 2, 0.0, 2, {"fin": 2}, {"x" * 99: 2}, {})
        for at in range(1000)
    )
    marks = tuple(Mark(at, BEGAN + 100.0 * at, "m" * 200) for at in range(1000))
    of = result(
        *many, outages=outages, outage_count=5000, marks=marks, mark_count=9999,
        seconds=400_000.0, slice_seconds=1024.0, slices=(Slice(10**6, 10**6, 900),) * 391,
        options={**UPGRADE.options, "connections": 900},
    )  # fmt: skip
    page = soak_page(run(of))
    assert len(page.encode()) < LARGEST
    assert "more are not listed" in read(page).text


@given(st.lists(gaps(), max_size=3), TEXTS)
def test_whatever_a_peer_sends_the_documents_are_whole(found: list[Gap], text: str) -> None:
    marks = (Mark(1, BEGAN, text),)
    of = replace(
        result(*found, marks=marks, mark_count=1, servers={text: 1}), endpoint=text, seconds=200.0
    )
    accepted(soak_junit(run(of, text)))
    read(soak_page(run(of, text)))
