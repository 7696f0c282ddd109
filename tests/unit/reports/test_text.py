"""The documents that are made of results."""

from __future__ import annotations

from dataclasses import replace

from echosvc.probe.result import CheckResult, ProbeResult
from echosvc.reports.text import probe_lines, summary_line

LOST = ProbeResult("order", "fail", "7 bytes lost", 1.5, "a full queue")
PASSED = ProbeResult("connect", "pass", "to it", 0.25)
SKIPPED = ProbeResult("tls", "skip", "no TLS", 0.0)


def test_a_probe_is_one_line_and_a_likely_cause_stands_below_its_finding() -> None:
    assert probe_lines(PASSED) == "PASS  connect        to it (0.25 s)\n"
    first, second, rest = probe_lines(LOST).split("\n")
    assert first == "FAIL  order          7 bytes lost (1.50 s)"
    assert second.index("likely: a full queue") == first.index("7 bytes")
    assert rest == ""


def test_no_finding_and_no_cause_can_harm_a_terminal() -> None:
    probe = replace(LOST, finding="\x1b[2J\nPASS", cause="\r\u202e")
    lines = probe_lines(probe).removesuffix("\n").split("\n")
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_the_summary_names_passes_and_failures_always_and_others_where_there_are_any() -> None:
    known = ProbeResult("rtt", "info", "near", 0.0)
    assert summary_line(CheckResult("h:1", (known,))).startswith("h:1: ok: 0 passed, 0 failed, 1 ")
    mixed = CheckResult("h:1", (PASSED, LOST, SKIPPED, SKIPPED))
    assert summary_line(mixed) == "h:1: NOT OK: 1 passed, 1 failed, 2 skipped\n"


def test_where_all_was_skipped_it_says_that_nothing_was_tested() -> None:
    result = CheckResult("h:1", (SKIPPED,))
    assert summary_line(result) == "h:1: nothing was tested: 0 passed, 0 failed, 1 skipped\n"


def test_an_interrupted_check_says_so() -> None:
    result = CheckResult("h:1", (PASSED,), interrupted=True)
    assert summary_line(result) == "h:1: interrupted: 1 passed, 0 failed\n"
