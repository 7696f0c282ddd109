"""The parts that pages of reports are made of."""

from __future__ import annotations

import re
from xml.etree.ElementTree import tostring

import pytest
from hypothesis import given

from echosvc._text import printable
from echosvc.reports.page import element, key_values, render_page, section, table, verdict
from tests.support.html import read
from tests.unit.reports.samples import TEXTS


def page(*content: object) -> str:
    title = element("h1", "a report")
    return render_page("a report", [element("main", title, *content)])  # type: ignore[arg-type]


def markup(each: object) -> str:
    return tostring(each, encoding="unicode", method="html")  # type: ignore[arg-type]


def test_a_page_stands_alone() -> None:
    reader = read(page(section("one", "One", element("p", "text"))))
    policy = {"http-equiv": "Content-Security-Policy"}
    (found,) = [each for each in reader.tags("meta") if "http-equiv" in each]
    assert found == {**policy, "content": "default-src 'none'; style-src 'unsafe-inline'"}
    assert {"charset": "utf-8"} in reader.tags("meta")


@given(TEXTS, TEXTS)
def test_every_text_is_escaped(text: str, attribute: str) -> None:
    reader = read(page(element("p", text, "|", element("b", text), text, title=attribute)))
    assert reader.tags("p") == [{"title": printable(attribute)}]
    assert "".join(reader.text.split()) == "".join(
        f"areport{printable(text)}|{printable(text) * 2}".split()
    )


def test_texts_and_elements_keep_their_order() -> None:
    made = element("p", "one ", element("b", "two"), " three", " four")
    assert markup(made) == "<p>one <b>two</b> three four</p>"


def test_a_verdict_is_a_word_in_a_colour() -> None:
    assert markup(verdict("fail")) == '<strong class="verdict fail">FAIL</strong>'
    assert markup(verdict("pass", "ok")) == '<strong class="verdict pass">ok</strong>'


def test_a_table_has_a_caption_and_names_its_rows_and_columns() -> None:
    reader = read(page(table("of all", ["result", "probe", "time"], [("PASS", "idle", "1 s")])))
    assert [each["scope"] for each in reader.tags("th")] == ["col", "col", "col", "row"]
    assert reader.text == "a report of all result probe time PASS idle 1 s"


def test_a_list_has_names_and_values_in_turn() -> None:
    made = key_values([("a", "1"), ("b", element("code", "2"))])
    assert markup(made) == "<dl><dt>a</dt><dd>1</dd><dt>b</dt><dd><code>2</code></dd></dl>"


def colours(style: str, scheme: str) -> dict[str, str]:
    """The colours of one scheme, by their names."""
    start = style.index(scheme)
    block = style[start : style.index("--info", start) + 20]
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", block))


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.2."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [":root", "dark", "print"])
@pytest.mark.parametrize("name", ["text", "muted", "pass", "fail", "info", "one", "two", "three"])
def test_every_text_can_be_read_on_its_ground(scheme: str, name: str) -> None:
    known = colours(read(page()).style, scheme)
    for ground in ("ground", "panel"):
        light, dark = sorted(map(luminance, (known[ground], known[name])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5
