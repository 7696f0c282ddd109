"""Observations become shares, failures by cause, and a verdict in words."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from echosvc.probe.share.expectation import parse_expectations
from echosvc.probe.share.result import ShareResult
from echosvc.probe.share.settings import ERROR, ShareSettings
from echosvc.probe.share.tally import HOPELESS, MOST_NAMES, Observation, ShareTally

STARTED = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)


def tally(expect: str = "", **settings: Any) -> ShareTally:
    expected = parse_expectations(expect) if expect else ()
    return ShareTally(ShareSettings(expect=expected, **settings))


def add(counted: ShareTally, *names: str | None, first: float = 0.0) -> ShareTally:
    """Count answers, one each 10 ms; ``None`` is a connection that was refused."""
    for number, name in enumerate(names):
        cause = ("refused", "ECONNREFUSED") if name is None else ("", "")
        counted.add(Observation(first + number / 100, 0.001, name, *cause))
    return counted


def result(counted: ShareTally, seconds: float = 5.0, **more: Any) -> ShareResult:
    return counted.result("lb:9", STARTED, seconds, **more)


def test_without_an_expectation_shares_are_shown() -> None:
    found = result(add(tally(), *["v2"] * 30, *["v1"] * 70))
    assert [(each.name, each.count, each.share) for each in found.shares] == [
        ("v1", 70, 0.7),
        ("v2", 30, 0.3),
    ]
    assert all(each.low < each.share < each.high for each in found.shares)
    assert (found.verdict, found.why, found.ok) == ("none", "", True)
    assert (found.started, found.error) == ("2026-06-01T12:00:00.000Z", ERROR)


def test_failures_are_counted_by_cause_and_are_in_every_denominator() -> None:
    counted = add(tally(), *["v1"] * 70, *[None] * 20)
    counted.add(Observation(1.0, 0.1, None, "timeout", "no answer"))
    found = result(counted)
    assert [(each.cause, each.count, each.example) for each in found.failures] == [
        ("refused", 20, "ECONNREFUSED"),
        ("timeout", 1, "no answer"),
    ]
    assert found.shares[0].share == 70 / 91
    assert (found.connections, found.answered, found.failed, found.ok) == (91, 70, 21, False)


def test_it_stops_as_soon_as_it_is_sure_and_says_when() -> None:
    counted = tally("v1=80±5,v2=20±5")
    while not counted.stopped:
        add(counted, "v1", "v1", "v1", "v1", "v2")
    found = result(counted)
    assert found.verdict == "pass"
    assert found.why == f"sure after {counted.total} connections: the shares are as expected"
    assert 1000 < counted.total < 2500
    assert [each.verdict for each in found.shares] == ["pass", "pass"]
    assert [each.expected for each in found.shares] == ["80±5", "20±5"]


def test_a_failure_says_which_share_is_wrong() -> None:
    counted = tally("v1=80±5,v2=20±5")
    while not counted.stopped:
        add(counted, "v1", "v2", None)
    found = result(counted)
    assert (found.verdict, found.ok) == ("fail", False)
    assert "'v1' has 33.3 % and not 80±5" in found.why
    assert "of them failed" in found.why


def test_another_server_is_named_where_it_is_not_expected() -> None:
    found = result(add(tally("v1=80±5,v2=20±5"), "v1", "v3"))
    assert found.verdict == "fail"
    assert "'v3' has answered 1 of them" in found.why
    assert [(each.name, each.expected) for each in found.shares] == [
        ("v1", "80±5"),
        ("v2", "20±5"),
        ("v3", ""),
    ]


def test_too_few_connections_decide_nothing() -> None:
    found = result(add(tally("v1=80±5,v2=20±5"), *["v1"] * 8, *["v2"] * 2), unfinished=3)
    assert (found.verdict, found.why) == ("undecided", "not sure after 10 connections")
    assert (found.unfinished, found.ok) == (3, False)
    assert result(tally("v1=80±5,v2=20±5")).verdict == "undecided"


def test_trouble_of_this_machine_is_said_and_decides_nothing() -> None:
    found = result(add(tally("v1=80±5"), "v1"), trouble="no port is free")
    assert (found.verdict, found.why) == (
        "undecided",
        "not sure after 1 connection: no port is free",
    )
    assert result(add(tally(), "v1"), trouble="no port is free").verdict == "undecided"


@pytest.mark.parametrize("expect", ["", "v1=80±5", "v1=0±50"])
def test_where_nobody_answers_it_stops_and_has_failed(expect: str) -> None:
    counted = tally(expect)
    while not counted.stopped:
        add(counted, None)
    assert counted.total <= HOPELESS
    assert result(counted).verdict == "fail"


def test_a_few_connections_without_an_answer_have_failed_where_nothing_is_expected() -> None:
    found = result(add(tally(), None, None))
    assert (found.verdict, found.why) == ("fail", "none of 2 connections was answered")
    assert result(add(tally("v1=80±5"), None, None)).verdict == "undecided"


def test_nobody_passes_without_an_answer() -> None:
    """A share of 0 would be as expected; but nothing was seen of the servers."""
    found = result(add(tally("v1=0±50"), *[None] * (HOPELESS - 1)))
    assert found.verdict != "pass"


def test_a_watch_goes_on_though_nobody_answers_yet() -> None:
    counted = add(tally(watch=60.0), *[None] * 30)
    assert counted.stopped == ""
    assert result(counted, 1.0).why == "none of 30 connections was answered"
    assert result(add(counted, "v1"), 2.0).verdict == "none"


def test_a_server_that_is_called_star_is_told_from_all_others() -> None:
    shares = result(add(tally("v1=50±5,*=50±5"), "*", "v1")).as_dict()["shares"]
    assert [*shares] == ["v1", "*", r"\*"]
    assert [shares[name]["count"] for name in ("*", r"\*")] == [1, 1]
    assert [*result(add(tally(r"\*=50±5"), "*")).as_dict()["shares"]] == [r"\*"]


def test_names_that_change_without_end_are_no_servers() -> None:
    counted = add(tally(), *(f"name {number}" for number in range(MOST_NAMES + 1)))
    assert "more than 256 names" in counted.stopped
    assert result(counted).verdict == "undecided"


def test_an_interrupt_is_said() -> None:
    found = result(add(tally("v1=80±5"), "v1"), interrupted=True)
    assert (found.interrupted, found.verdict) == (True, "undecided")
    assert found.as_dict()["interrupted"] is True
    shown = result(add(tally(), "v1"), interrupted=True)
    assert (shown.verdict, shown.why, shown.ok) == ("none", "interrupted", False)


def test_json_has_everything() -> None:
    found = result(add(tally("v1=80±5,*=20±5"), "v1", "v1", "v2", None), unfinished=1).as_dict()
    assert found["connections"] == {"counted": 4, "answered": 3, "failed": 1, "unfinished": 1}
    assert [*found["shares"]] == ["v1", "*", "v2"]
    assert found["shares"]["*"]["count"] == 1
    assert found["failures"] == {"refused": {"count": 1, "example": "ECONNREFUSED"}}
    assert (found["schema"], found["verdict"], found["windows"]) == (1, "undecided", [])


def test_watched_shares_are_judged_since_the_last_change() -> None:
    counted = tally("v1=50±10,v2=50±10", watch=60.0)
    add(counted, *["v1"] * 2000)
    add(counted, *["v1", "v2"] * 2000, first=20.0)
    assert counted.stopped == ""
    found = result(counted, 60.0)
    (change,) = found.changes
    assert change.earliest <= "2026-06-01T12:00:20" <= change.latest
    assert change.seconds == pytest.approx(20, abs=0.1)
    assert found.basis < found.connections == 6000
    assert found.verdict == "pass"
    assert "since the last change" in found.why
    assert sum(each.total for each in found.windows) == 6000


def test_watched_shares_without_a_change_are_judged_as_a_whole() -> None:
    counted = add(tally("v1=50±10,v2=50±10", watch=60.0), *["v1", "v2"] * 2000)
    found = result(counted, 60.0)
    assert (found.verdict, found.changes, found.basis) == ("pass", (), 4000)


def test_the_progress_is_one_line() -> None:
    words = add(tally(), "v1", "v1", "v\x1b2", None).progress()
    assert words == "4 connections, v1 50.0 %, v\\x1b2 25.0 %, 1 failed"
