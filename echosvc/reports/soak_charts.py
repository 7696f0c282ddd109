"""The pictures of a soak: its gaps by connection, what was answered, and how late. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from echosvc._text import format_duration
from echosvc.probe.soak.result import Gap, SoakResult
from echosvc.reports.axes import Axis, lanes, linear, logarithmic, utc, utc_text
from echosvc.reports.charts import Bar, Chart, figure
from echosvc.reports.page import number_table
from echosvc.reports.soak_text import describe_cause

#: So many connections have a lane with a name; more have an axis of numbers.
_NAMED = 30
#: So many gaps, points and rows a picture and its table have at most.
_BARS, _POINTS, _ROWS = 1000, 360, 60
#: Marks that are drawn: more would cover the picture.
_MARKS = 30


def soak_charts(result: SoakResult) -> Iterator[Element]:
    """Yield the pictures, each with its table."""
    time = utc(result.started, result.seconds)
    yield _gap_chart(result, time)
    if any(each.answered for each in result.slices):
        yield _rate_chart(result, time)
        yield _latency_chart(result, time)


def _mark(chart: Chart, result: SoakResult) -> None:
    for mark in result.marks[:_MARKS]:
        chart.mark(mark.when, str(mark.number))


# -- gaps ----------------------------------------------------------------------------------------


def _gap_chart(result: SoakResult, time: Axis) -> Element:
    count = int(result.options["connections"])
    text = f"{result.gap_count} gaps of {count} connections over time"
    if count <= _NAMED:
        across = lanes("connection", [str(number + 1) for number in range(count)])
    else:
        across = linear("connection", count, "{:g}".format)
    chart = Chart(text, time, across, height=min(max(18 * count, 60), 300), left=40)
    gaps = result.gaps[:_BARS]
    chart.bars("two", (_bar(gap) for gap in gaps if not gap.is_break))
    chart.bars("fail", (_bar(gap) for gap in gaps if gap.is_break))
    _mark(chart, result)
    names = [("fail", "the connection ended"), ("two", "silence, or no connection")]
    rows = [_gap_row(gap) for gap in gaps[:_ROWS]]
    heads = ("began (UTC)", "length", "connection", "cause")
    table = number_table(f"{len(rows)} of {result.gap_count} gaps", heads, rows)
    return figure("Gaps", "by connection", chart, names, table)


def _bar(gap: Gap) -> Bar:
    lane = gap.connection - 1
    return Bar(gap.began, gap.began + gap.seconds, lane + 0.1, lane + 0.9)


def _gap_row(gap: Gap) -> tuple[str, ...]:
    length = format_duration(gap.seconds)
    return utc_text(gap.began), length, str(gap.connection), describe_cause(gap)[:100]


# -- what was answered ---------------------------------------------------------------------------


def _slices(result: SoakResult, most: int) -> list[tuple[float, float, int, int, int]]:
    """Return slices of equal length, ``most`` at the most.

    Each has its time, its seconds, how many messages were answered, the largest latency, µs, and
    how many connections were up at least, or -1.
    """
    each = max(1, -(-len(result.slices) // most))
    found = []
    for first in range(0, len(result.slices), each):
        head, *others = result.slices[first : first + each]
        for other in others:
            head = head.add(other)
        began = first * result.slice_seconds
        seconds = min(each * result.slice_seconds, result.seconds - began)
        if seconds > 0:
            row = began + result.started, seconds, head.answered, head.largest, head.fewest
            found.append(row)
    return found


def _rate_chart(result: SoakResult, time: Axis) -> Element:
    points = [(when, count / long) for when, long, count, _, _ in _slices(result, _POINTS)]
    highest = max(rate for _, rate in points)
    chart = Chart("messages answered a second over time", time, linear("rate", highest, _number))
    chart.line("one", points)
    _mark(chart, result)
    rows = [
        (utc_text(when), f"{count / seconds:.1f}", str(up) if up >= 0 else "-")
        for when, seconds, count, _, up in _slices(result, _ROWS)
    ]
    heads = ("from (UTC)", "answered a second", "connections up, at least")
    table = number_table("What was answered", heads, rows)
    return figure("Answered messages", "a second", chart, [("one", "answered")], table)


def _latency_chart(result: SoakResult, time: Axis) -> Element:
    points = [(when, most / 1e6 or None) for when, _, _, most, _ in _slices(result, _POINTS)]
    known = [each for _, each in points if each]
    axis = logarithmic("largest latency", min(known, default=1e-4), max(known, default=1e-3), _time)
    chart = Chart("the largest latency over time", time, axis)
    chart.line("three", points)
    _mark(chart, result)
    rows = [
        (utc_text(when), format_duration(most / 1e6) if count else "-")
        for when, _, count, most, _ in _slices(result, _ROWS)
    ]
    table = number_table("How late answers came", ("from (UTC)", "largest latency"), rows)
    return figure("Latency", "the largest", chart, [("three", "largest")], table)


def _number(value: float) -> str:
    return f"{value:g}"


def _time(seconds: float) -> str:
    return format_duration(seconds)
