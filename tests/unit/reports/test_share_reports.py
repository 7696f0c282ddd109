"""The shares of servers as lines and as JUnit XML."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from echosvc.probe.share.result import (
    FailureCount,
    ServerShare,
    ShareChange,
    ShareResult,
    ShareWindow,
)
from echosvc.reports.share_junit import ShareRun, share_junit
from echosvc.reports.share_text import share_lines, split
from tests.support.junit import accepted

BEFORE = ShareWindow(0.0, 5.0, {"v1": 80, "v2": 20}, 0)
AFTER = ShareWindow(5.0, 5.0, {"v1": 45, "v2": 45}, 10)
CHANGE = ShareChange(
    "2026-06-01T12:00:05.000Z", "2026-06-01T12:00:04.500Z", "2026-06-01T12:00:05.250Z",
    5.0, BEFORE, AFTER,
)  # fmt: skip
PASSED = ShareResult(
    "lb:9", "echosvc", "pass", "sure after 200 connections: the shares are as expected",
    200, 3, 2.5, "2026-06-01T12:00:00.000Z", 1e-4,
    (
        ServerShare("v1", 160, 0.8, 0.75, 0.849, "80±5", "pass"),
        ServerShare("v2", 40, 0.2, 0.151, 0.25, "20±5", "pass"),
    ),
    (), 200,
)  # fmt: skip


def changed(**fields: Any) -> ShareResult:
    return replace(PASSED, **fields)


def test_each_server_has_a_line_and_all_have_one() -> None:
    assert share_lines(PASSED) == (
        "v1         160   80.0 %  75.0 to 84.9 %    expected 80±5: pass\n"
        "v2          40   20.0 %  15.1 to 25.0 %    expected 20±5: pass\n"
        "lb:9: PASS: sure after 200 connections: the shares are as expected;"
        " 2.5 s, 2 servers, 0 failed; error 0.0001\n"
    )


def test_failures_have_their_causes_and_an_example_each() -> None:
    lines = share_lines(changed(failures=(FailureCount("refused", 20, "no\x1b"),))).splitlines()
    assert lines[2:4] == ["failed      20   10.0 %", "  refused 20: no\\x1b"]
    assert "20 failed" in lines[4]


def test_shares_over_time_come_first_then_the_changes() -> None:
    shown = changed(windows=(BEFORE, AFTER), changes=(CHANGE,), connections=400)
    lines = share_lines(shown).splitlines()
    assert lines[:4] == [
        "0.0 to 5.0 s         100 connections  v1 80.0 %, v2 20.0 %",
        "5.0 to 10.0 s        100 connections  v1 45.0 %, v2 45.0 %, failed 10.0 %",
        "change at 2026-06-01 12:00:05.000Z (between 12:00:04.500Z and 12:00:05.250Z, 5.0 s):"
        " from v1 80.0 %, v2 20.0 % to v1 45.0 %, v2 45.0 %, failed 10.0 %",
        "since the last change, 200 connections:",
    ]


def test_failures_are_told_from_those_since_the_last_change() -> None:
    """The first are of all connections, the shares are not."""
    shares = (ServerShare("v1", 80, 0.8, 0.7, 0.9), ServerShare("*", 10, 0.1, 0, 0.2, "10±5"),
              ServerShare("v2", 10, 0.1, 0, 0.2))  # fmt: skip
    failures = (FailureCount("refused", 30, "no"),)
    shown = changed(shares=shares, failures=failures, changes=(CHANGE,), basis=100)
    lines = share_lines(shown).splitlines()
    assert lines[1] == "failed      30   15.0 %"
    assert lines[3] == "since the last change, 100 connections, of which 10 failed:"


def test_names_are_printable_and_not_too_long() -> None:
    shares = (ServerShare("a\n\x1b", 1, 0.5, 0, 1), ServerShare("x" * 99, 1, 0.5, 0, 1))
    lines = share_lines(changed(shares=shares)).splitlines()
    assert lines[0].startswith("a\\n\\x1b ")
    assert lines[1].partition(" ")[0].endswith("...'")
    assert all(line.isprintable() for line in lines)


def test_answers_without_a_name_are_said_with_what_to_do() -> None:
    text = share_lines(changed(shares=(ServerShare("", 200, 1.0, 0.9, 1.0),)))
    assert text.startswith("(no name)")
    assert "give each server one" in text


def test_an_interrupt_is_said() -> None:
    assert share_lines(changed(interrupted=True)).splitlines()[-1].startswith("lb:9: interrupted;")
    last = share_lines(changed(interrupted=True, verdict="none", why="")).splitlines()[-1]
    assert last.startswith("lb:9: interrupted after 200 connections; 2.5 s")


def test_many_servers_are_cut() -> None:
    shares = tuple(ServerShare(f"v{n}", 1, 0.01, 0.0, 0.1) for n in range(100))
    lines = share_lines(changed(shares=shares)).splitlines()
    assert (len(lines), lines[40]) == (42, "and 60 more")
    lines = share_lines(changed(changes=(CHANGE,) * 50)).splitlines()
    assert lines[40] == "and 10 more changes"


def test_many_servers_of_a_window_are_cut() -> None:
    many = ShareWindow(0.0, 1.0, {f"v{n}": 10 for n in range(9)}, 0)
    assert split(many).endswith(", 3 more")
    assert split(ShareWindow(0.0, 1.0, {}, 0)) == "nothing"


def cases(result: ShareResult) -> dict[str, str]:
    """How each case of the document ended; it must be acceptable."""
    suite = accepted(share_junit(ShareRun(result, "echosvc share lb:9", "host")))
    return {
        str(case.get("name")): next((each.tag for each in case), "passed")
        for case in suite.iter("testcase")
    }


@pytest.mark.parametrize(
    ("verdict", "end"), [("pass", "passed"), ("fail", "failure"), ("undecided", "error")]
)
def test_each_verdict_is_how_a_case_ends(verdict: Any, end: str) -> None:
    shares = tuple(replace(each, verdict=verdict) for each in PASSED.shares)
    found = cases(changed(verdict=verdict, shares=shares))
    assert found == {"share of v1": end, "share of v2": end, "verdict": end}


def test_without_an_expectation_failed_connections_are_a_failure() -> None:
    shares = tuple(replace(each, expected="", verdict="none") for each in PASSED.shares)
    shown = changed(verdict="none", why="", shares=shares)
    assert cases(shown) == {"verdict": "passed"}
    failures = (FailureCount("refused", 1, "x"),)
    assert cases(replace(shown, failures=failures)) == {"verdict": "failure"}
    assert cases(replace(shown, interrupted=True)) == {"verdict": "error"}


def test_everything_that_was_found_is_in_the_document() -> None:
    run = ShareRun(changed(changes=(CHANGE,), windows=(BEFORE, AFTER)), "c", "h")
    suite = accepted(share_junit(run))
    figures = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert figures["answered by v1"] == "160"
    assert figures["error"] == "0.0001"
    assert "change at 2026-06-01T12:00:05.000Z" in figures
