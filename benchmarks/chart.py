"""The chart: for each workload a panel of bars, one for each server, as SVG."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

from benchmarks.figures import Figures
from benchmarks.results import Results
from benchmarks.table import number, title_of
from benchmarks.workloads import Workload

#: The kinds of servers: what the legend calls them, and their colours.
KINDS = {
    "lean": ("echosvc, lean reactor", "#0b6e4f"),
    "ours": ("echosvc, default reactor", "#57b894"),
    "c": ("C, the floor", "#3d405b"),
    "": ("other servers", "#b8bcc8"),
}
_KIND_OF = {"lean-guarded": "lean", "guarded": "ours"}
INK, FAINT, PAPER = "#22252e", "#e3e5ea", "#ffffff"
#: Everything in pixels.
WIDTH, COLUMNS, MARGIN, GAP = 1120, 2, 36, 44
LABEL, VALUE, BAR, STEP = 150, 62, 15, 21
TOP, HEADING, AXIS = 118, 26, 42
_PANEL = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
_SCALE = _PANEL - LABEL - VALUE


def _text(
    x: float, y: float, words: str, size: int = 12, anchor: str = "start", more: str = ""
) -> str:
    """One line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{more}>'
        f"{escape(words)}</text>"
    )


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    """A filled rectangle."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def ticks(most: float) -> list[float]:
    """Round numbers from 0 to the first one that is not below ``most``; three to six."""
    power = 10.0 ** math.floor(math.log10(most))
    step = next(s * power for s in (0.2, 0.25, 0.5, 1, 2, 2.5) if s * power * 5 >= most)
    return [step * i for i in range(math.ceil(most / step - 1e-9) + 1)]


def _tick(value: float) -> str:
    """A number on an axis, as short as it can be."""
    return f"{value:,.10g}"


def _axis(x: float, y: float, height: float, most: float, unit: str) -> list[str]:
    """Lines for round numbers, these below, and the unit below them."""
    marks, drawn = ticks(most), []
    for mark in marks:
        at = x + LABEL + _SCALE * mark / marks[-1]
        drawn.append(_box(at - 0.5, y, 1, height, FAINT))
        drawn.append(_text(at, y + height + 14, _tick(mark), 10, "middle"))
    middle = x + LABEL + _SCALE / 2
    return [*drawn, _text(middle, y + height + 29, f"{unit} (less is better)", 11, "middle")]


def _bar(x: float, y: float, peer: str, cost: float, most: float) -> list[str]:
    """One server: its name, its bar, its cost."""
    colour = KINDS.get(_KIND_OF.get(peer, peer), KINDS[""])[1]
    length, middle = max(1.0, _SCALE * cost / most), y + BAR / 2 + 4
    return [
        _text(x + LABEL - 8, middle, title_of(peer), 12, "end"),
        _box(x + LABEL, y, length, BAR, colour),
        _text(x + LABEL + length + 5, middle, number(cost), 11, more=' font-weight="600"'),
    ]


def _height(found: dict[str, Figures]) -> float:
    """A panel's height."""
    return HEADING + STEP * len(found) + AXIS


def _panel(x: float, y: float, workload: Workload, found: dict[str, Figures]) -> list[str]:
    """One workload, its servers in the order of the table."""
    costs = {peer: max(0.0, figures.cost) for peer, figures in found.items()}
    most = max(max(costs.values(), default=0.0), 1e-6)
    drawn = [_text(x, y + 14, workload.title, 14, more=' font-weight="700"')]
    drawn += _axis(x, y + HEADING, STEP * len(found), most, workload.unit)
    for at, (peer, cost) in enumerate(costs.items()):
        drawn += _bar(x, y + HEADING + STEP * at + 3, peer, cost, ticks(most)[-1])
    return drawn


def _head() -> list[str]:
    """The title and the legend."""
    title = "What an echo costs: echosvc beside other servers"
    more = "Lowest of the rounds of one run on one machine (streams: median); the server's cost."
    drawn = [_text(MARGIN, 42, title, 22, more=' font-weight="700"'), _text(MARGIN, 64, more)]
    for at, (words, colour) in enumerate(KINDS.values()):
        x = MARGIN + 200 * at
        drawn += [_box(x, 80, 14, 14, colour), _text(x + 20, 92, words)]
    return drawn


def draw(results: Results) -> str:
    """The whole picture."""
    drawn, tops = _head(), [float(TOP)] * COLUMNS
    for workload in results.workloads:
        found = results.figures[workload.name]
        column = tops.index(min(tops))
        x = MARGIN + column * (_PANEL + GAP)
        drawn += _panel(x, tops[column], workload, found)
        tops[column] += _height(found) + 24
    height = max(tops)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}"'
        f' viewBox="0 0 {WIDTH} {height:.0f}" font-family="Helvetica, Arial, sans-serif"'
        f' fill="{INK}" role="img">'
    )
    title = "<title>Costs of echo servers, workload by workload</title>"
    return "\n".join([opening, title, _box(0, 0, WIDTH, height, PAPER), *drawn, "</svg>"]) + "\n"
