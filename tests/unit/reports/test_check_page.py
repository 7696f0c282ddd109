"""The result of a check as an HTML page."""

from __future__ import annotations

from hypothesis import given, strategies

from echosvc._text import printable
from echosvc.probe.result import ProbeResult
from echosvc.reports.check_page import check_page
from echosvc.reports.check_run import in_reading_order
from tests.support.html import read
from tests.unit.reports.samples import (
    BYTES,
    CONNECTED,
    LOST,
    NEAR,
    NO_TLS,
    TEXTS,
    probe_results,
    run,
    unjudged,
)


def test_the_page_has_every_finding_with_its_cause_and_its_figures() -> None:
    text = read(check_page(run(CONNECTED, LOST, NEAR, NO_TLS))).text
    for part in ("PASS connect to it 0.25 s", "FAIL order 7 bytes lost 1.50 s", "INFO rtt near",
                 "SKIP tls no TLS", "Likely: a full queue.", "connect_seconds 0.0012"):  # fmt: skip
        assert part in text


def test_what_is_likely_is_said_once_for_information_too() -> None:
    known = ProbeResult("lifetime", "info", "connections live 3 s", 1.0, "a limit")
    assert read(check_page(run(known))).text.count("Likely: a limit.") == 1
    assert read(check_page(run(LOST))).text.count("Likely: a full queue.") == 1


def test_the_page_says_what_was_asked() -> None:
    text = read(check_page(run(CONNECTED))).text
    asked = "endpoint tcp:lb.example:9000 command echosvc check lb.example:9000 timeout 10"
    assert asked in text
    assert "on here, 2026-03-01 00:30:05 +0100, 3723 s" in text


def test_the_title_is_the_verdict() -> None:
    passed, failed, stopped = run(CONNECTED), run(LOST), run(CONNECTED, interrupted=True)
    assert read(check_page(passed)).title == "ok: tcp:lb.example:9000, echosvc check"
    assert read(check_page(failed)).title.startswith("NOT OK: ")
    assert read(check_page(stopped)).title.startswith("interrupted: ")
    assert read(check_page(run(NO_TLS))).title.startswith("nothing was tested: ")


def test_the_verdict_has_its_colour() -> None:
    for checked, kind in (
        (run(CONNECTED), "pass"),
        (run(LOST), "fail"),
        (run(NO_TLS), "info"),
        (run(LOST, interrupted=True), "info"),
    ):
        first = read(check_page(checked)).tags("strong")[0]
        assert first["class"] == f"verdict {kind}"


def test_what_explains_most_comes_first_and_names_what_it_explains() -> None:
    probes = (LOST, BYTES, unjudged("text", "bytes"), unjudged("idle", "bytes"))
    assert in_reading_order(run(*probes).result) == [(BYTES, ["text", "idle"]), (LOST, [])]
    text = read(check_page(run(*probes))).text
    assert text.index("1 of 256") < text.index("7 bytes lost")
    assert "It kept 2 probes from a verdict: text, idle." in text


def test_what_explains_nothing_is_in_the_order_of_the_run() -> None:
    order = in_reading_order(run(LOST, CONNECTED, BYTES, NO_TLS).result)
    assert [probe for probe, _ in order] == [LOST, BYTES]


def test_a_check_without_failures_says_so() -> None:
    assert "No probe failed." in read(check_page(run(CONNECTED))).text
    assert "No probe failed." not in read(check_page(run(LOST))).text


def test_a_check_that_was_interrupted_says_that_probes_are_missing() -> None:
    assert "interrupted" in read(check_page(run(CONNECTED, interrupted=True))).text
    assert "interrupted" not in read(check_page(run(CONNECTED))).text


def test_a_page_without_figures_has_no_section_of_them() -> None:
    assert "Figures" not in read(check_page(run(NO_TLS, unjudged("text", "bytes")))).text
    assert "Figures" in read(check_page(run(CONNECTED))).text


def test_a_long_figure_is_cut() -> None:
    long = ProbeResult("rtt", "info", "near", 0.1, facts={"all": "x" * 100_000})
    assert len(check_page(run(long))) < 20_000


@given(strategies.lists(probe_results(), max_size=3, unique_by=lambda each: each.name), TEXTS)
def test_whatever_a_peer_sends_the_page_is_well_formed(
    probes: list[ProbeResult], endpoint: str
) -> None:
    text = read(check_page(run(*probes, endpoint=endpoint, command=endpoint))).text
    shown = "".join(text.split())
    for probe in probes:
        assert "".join(printable(probe.finding).split()) in shown
