"""The result of a check as JUnit XML."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from hypothesis import given, strategies

from echosvc._text import printable
from echosvc._version import __version__
from echosvc.probe.result import ProbeResult
from echosvc.reports.check_junit import check_junit
from tests.support.junit import accepted
from tests.unit.reports.samples import (
    CONNECTED,
    LOST,
    NEAR,
    NO_TLS,
    TEXTS,
    probe_results,
    run,
)


def cases(suite: Element) -> dict[str, Element]:
    return {case.attrib["name"]: case for case in suite.iter("testcase")}


def properties(suite: Element) -> dict[str, str]:
    return {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}


def test_each_result_is_one_case_and_the_suite_counts_them() -> None:
    suite = accepted(check_junit(run(CONNECTED, LOST, NEAR, NO_TLS)))
    assert list(cases(suite)) == ["connect", "order", "rtt", "tls"]
    counts = {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "4", "failures": "1", "errors": "0", "skipped": "1"}
    assert [case.attrib["time"] for case in suite.iter("testcase")] == [
        "0.250", "1.500", "0.100", "0.000",
    ]  # fmt: skip


def test_a_failure_has_its_finding_its_cause_and_its_figures() -> None:
    (failure,) = accepted(check_junit(run(LOST))).iter("failure")
    assert failure.attrib == {"type": "lost", "message": "7 bytes lost"}
    assert failure.text == "7 bytes lost\nlikely: a full queue\nfault: lost"


def test_the_type_of_a_failure_that_damaged_no_stream_is_its_name() -> None:
    (failure,) = accepted(check_junit(run(ProbeResult("idle", "fail", "cut", 1.0)))).iter("failure")
    assert failure.attrib["type"] == "idle"


def test_a_probe_that_was_skipped_says_why() -> None:
    (skipped,) = accepted(check_junit(run(NO_TLS))).iter("skipped")
    assert skipped.attrib == {"message": "no TLS"}


def test_what_was_asked_and_the_figures_are_properties() -> None:
    found = properties(accepted(check_junit(run(CONNECTED, NEAR))))
    assert found == {
        "endpoint": "tcp:lb.example:9000",
        "echosvc": __version__,
        "command": "echosvc check lb.example:9000",
        "timeout": "10",
        "connect.connect_seconds": "0.0012",
        "rtt.servers": "{\"'a': \": 3}",
    }


def test_a_figure_is_a_plain_number_and_one_without_a_value_is_left_out() -> None:
    facts = {"seconds": 0.0000281, "rate": 3.0, "greeting": "", "sizes": [1, 2]}
    found = properties(
        accepted(check_junit(run(ProbeResult("echo", "pass", "", 0.0, facts=facts))))
    )
    assert {name: value for name, value in found.items() if name.startswith("echo.")} == {
        "echo.seconds": "0.000028",
        "echo.rate": "3",
        "echo.sizes": "[1, 2]",
    }


def test_the_suite_says_when_and_where_it_ran() -> None:
    """The time is in UTC, and has no thousands separators."""
    suite = accepted(check_junit(run(CONNECTED)))
    assert suite.attrib["timestamp"] == "2026-02-28T23:30:05"
    assert (suite.attrib["time"], suite.attrib["hostname"]) == ("3723.250", "here")
    assert accepted(check_junit(run(host=""))).attrib["hostname"] == "localhost"


def test_the_class_of_a_case_is_its_endpoint_in_one_package() -> None:
    """Two endpoints in one build do not have the same cases."""
    (case,) = accepted(check_junit(run(CONNECTED))).iter("testcase")
    assert case.attrib["classname"] == "echosvc.check.tcp:lb_example:9000"


def test_the_output_is_what_a_terminal_shows() -> None:
    output = accepted(check_junit(run(CONNECTED, LOST))).findtext("system-out")
    assert output == (
        "PASS  connect        to it (0.25 s)\n"
        "FAIL  order          7 bytes lost (1.50 s)\n"
        "                     likely: a full queue\n"
        "tcp:lb.example:9000: NOT OK: 1 passed, 1 failed\n"
    )


def test_a_check_that_was_interrupted_has_not_passed() -> None:
    suite = accepted(check_junit(run(CONNECTED, interrupted=True)))
    assert list(cases(suite)) == ["connect", "interrupted"]
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("2", "1")


@given(strategies.lists(probe_results(), max_size=3), TEXTS.filter(str.strip))
def test_whatever_a_peer_sends_the_document_is_accepted(
    probes: list[ProbeResult], endpoint: str
) -> None:
    suite = accepted(check_junit(run(*probes, endpoint=endpoint, command=endpoint)))
    found = [each.attrib["message"] for each in suite.iter("failure")]
    assert found == [printable(each.finding) for each in probes if each.result == "fail"]
    assert properties(suite)["endpoint"] == printable(endpoint)
