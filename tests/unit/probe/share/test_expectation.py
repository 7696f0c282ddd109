"""What is expected is read as it was meant, or refused in one line that says why."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.share.expectation import (
    MOST,
    Expectation,
    ExpectationError,
    parse_expectations,
)
from echosvc.probe.share.names import name_text


def parsed(text: str) -> list[tuple[str | None, float, float]]:
    found = parse_expectations(text)
    return [(each.name, float(each.share * 100), float(each.tolerance * 100)) for each in found]


@pytest.mark.parametrize(
    "text",
    ["v1=80±5,v2=20±5", "v1=80+-5,v2=20+-5", "v1=80+/-5,v2=20±5", " v1=80% ± 5 % , v2=20±5.0"],
)
def test_a_tolerance_is_written_in_several_ways(text: str) -> None:
    assert parsed(text) == [("v1", 80, 5), ("v2", 20, 5)]


def test_thirds_are_exact() -> None:
    shares = parse_expectations("a=33.3±1,b=33.3±1,c=33.4±1")
    assert sum(each.share for each in shares) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (r"a\,b=1±1", "a,b"),
        (r"a\=b=1±1", "a=b"),
        (r"a\\=1±1", "a\\"),
        (r"a\n\t=1±1", "a\n\t"),
        (r"\xc3\xa9=1±1", "é"),
        (r"\xff=1±1", r"\xff"),
        (r"\*=1±1", "*"),
        ("é è=1±1", "é è"),
        ("v1±2=1±1", "v1±2"),
    ],
)
def test_a_name_has_escapes(text: str, name: str) -> None:
    assert [each[0] for each in parsed(text)] == [name]


def test_a_star_is_for_all_other_names() -> None:
    assert parsed("v1=95±5,*=0±1") == [("v1", 95, 5), (None, 0, 1)]
    assert str(parse_expectations("v1=95±5,*=0±1")[1]) == "0±1"


def escaped(name: str) -> str:
    for character in "\\,=*":
        name = name.replace(character, f"\\{character}")
    return name.replace("\n", r"\n").replace("\t", r"\t")


NAMES = st.text("ab1é±=,\\*\n\t %", min_size=1).filter(lambda name: name == name.strip())
NUMBERS = st.decimals(0, 100, places=3)


@given(st.lists(st.tuples(NAMES, st.integers(0, 10), NUMBERS), min_size=1, max_size=5))
def test_what_is_written_is_read(rows: list[tuple[str, int, Fraction]]) -> None:
    rows = [row for at, row in enumerate(rows) if row[0] not in [each[0] for each in rows[:at]]]
    text = ",".join(f"{escaped(name)}={share}±{tolerance or 1}" for name, share, tolerance in rows)
    found = parse_expectations(text)
    assert [each.name for each in found] == [name_text(name.encode()) for name, _, _ in rows]
    assert [each.share for each in found] == [Fraction(share) / 100 for _, share, _ in rows]
    assert [each.tolerance for each in found] == [Fraction(each or 1) / 100 for _, _, each in rows]


def refusal(text: str) -> str:
    """Why a text is refused; "": it is not."""
    try:
        return "" if parse_expectations(text) else "nothing"
    except ExpectationError as error:
        return str(error)


@given(st.text() | st.text("v1=80±5,+-\\*x%. "))
def test_any_text_is_read_or_refused_in_one_printable_line(text: str) -> None:
    assert refusal(text).isprintable()


WRONG = {
    "": "must be NAME=SHARE±TOLERANCE in per cent, such as v1=80±5, not ''",
    "v1": "must be NAME=SHARE±TOLERANCE",
    "v1=80±5,": "not ''",
    "=80±5": "not '=80±5'",
    "v1=80": "write 'v1=80±5'",
    "v1=80±0": "the tolerance must be more than 0",
    "v1=x±5": "'x' is no number from 0 to 100",
    "v1=80±x": "'x' is no number from 0 to 100",
    "v1=101±5": "no number from 0 to 100",
    "v1=-1±5": "no number from 0 to 100",
    "v1=nan±5": "no number from 0 to 100",
    "v1=1e1±5": "no number from 0 to 100",
    "v1=٣±5": "no number from 0 to 100",
    "v1=80±5,v1=20±5": "'v1' is given twice",
    "v1=1±1,\\x76\\x31=1±1": "'v1' is given twice",
    "v1=80±5,v2=30±5": "the shares add to 110, more than 100",
    "*=0±1": "none is listed",
    "v1=1±1\\": "a backslash at the end",
    "\\q=1±1": "is no escape in a name",
    "\\x4=1±1": "is no escape in a name",
    "\ud800=1±1": "is no text",
    ",".join(f"v{n}=0±1" for n in range(MOST + 1)): "there may be 100",
}


@pytest.mark.parametrize(("text", "why"), WRONG.items(), ids=[key[:12] for key in WRONG])
def test_what_makes_no_sense_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ExpectationError) as caught:
        parse_expectations(text)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


def test_what_is_tolerated_ends_at_0_and_100() -> None:
    low, high = Expectation("a", Fraction(1, 50), Fraction(1, 20)), parse_expectations("a=98±5")[0]
    assert (low.low, low.high) == (0.0, 0.07)
    assert (high.low, high.high) == (0.93, 1.0)
