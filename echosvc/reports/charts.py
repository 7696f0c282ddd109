"""Charts of a page: lines, bars and marks over two axes, drawn as SVG, each with its table. No I/O.

A chart is a picture to a screen reader, with one text; its table has the figures. A series has a
dash of its own, so that nobody needs to see its colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from xml.etree.ElementTree import Element

from echosvc._text import printable
from echosvc.reports.axes import Axis
from echosvc.reports.page import element, scrolled

#: The kinds of series: three, and what is wrong.
KINDS = ("one", "two", "three", "fail")
#: To be added to the style of the page.
STYLE = """
figure { margin: 1rem 0 1.5rem; } figcaption { font-weight: 700; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1.25rem; margin: 0; color: var(--muted); }
.legend svg { width: 1.75rem; height: .75rem; margin-right: .35rem; vertical-align: -.05rem; }
.plot { overflow-x: auto; } .plot svg { display: block; width: 100%; min-width: 36rem; }
.plot text { font: 12px system-ui, sans-serif; fill: var(--muted); }
.plot .left { text-anchor: end; } .plot .below { text-anchor: middle; }
.grid, .mark { fill: none; stroke: var(--line); }
.mark { stroke: var(--text); stroke-dasharray: 2 3; }
.series { fill: none; stroke-width: 2; stroke-linejoin: round; }
.series.one { stroke: var(--one); }
.series.two { stroke: var(--two); stroke-dasharray: 7 3; }
.series.three { stroke: var(--three); stroke-dasharray: 2 3; }
.series.fail { stroke: var(--fail); }
.bars.one { fill: var(--one); } .bars.two { fill: var(--two); } .bars.three { fill: var(--three); }
.bars.fail { fill: var(--fail); }
"""
#: The width of a chart, and what is left free around the area of the axes.
_WIDTH, _RIGHT, _TOP, _BOTTOM = 720, 16, 10, 40
#: Width of a letter at most, about.
_LETTER = 7
#: No bar is narrower, so that it can be seen.
_NARROWEST = 1.5


class Bar(NamedTuple):
    """A rectangle of a chart, by the values at its edges."""

    start: float
    end: float
    low: float
    high: float


class Chart:
    """A picture of figures over two axes.

    :param text: says what it shows to people who do not see it.
    :param x: the axis at the bottom.
    :param y: the axis at the left.
    :param height: of the area of the axes.
    :param left: room for the names of values at the left.
    """

    def __init__(self, text: str, x: Axis, y: Axis, height: int = 180, left: int = 74) -> None:
        self._text, self._x, self._y = text, x, y
        self._height, self._left = height, left
        self._drawn: list[Element] = []

    def line(self, kind: str, points: Iterable[tuple[float, float | None]]) -> None:
        """Draw a line through points; it is interrupted where a value is ``None``."""
        path, pen = [], "M"
        for x, y in points:
            if y is not None:
                path.append(f"{pen}{self._across(x):.1f} {self._down(y):.1f}")
            pen = "M" if y is None else "L"
        if path:  # a point alone is drawn by the round end of its line
            self._draw(f"series {kind}", "".join(path) + "h.1" * (len(path) == 1))

    def bars(self, kind: str, bars: Iterable[Bar]) -> None:
        """Draw rectangles."""
        path = [self._rectangle(bar) for bar in bars]
        if path:
            self._draw(f"bars {kind}", "".join(path))

    def mark(self, x: float, text: str) -> None:
        """Draw a line from top to bottom, with a short text at its head."""
        across = self._across(x)
        self._draw("mark", f"M{across:.1f} {_TOP}v{self._height}")
        room = _WIDTH - across
        shift, side = (4, "right") if room > len(text) * _LETTER else (-4, "left")
        self._drawn.append(_text(text, across + shift, _TOP + 11, side))

    def picture(self) -> Element:
        """Return the picture."""
        height = _TOP + self._height + _BOTTOM
        size = {"viewBox": f"0 0 {_WIDTH} {height}", "role": "img"}
        made = element("svg", *self._axes(), *self._drawn, **size)
        made.set("aria-label", printable(self._text))
        return made

    # -- parts ----------------------------------------------------------------

    def _axes(self) -> Iterator[Element]:
        left, right, bottom = self._left, _WIDTH - _RIGHT, _TOP + self._height
        for value, text in self._y.ticks:
            down = self._down(value)
            yield element("path", class_="grid", d=f"M{left} {down:.1f}H{right}")
            yield _text(text, left - 6, down + 4, "left")
        for value, text in self._x.ticks:
            across = self._across(value)
            yield element("path", class_="grid", d=f"M{across:.1f} {_TOP}V{bottom + 4}")
            side = "below" if across < right - _LETTER * len(text) / 2 else "left"
            yield _text(text, across if side == "below" else _WIDTH, bottom + 17, side)
        yield _text(self._x.label, (left + right) / 2, bottom + 34, "below")

    def _across(self, value: float) -> float:
        return self._left + self._x.place(value) * (_WIDTH - self._left - _RIGHT)

    def _down(self, value: float) -> float:
        return _TOP + (1 - self._y.place(value)) * self._height

    def _rectangle(self, bar: Bar) -> str:
        left, right = self._across(bar.start), self._across(bar.end)
        top, bottom = sorted((self._down(bar.low), self._down(bar.high)))
        width = max(right - left, _NARROWEST)
        return f"M{left:.1f} {top:.1f}h{width:.1f}V{bottom:.1f}h-{width:.1f}z"

    def _draw(self, kind: str, path: str) -> None:
        self._drawn.append(element("path", class_=kind, d=path))


def _text(text: str, across: float, down: float, side: str) -> Element:
    return element("text", text, class_=side, x=f"{across:.1f}", y=f"{down:.1f}")


def legend(names: Iterable[tuple[str, str]]) -> Element:
    """Return what each series is, behind a piece of its line.

    :param names: the kind of each, and its name.
    """
    parts = [element("span", _sample(kind), name) for kind, name in names]
    return element("p", *parts, class_="legend")


def _sample(kind: str) -> Element:
    made = element(
        "svg", element("path", class_=f"series {kind}", d="M0 6h28"), viewBox="0 0 28 12"
    )
    made.set("aria-hidden", "true")
    return made


def figure(title: str, axis: str, chart: Chart, names: Iterable[tuple[str, str]],
           table: Element) -> Element:  # fmt: skip
    """Return a chart with its title, its legend and its table.

    :param title: what it shows.
    :param axis: what the axis at the left shows, and its unit.
    :param names: as :func:`legend` takes them.
    :param table: the same in figures; it is shown on demand.
    """
    head = element("figcaption", title, element("span", f" {axis}", class_="muted"))
    plot = scrolled("plot", f"Chart: {title}", chart.picture())
    shown = scrolled("scroll", f"Table: {title}", table)
    summary = element("summary", f"{title} as a table")
    return element("figure", head, legend(names), plot, element("details", summary, shown))
