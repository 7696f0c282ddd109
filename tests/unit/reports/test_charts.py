"""Charts: what they draw, what they say without the picture, and what becomes of hostile texts."""

from __future__ import annotations

import re

from hypothesis import given

from echosvc._text import printable
from echosvc.reports.axes import lanes, linear, utc
from echosvc.reports.charts import STYLE, Bar, Chart, figure
from echosvc.reports.page import element, number_table, render_page
from tests.support.html import Reader, read
from tests.unit.reports.samples import TEXTS

TABLE = number_table("of all", ["time", "rate"], [("12:00", "5")])


def chart(text: str = "a line") -> Chart:
    return Chart(text, utc(0, 100), linear("rate", 10, "{:g}".format), 100)


def page(each: Chart, title: str = "Rate") -> Reader:
    shown = figure(title, "1/s", each, [("one", "sent")], TABLE)
    main = element("main", element("h1", "charts"), shown)
    return read(render_page("charts", [main], STYLE))


def drawn(reader: Reader, kind: str) -> list[str]:
    paths = [each for each in reader.tags("path") if each["class"] == kind]
    return [str(each["d"]) for each in paths][1:]  # the first is in the legend


def test_a_line_goes_through_its_points() -> None:
    made = chart()
    made.line("one", [(0, 0), (50, 5), (100, 10)])
    assert drawn(page(made), "series one") == ["M74.0 110.0L389.0 60.0L704.0 10.0"]


def test_a_line_is_interrupted_where_there_is_no_value() -> None:
    made = chart()
    made.line("one", [(0, None), (25, 5), (50, None), (75, 5), (100, 5)])
    (path,) = drawn(page(made), "series one")
    assert re.findall("[ML]", path) == ["M", "M", "L"]


def test_what_has_no_points_draws_nothing() -> None:
    made = chart()
    made.line("one", [(0, None)])
    made.bars("fail", [])
    reader = page(made)
    assert drawn(reader, "series one") == []
    assert not [each for each in reader.tags("path") if each["class"] == "bars fail"]


def test_a_short_bar_can_be_seen() -> None:
    made = Chart("gaps", utc(0, 86400), lanes("connection", ["1", "2"]), 100)
    made.bars("fail", [Bar(100.0, 100.01, 0.1, 0.9)])
    (path,) = (each["d"] for each in page(made).tags("path") if each["class"] == "bars fail")
    assert path == "M74.7 15.0h1.5V55.0h-1.5z"


def test_a_mark_has_its_text_beside_it_wherever_it_stands() -> None:
    made = chart()
    made.mark(5, "the upgrade begins")
    made.mark(99, "the upgrade ends")
    texts = [each for each in page(made).tags("text") if each["y"] == "21.0"]
    assert [each["class"] for each in texts] == ["right", "left"]


def test_the_picture_is_one_text_to_a_screen_reader_and_its_table_has_the_figures() -> None:
    reader = page(chart("rises from 0 to 10"))
    assert [each.get("aria-label") for each in reader.tags("svg") if "role" in each] == [
        "rises from 0 to 10"
    ]
    assert "Rate as a table of all time rate 12:00 5" in reader.text


def test_a_picture_may_be_asked_for_twice() -> None:
    made = chart()
    assert len(made.picture()) == len(made.picture())


@given(TEXTS, TEXTS)
def test_every_text_is_escaped(title: str, label: str) -> None:
    made = chart(f"{title}.")
    made.mark(3, title)
    reader = page(made, f"{title}.")
    assert printable(f"{title}.") in [each.get("aria-label") for each in reader.tags("svg")]
