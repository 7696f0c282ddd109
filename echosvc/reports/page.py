"""An HTML page of a report: its frame, its style, verdicts, tables and lists. No I/O.

A page is a tree of elements, and it becomes text once, at the end: nothing that a peer sent can be
left unescaped. Every text passes :func:`~echosvc._text.printable`, which escapes control characters
and those that change the direction of text. A page loads nothing and runs no script, so it can be
kept, mailed and printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, tostring

from echosvc._text import printable

#: What an element may contain.
Content = Element | str

#: Colours have a contrast of 4.5 to 1 or more, on a light and on a dark ground (WCAG 2.2, 1.4.3).
_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1b1f24; --muted: #59636e;
  --line: #d1d9e0; --panel: #f6f8fa; --one: #0a58ca; --two: #9a4a00; --three: #7b3fb5;
  --pass: #1a7f37; --fail: #b3261e; --info: #0a58ca; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171b; --text: #e6e9ec; --muted: #9aa4af; --line: #3a424c;
    --panel: #1e2329; --one: #6cb2ff; --two: #f0a35e; --three: #c9a2ff;
    --pass: #4cc36a; --fail: #ff7b72; --info: #6cb2ff; } }
@media print {
  :root { color-scheme: light; --ground: #fff; --text: #000; --muted: #444; --line: #999;
    --panel: #fff; --one: #0a58ca; --two: #9a4a00; --three: #7b3fb5;
    --pass: #1a7f37; --fail: #b3261e; --info: #0a58ca; } }
body { max-width: 68rem; margin: 0 auto; padding: 1.5rem; background: var(--ground);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; padding-bottom: .25rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p, ol { margin: .25rem 0; }
li + li { margin-top: 1rem; } .brief { margin: .25rem 0; } .brief li + li { margin-top: 0; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
a { color: inherit; }
footer, .muted { color: var(--muted); }
footer { margin-top: 2rem; border-top: 1px solid var(--line); padding-top: .5rem; }
.panel { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem;
  padding: .5rem 1rem; }
.verdict { display: inline-block; border: 1px solid; border-radius: .25rem; padding: 0 .4em;
  font-size: .85em; font-weight: 700; white-space: nowrap; color: var(--muted); }
.pass { color: var(--pass); } .fail { color: var(--fail); } .info { color: var(--info); }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--muted); padding-bottom: .25rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0;
  border-bottom: 1px solid var(--line); }
th { white-space: nowrap; }
td:last-child, th:last-child { text-align: right; white-space: nowrap; padding-right: 0;
  font-variant-numeric: tabular-nums; }
.numbers { width: auto; } .numbers td, .numbers th { text-align: right; white-space: nowrap;
  padding: .15rem 0 .15rem 1.5rem; font-variant-numeric: tabular-nums; }
.numbers th:first-child { text-align: left; padding-left: 0; font-weight: 400; }
.numbers caption { white-space: nowrap; }
.numbers thead th, .numbers thead th:first-child { font-weight: 700; }
details { margin: .5rem 0; } summary { cursor: pointer; width: max-content; }
.scroll { overflow-x: auto; max-height: 24rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .25rem 0; }
dt { color: var(--muted); } dd { margin: 0; }
@media (max-width: 40rem) { dl { display: block; } dd { margin: 0 0 .4rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  tr, li, dl > * { break-inside: avoid; } h2, h3 { break-after: avoid; } thead {
  display: table-header-group; } }
"""


def element(tag: str, *content: Content, **attributes: str) -> Element:
    """Return an element.

    :param content: its texts and elements, in order.
    :param attributes: a name that Python has reserved ends with ``_``, as ``class_`` does.
    """
    made = Element(tag, {name.rstrip("_"): printable(text) for name, text in attributes.items()})
    for each in content:
        _append(made, each)
    return made


def _append(parent: Element, content: Content) -> None:
    """Append an element, or a text behind what the parent contains."""
    if not isinstance(content, str):
        parent.append(content)
    elif len(parent):
        parent[-1].tail = (parent[-1].tail or "") + printable(content)
    else:
        parent.text = (parent.text or "") + printable(content)


def render_page(title: str, body: Iterable[Element], more_style: str = "") -> str:
    """Return a page as text, to be encoded as UTF-8.

    :param body: its parts, such as a header, sections and a footer.
    :param more_style: the style of parts that not every page has.
    """
    style = Element("style")
    style.text = _STYLE + more_style
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _content_policy(),
        element("title", title),
        style,
    )
    page = element("html", head, element("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{tostring(page, encoding='unicode', method='html')}\n"


def _content_policy() -> Element:
    """Return the element that forbids a browser to load anything, and to run scripts."""
    policy = {"http-equiv": "Content-Security-Policy"}
    return Element("meta", policy, content="default-src 'none'; style-src 'unsafe-inline'")


def section(identifier: str, heading: str, *content: Content) -> Element:
    """Return a section, which its heading names.

    :param identifier: unique in the page.
    """
    title = element("h2", heading, id=f"{identifier}-heading")
    made = element("section", title, *content, id=identifier)
    made.set("aria-labelledby", f"{identifier}-heading")
    return made


def verdict(kind: str, word: str = "") -> Element:
    """Return a verdict: a word in the colour of its kind.

    :param kind: pass, fail, info or skip.
    :param word: what to show; by default the kind in capitals.
    """
    return element("strong", word or kind.upper(), class_=f"verdict {kind}")


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Content]]) -> Element:
    """Return a table. The second cell of a row names the row, and the last one is a number."""
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    body = element("tbody", *map(_row, rows))
    return element("table", element("caption", caption), element("thead", head), body)


def _row(cells: Sequence[Content]) -> Element:
    first, name, *others = cells
    header = element("th", name, scope="row")
    return element("tr", element("td", first), header, *(element("td", each) for each in others))


def number_table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Element:
    """Return a table of numbers. The first cell of a row names the row."""
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    body = element("tbody", *map(_numbers, rows))
    parts = element("caption", caption), element("thead", head), body
    return element("table", *parts, class_="numbers")


def _numbers(cells: Sequence[str]) -> Element:
    header = element("th", cells[0], scope="row")
    return element("tr", header, *(element("td", each) for each in cells[1:]))


def scrolled(kind: str, label: str, content: Element) -> Element:
    """Return a region that the keyboard can scroll where its content is too wide, or too high.

    :param kind: the class of the region.
    """
    made = element("div", content, class_=kind, tabindex="0", role="region")
    made.set("aria-label", printable(label))
    return made


def key_values(pairs: Iterable[tuple[str, Content]]) -> Element:
    """Return a list of names and values."""
    parts = [(element("dt", name), element("dd", value)) for name, value in pairs]
    return element("dl", *(each for pair in parts for each in pair))
