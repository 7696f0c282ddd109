"""The pictures of a load: rates, latencies and errors over time, percentiles, a sweep. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from xml.etree.ElementTree import Element

from echosvc._text import format_duration
from echosvc.probe.traffic.histogram import Histogram
from echosvc.probe.traffic.sweep import SweepResult, SweepStep
from echosvc.probe.traffic.tally import Tally
from echosvc.reports.axes import Axis, linear, logarithmic, nines, utc, utc_text
from echosvc.reports.charts import Bar, Chart, figure
from echosvc.reports.load_figures import format_figure
from echosvc.reports.load_run import Column, columns
from echosvc.reports.page import number_table

#: Columns of a picture over time, and rows of its table.
_COLUMNS = 100
#: Points of a curve of percentiles.
_POINTS = 90
#: The percentiles in the table of the curve.
_LISTED = (0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0)
#: What is drawn of each second: the kind of line, its name, and the latency.
_LATENCIES: tuple[tuple[str, str, Callable[[Column], int]], ...] = (
    ("one", "p50", lambda column: column.all.percentile(50)),
    ("two", "p99", lambda column: column.all.percentile(99)),
    ("three", "max", lambda column: column.all.largest),
)


def time_charts(tally: Tally) -> Iterator[Element]:
    """Yield what happened over time: rates, latencies and errors, on the same axis."""
    found = columns(tally.series, _COLUMNS)
    if found:
        axis = _time_axis(found)
        yield _rate_chart(found, axis)
        yield _latency_chart(found, axis)
        yield _error_chart(found, axis)


def _time_axis(found: Sequence[Column]) -> Axis:
    first, last = found[0], found[-1]
    return utc(first.start, last.start + last.seconds - first.start)


def _points(
    found: Iterable[Column], value: Callable[[Column], float | None]
) -> Iterator[tuple[float, float | None]]:
    """Yield a value of each column, in the middle of it."""
    return ((column.start + column.seconds / 2, value(column)) for column in found)


def _rows(found: Iterable[Column], *texts: Callable[[Column], str]) -> Iterator[tuple[str, ...]]:
    for column in found:
        yield (utc_text(column.start), *(text(column) for text in texts))


def _rate_chart(found: Sequence[Column], x: Axis) -> Element:
    def sent(column: Column) -> float:
        return column.rate(column.all.sent)

    def answered(column: Column) -> float:
        return column.rate(column.all.answered)

    highest = max(max(sent(each), answered(each)) for each in found)
    text = f"Messages that were sent and answered a second, at most {_rate(highest)}."
    chart = Chart(text, x, linear("messages a second", highest, _plain))
    chart.line("two", _points(found, sent))
    chart.line("one", _points(found, answered))
    rows = _rows(found, lambda each: _rate(sent(each)), lambda each: _rate(answered(each)))
    table = number_table(_caption(found), ("time (UTC)", "sent", "answered"), rows)
    names = (("one", "answered"), ("two", "sent"))
    axis = "messages a second; the first and the last second of the run are not whole"
    return figure("Throughput", axis, chart, names, table)


def _latency_chart(found: Sequence[Column], x: Axis) -> Element:
    answers = [each for each in found if each.all.latencies]
    low = min((each.all.percentile(50) for each in answers), default=1)
    high = max((each.all.largest for each in answers), default=1)
    text = f"Latency from the intended time: p50, p99 and maximum, up to {_time(high)}."
    chart = Chart(text, x, _time_scale(low, high))
    for kind, _, value in _LATENCIES:
        chart.line(kind, _points(found, _if_answered(value)))
    rows = _rows(found, *(_time_text(value) for _, _, value in _LATENCIES))
    heads = ("time (UTC)", *(name for _, name, _ in _LATENCIES))
    table = number_table(_caption(found), heads, rows)
    names = [(kind, name) for kind, name, _ in _LATENCIES]
    return figure("Latency", "from the intended time", chart, names, table)


def _if_answered(value: Callable[[Column], int]) -> Callable[[Column], float | None]:
    return lambda column: value(column) if column.all.latencies else None


def _time_text(value: Callable[[Column], int]) -> Callable[[Column], str]:
    return lambda column: _time(value(column)) if column.all.latencies else "-"


def _error_chart(found: Sequence[Column], x: Axis) -> Element:
    wrong = sum(each.all.wrong for each in found)
    failed = sum(each.all.failed for each in found)
    text = f"Errors: {wrong:,} messages that were not answered right, {failed:,} connections."
    highest = max(max(each.all.wrong, each.all.failed) for each in found)
    chart = Chart(text, x, linear("errors", highest, _plain), height=90)
    bars = (_bar(each) for each in found if each.all.wrong)
    chart.bars("fail", bars)
    if failed:
        chart.line("two", _points(found, lambda each: each.all.failed))
    some = [each for each in found if each.all.wrong or each.all.failed]
    rows = _rows(some, lambda each: f"{each.all.wrong:,}", lambda each: f"{each.all.failed:,}")
    caption = f"{_caption(found)}; a time that is not listed had none"
    table = number_table(caption, ("time (UTC)", "messages", "connections"), rows)
    names = (("fail", "messages"), ("two", "connections"))
    return figure("Errors", _each(found), chart, names, table)


def _bar(column: Column) -> Bar:
    return Bar(column.start, column.start + column.seconds, 0, column.all.wrong)


def _caption(found: Sequence[Column]) -> str:
    return f"A row {_each(found)}"


def _each(found: Sequence[Column]) -> str:
    width = found[0].seconds
    return "for each second" if width == 1 else f"for each {width} seconds"


def percentile_chart(tally: Tally) -> Iterator[Element]:
    """Yield the curve of percentiles, if there are latencies."""
    total = tally.corrected.total
    if not total:
        return
    x = nines("percentile of the messages (each further nine is as wide)", total)
    curves = _curve(tally.corrected, x), _curve(tally.uncorrected, x)
    times = [time for curve in curves for _, time in curve]
    highest = max(times)
    text = f"Percentiles of the corrected and the uncorrected latency, up to {_time(highest)}."
    chart = Chart(text, x, _time_scale(max(min(times), 1), highest), height=240)
    for kind, curve in zip(("two", "one"), reversed(curves), strict=True):
        chart.line(kind, curve)
    names = (("one", "corrected"), ("two", "uncorrected"))
    yield figure("Percentiles", "of the latency", chart, names, _percentile_table(tally))


def _curve(histogram: Histogram, x: Axis) -> list[tuple[float, float]]:
    """Return the percentiles at equal distances on the axis of nines, and the maximum."""
    end = float(x.ticks[-1][0])
    nines_shown = len(x.ticks) - 2
    steps = [100 - 100 * 10 ** (-nines_shown * step / _POINTS) for step in range(_POINTS)]
    wanted = [*steps, end, 100.0]
    found = histogram.percentiles(wanted)
    return [(each, float(found[each])) for each in sorted(found)]


def _percentile_table(tally: Tally) -> Element:
    named = (tally.corrected, tally.uncorrected, tally.send_lag)
    found = [histogram.percentiles(_LISTED) for histogram in named]
    rows = [(f"{each:g} %", *(_time(times[each]) for times in found)) for each in _LISTED]
    heads = "percentile", "corrected", "uncorrected", "send lag"
    return number_table("As HdrHistogram counts them, with three digits", heads, rows)


def sweep_chart(sweep: SweepResult) -> Element:
    """Return the curve over the rate of the latency that the objective is about."""
    name = sweep.objective.figure
    steps = sorted(sweep.steps, key=lambda step: step.rate)
    points = [(step.rate, max(_sweep_latency(step, sweep), 1)) for step in steps if _answered(step)]
    times = [time for _, time in points] or [1]
    text = f"The {name} of the latency at {len(steps)} rates, from {_time(times[0])} on."
    x = linear("messages a second, as asked for", steps[-1].rate, _plain)
    chart = Chart(text, x, _time_scale(min(times), max(times)))
    chart.line("one", points)
    for step in steps:
        if not step.kept:
            chart.mark(step.rate, "")
    heads = "rate", name, "objective", "verdict"
    rows = (_sweep_row(step, sweep) for step in sweep.steps)
    table = number_table("In the order of the sweep", heads, rows)
    names = (("one", f"{name} of the latency; dotted: the objective was not kept"),)
    title = f"{name} over the rate, objective {sweep.objective}"
    return figure("Sweep", title, chart, names, table)


def _answered(step: SweepStep) -> bool:
    return step.result.tally.corrected.total > 0


def _sweep_latency(step: SweepStep, sweep: SweepResult) -> float:
    """Return the latency that counts, µs."""
    return sweep.objective.latency(step.result.tally) * 1e6


def _sweep_row(step: SweepStep, sweep: SweepResult) -> tuple[str, ...]:
    kept = "kept" if step.kept else "not kept"
    latency = _time(_sweep_latency(step, sweep)) if _answered(step) else "-"
    return _rate(step.rate), latency, kept, step.result.verdict.word


def _time_scale(low: float, high: float) -> Axis:
    return logarithmic("latency", max(low, 1), max(high, 1), _time)


def _time(microseconds: float) -> str:
    return format_duration(microseconds / 1e6)


def _rate(value: float) -> str:
    return format_figure(value, "/s")


def _plain(value: float) -> str:
    """Return a number short enough for an axis."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= unit:
            return f"{value / (1e3 if name == 'k' else unit):g} {name}"
    return f"{value:g}"
