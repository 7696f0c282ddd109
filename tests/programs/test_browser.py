"""Pages of reports in headless Chromium: they are shown, in both schemes, without a complaint."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from echosvc.reports.check_page import check_page
from echosvc.reports.load_page import load_page
from echosvc.reports.soak_page import soak_page
from tests.support import chromium
from tests.support.html import read
from tests.unit.reports import samples, soak_samples
from tests.unit.reports.load_samples import break_it, result, run, sweep, tally_of

pytestmark = pytest.mark.programs
LOAD = load_page(run(result(break_it(tally_of(120, stall=20))), sweep=sweep()))
CHECK = check_page(samples.run(samples.CONNECTED, samples.LOST))
SOAK = soak_page(soak_samples.run(soak_samples.UPGRADE))
EACH = pytest.mark.parametrize("page", [LOAD, CHECK, SOAK], ids=["load", "check", "soak"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@cache
def measures(page: str, scheme: str = "light") -> dict[str, Any]:
    """What a browser made of a page in a narrow window."""
    found: dict[str, Any] = json.loads(chromium.measure(page, scheme, width=500))
    return found


@EACH
@SCHEMES
def test_a_browser_shows_all_of_it_and_complains_of_nothing(page: str, scheme: str) -> None:
    shown = chromium.show(page, scheme=scheme)
    assert shown.complaints == []
    wanted, found = read(page), read(shown.document)
    assert "".join(found.text.split()) == "".join(wanted.text.split())
    assert len(found.elements) == len(wanted.elements)


def test_a_complaint_would_be_seen() -> None:
    """The page forbids scripts, so that a browser complains of one."""
    page = LOAD.replace("</body>", "<script>1</script></body>")
    (complaint,) = chromium.show(page, scheme="dark").complaints
    assert "Content Security Policy" in complaint


def test_the_pictures_are_drawn() -> None:
    found = measures(LOAD)
    assert len(found["pictures"]) == 5
    assert min(found["pictures"]) > 100
    assert found["lines"] >= 9
    assert found["open"] == 0  # the tables are there, and closed


def test_the_pictures_of_a_soak_are_drawn() -> None:
    found = measures(SOAK)
    assert len(found["pictures"]) == 3  # gaps, answers, latency
    assert min(found["pictures"]) > 100
    assert found["open"] == 0


@EACH
def test_each_scheme_has_its_ground(page: str) -> None:
    assert measures(page)["ground"] == "rgb(255, 255, 255)"
    assert measures(page, "dark")["ground"] == "rgb(20, 23, 27)"


@EACH
def test_a_narrow_window_scrolls_in_one_direction(page: str) -> None:
    assert not measures(page)["wide"]
