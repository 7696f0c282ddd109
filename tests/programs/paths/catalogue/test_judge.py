"""The judge of the catalogue sees what is wrong with a check."""

from __future__ import annotations

from typing import Any

import pytest

from tests.programs.paths.catalogue.builders.servers import echosvc
from tests.programs.paths.catalogue.entry import Entry, fails, informs, passes
from tests.programs.paths.catalogue.judge import faults, verdict
from tests.programs.paths.catalogue.runner import Outcome, Run


def probe(name: str, result: str, finding: str = "", cause: str = "", **more: Any) -> Any:
    return {"name": name, "result": result, "finding": finding, "cause": cause, **more}


def entry(**fields: Any) -> Entry:
    return Entry("it", "a path", echosvc(), **fields)


MTU = fails("path-mtu|mtu", "MTU", lacks="FIN")
TWO = (fails("limit", "open"), fails("limit", "a second"))
IDLE = informs("find-idle", "FIN", idle_seconds=(2.9, 3.1))


@pytest.mark.parametrize(
    ("fields", "probes"),
    [
        ({"expected": passes("echo")}, [probe("echo", "pass"), probe("rtt", "info")]),
        ({"expected": (MTU,)}, [probe("path-mtu", "fail", "MTU"), probe("sizes", "skip")]),
        ({"expected": (IDLE,)}, [probe("find-idle", "info", "FIN", idle_seconds=3.0)]),
        (
            {"expected": TWO},
            [probe("limit", "fail", "8 a second"), probe("limit", "fail", "5 open")],
        ),
        ({"somewhere": "first bytes"}, [probe("greeting", "info", "the FIRST bytes")]),
    ],
)
def test_what_is_true_is_right(fields, probes):
    assert faults(entry(**fields), probes, 1.0) == []


@pytest.mark.parametrize(
    ("fields", "probes", "words"),
    [
        ({}, [probe("sizes", "fail", "lost")], "not true: FAIL sizes: lost"),
        ({"expected": passes("echo")}, [], "due: PASS echo, came: nothing"),
        ({"expected": passes("echo")}, [probe("echo", "skip")], "due: PASS echo"),
        ({"expected": (MTU,)}, [probe("sizes", "pass")], "due: FAIL path-mtu|mtu"),
        (
            {"expected": (MTU,)},
            [probe("mtu", "fail", "MTU"), probe("path-mtu", "fail", "MTU")],
            "due: FAIL path-mtu|mtu, came: FAIL mtu: MTU; FAIL path-mtu",
        ),
        ({"expected": (MTU,)}, [probe("mtu", "fail", "silence")], "does not say 'MTU'"),
        (
            {"expected": TWO},
            [
                probe("limit", "fail", "5 open"),
                probe("limit", "fail", "4 open"),
                probe("limit", "fail", "8 a second"),
            ],
            "due: FAIL limit, came: FAIL limit: 5 open",
        ),
        (
            {"expected": TWO},
            [probe("limit", "fail", "5 open")],
            "due: FAIL limit, came: FAIL limit: 5 open",
        ),
        (
            {"expected": (fails("outage"),)},
            [probe("outage", "fail", "nothing answers, after 0 connections in 0 µs: silence")],
            "untrue: FAIL outage",
        ),
        ({"expected": (MTU,)}, [probe("mtu", "fail", "MTU", "at the FIN")], "says 'FIN'"),
        (
            {"expected": (IDLE,)},
            [probe("find-idle", "info", "FIN", idle_seconds=1.8)],
            "idle_seconds is 1.8",
        ),
        ({"expected": (IDLE,)}, [probe("find-idle", "info", "FIN")], "idle_seconds is None"),
        ({"somewhere": "SYN"}, [probe("echo", "pass")], "no line says 'SYN'"),
        ({"nowhere": "at the FIN"}, [probe("echo", "pass", "AT THE FIN")], "wrong words"),
        ({}, [probe("echo", "info", "OSError: [Errno 111]")], "shows its inside"),
        ({"limit": 0.5}, [], "it took more than 0.5 s"),
    ],
)
def test_what_is_not_true_is_named(fields, probes, words):
    found = faults(entry(**fields), probes, 1.0)
    assert len(found) == 1
    assert words in found[0]


def test_a_probe_that_is_accused_is_named_once_though_it_should_have_passed():
    found = faults(entry(expected=passes("echo")), [probe("echo", "fail", "no answer")], 1.0)
    assert found == ["not true: FAIL echo: no answer"]


def test_runs_that_accuse_different_probes_are_not_right():
    runs = [Run((), verdict([probe(name, "fail")]), 1.0, ()) for name in ("sizes", "limit")]
    assert Outcome(entry(), runs[:1] * 2).right
    outcome = Outcome(entry(), runs)
    assert not outcome.right
    assert "differs: {'sizes': 1, 'limit': 1}" in str(outcome)


def test_a_wrong_line_is_counted_over_all_runs():
    runs = [Run(("not true: x",), "none", 1.0, ()), Run((), "none", 1.0, ())]
    assert "1 of 2: not true: x" in str(Outcome(entry(), runs))
