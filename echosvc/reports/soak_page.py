"""The result of a soak as one HTML page: verdict, timeline, what was asked. No I/O.

A page has at most 100 KiB, however long the soak was and whatever a peer sent: what is in order of
time is thinned, lists are cut, and so are long texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element

from echosvc._version import __version__
from echosvc.probe.soak.result import SoakResult, utc
from echosvc.reports.charts import STYLE
from echosvc.reports.load_run import brief
from echosvc.reports.page import Content, element, key_values, render_page, section, verdict
from echosvc.reports.soak_charts import soak_charts
from echosvc.reports.soak_run import SoakRun, option_texts
from echosvc.reports.soak_text import (
    describe_gap,
    event_line,
    events_in_order,
    figure_lines,
    long_time,
    state,
)

_ADVICE = "docs/soak.md explains what a gap, a break and an outage are, and how long each is."
#: How many of a kind are listed, and how long a value and a sentence may be.
_LISTED, _VALUE, _SENTENCE = 60, 100, 400


def soak_page(run: SoakRun) -> str:
    """Return the page as text, to be encoded as UTF-8."""
    result = run.result
    main = element("main", section("found", "What was found", *_found(result)))
    main.append(section("time", "Over time", *soak_charts(result)))
    main.append(section("events", "Outages and marks", *_events(result)))
    main.append(section("gaps", "Gaps", *_gaps(result)))
    main.append(_asked(run))
    title = f"{state(result)}: {brief(result.endpoint, _VALUE)}, echosvc soak"
    return render_page(title, (_header(run), main, _footer(run)), STYLE)


def _header(run: SoakRun) -> Element:
    result = run.result
    kind = "pass" if result.ok else "fail"
    after = f" after {long_time(result.seconds)}"
    parts: list[Content] = [
        element("h1", "echosvc soak ", element("code", brief(result.endpoint, _VALUE))),
        element("p", verdict(kind, state(result)), after),
    ]
    if result.why:
        reasons = (element("li", brief(each, _SENTENCE)) for each in result.reasons)
        parts.append(element("ul", *reasons, class_="brief"))
    return element("header", *parts)


def _found(result: SoakResult) -> list[Content]:
    lines = (brief(line, _SENTENCE) for line in figure_lines(result))
    return [_listed(lines)]


def _events(result: SoakResult) -> list[Content]:
    events = events_in_order(result)
    total = result.outage_count + result.mark_count
    return _cut((event_line(each) for each in events[:_LISTED]), total)


def _gaps(result: SoakResult) -> list[Content]:
    longest = sorted(result.gaps, key=lambda gap: -gap.seconds)[:_LISTED]
    lines = (f"{utc(gap.began)}  {describe_gap(gap)}" for gap in longest)
    return _cut(lines, result.gap_count)


def _cut(lines: Iterable[str], total: int) -> list[Content]:
    shown = [brief(line, _SENTENCE) for line in lines]
    if not shown:
        return [element("p", "None.")]
    left = total - len(shown)
    more = [element("p", f"{left} more are not listed.", class_="muted")] if left else []
    return [_listed(shown), *more]


def _listed(lines: Iterable[str]) -> Element:
    return element("ul", *(element("li", line) for line in lines), class_="brief")


def _asked(run: SoakRun) -> Element:
    pairs: list[tuple[str, Content]] = []
    if run.command:
        pairs.append(("command", element("code", brief(run.command, _SENTENCE))))
    pairs += [(name, brief(text, _VALUE)) for name, text in option_texts(run.result)]
    advice = element("p", _ADVICE, class_="muted")
    return section("asked", "What was asked", key_values(pairs), advice)


def _footer(run: SoakRun) -> Element:
    began = run.started.strftime("%Y-%m-%d %H:%M:%S UTC")
    words = f"echosvc {__version__} on {brief(run.host, _VALUE)}, {began}"
    return element("footer", words)
