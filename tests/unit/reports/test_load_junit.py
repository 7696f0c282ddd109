"""The verdict on a load as JUnit XML."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest
from hypothesis import given

from echosvc.reports.load_figures import UNITS
from echosvc.reports.load_junit import load_junit
from echosvc.reports.load_text import load_text
from tests.support.examples import examples
from tests.support.junit import accepted
from tests.unit.reports.load_samples import break_it, result, run, tally_of
from tests.unit.reports.samples import TEXTS


def properties(suite: Element) -> dict[str, str]:
    every = [(each.attrib["name"], each.attrib["value"]) for each in suite.iter("property")]
    assert len(dict(every)) == len(every)
    return dict(every)


def test_a_run_that_is_right_is_a_case_that_passed() -> None:
    suite = accepted(load_junit(run()))
    (case,) = suite.iter("testcase")
    assert (case.attrib["name"], len(case)) == ("every message is answered", 0)
    assert suite.attrib["timestamp"] == "2027-01-15T12:00:00"
    assert suite.findtext("system-out") == load_text(result())


@pytest.mark.parametrize(
    ("found", "end", "kind"),
    [
        (result(break_it(tally_of(5))), "failure", "FAIL"),
        (result(lag=0.02), "error", "INVALID"),  # it was not found out whether the path is good
    ],
)
def test_what_is_wrong_is_a_failure_and_what_is_invalid_an_error(
    found: object, end: str, kind: str
) -> None:
    (made,) = accepted(load_junit(run(found))).iter(end)  # type: ignore[arg-type]
    assert made.attrib["type"] == kind
    assert made.attrib["message"] == found.verdict.why  # type: ignore[attr-defined]
    assert str(made.text).splitlines()[0] == found.verdict.reasons[0]  # type: ignore[attr-defined]


def test_a_run_that_was_interrupted_has_failed() -> None:
    suite = accepted(load_junit(run(result(interrupted=True))))
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("2", "1")
    (failure,) = suite.iter("failure")
    assert failure.attrib["message"] == "the run was ended before its time"


def test_what_was_asked_and_the_figures_are_properties() -> None:
    found = properties(accepted(load_junit(run())))
    wanted = {"rate": "100", "connections": "10", "load.rate": "20/s", "load.lost": "0"}
    assert wanted.items() <= found.items()
    assert {f"load.{name}" for name in UNITS} <= found.keys()
    assert "prefix" not in found  # it was not given


@given(TEXTS)
@examples(20)
def test_any_text_is_accepted(text: str) -> None:
    tally = tally_of(1, 5)
    tally.errors[text] += 1
    name = f"a{text}"
    made = run(result(tally, endpoint=text, failure=text, options={name: text}), host=text)
    accepted(load_junit(made))
