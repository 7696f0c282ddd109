"""The result of a load as one HTML page: verdict, figures, pictures, what was asked. No I/O.

A page has at most 100 KiB, however long the run was and whatever a peer sent: seconds are thinned,
lists are cut, and so are long texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element

from echosvc._text import format_duration, plural
from echosvc._version import __version__
from echosvc.probe.traffic.incidents import Gap, Mismatch
from echosvc.probe.traffic.load_result import LoadResult
from echosvc.reports.axes import utc_text
from echosvc.reports.charts import STYLE
from echosvc.reports.load_charts import percentile_chart, sweep_chart, time_charts
from echosvc.reports.load_figures import (
    DISTRIBUTIONS,
    distribution_heads,
    distribution_rows,
    load_figures,
)
from echosvc.reports.load_run import LoadRun, brief
from echosvc.reports.load_text import message_counts, remarks, server_counts, span, state
from echosvc.reports.page import (
    Content,
    element,
    key_values,
    number_table,
    render_page,
    scrolled,
    section,
    verdict,
)

#: The colour of each verdict.
_KINDS = {"OK": "pass", "FAIL": "fail", "INVALID": "info"}
_ADVICE = "docs/load.md explains each figure and each verdict, and how not to fool oneself."
#: How many of a kind are listed, and how long a name, a value and a sentence may be.
_LISTED, _OPTIONS, _NAME, _VALUE, _SENTENCE = 12, 30, 40, 100, 300


def load_page(run: LoadRun) -> str:
    """Return the page as text, to be encoded as UTF-8."""
    result = run.result
    main = element("main", _found(result))
    if run.sweep is not None and run.sweep.steps:
        why = element("p", f"{run.sweep.why[:1].upper()}{brief(run.sweep.why, _SENTENCE)[1:]}.")
        main.append(section("sweep", "The sweep", why, sweep_chart(run.sweep)))
    if pictures := list(time_charts(result.tally)):
        main.append(section("time", "Over time", *pictures))
    if curve := list(percentile_chart(result.tally)):
        main.append(section("percentiles", "Percentiles", *curve))
    main.append(section("wrong", "What went wrong", *_wrong(result)))
    main.append(_asked(run))
    title = f"{state(result)}: {brief(result.run.endpoint, _VALUE)}, echosvc load"
    return render_page(title, (_header(run), main, _footer(run)), STYLE)


def _header(run: LoadRun) -> Element:
    result = run.result
    endpoint = element("code", brief(result.run.endpoint, _VALUE))
    head = element("p", verdict(_KINDS[result.verdict.word], state(result)), f" {_headline(run)}")
    reasons = [element("li", brief(each, _SENTENCE)) for each in result.verdict.reasons[:_LISTED]]
    notes = [element("p", f"Note: {brief(each, _SENTENCE)}.") for each in remarks(result)]
    parts: list[Content] = [element("h1", "echosvc load ", endpoint), head]
    if reasons:
        parts.append(element("ul", *reasons, class_="brief"))
    return element("header", *parts, *notes[:_LISTED])


def _headline(run: LoadRun) -> str:
    figures = load_figures(run.result)
    return f"{figures['rate']}, p50 {figures['p50']}, p99 {figures['p99']}, max {figures['max']}"


def _found(result: LoadResult) -> Element:
    figures = load_figures(result)
    pairs: list[tuple[str, Content]] = [
        ("rate", f"{figures['rate']}, {figures['bytes-rate']} received, {span(result)}"),
        ("messages", message_counts(result.tally)),
        ("connections", f"{result.tally.connections:,} opened"),
    ]
    if result.tally.servers:
        pairs.append(("by server", brief(server_counts(result.tally), _SENTENCE)))
    caption = "Latency and other times"
    table = number_table(caption, distribution_heads(), distribution_rows(result))
    meanings = ((name.replace("-", " "), text) for name, _, text in DISTRIBUTIONS)
    explained = element("details", element("summary", "What these are"), key_values(meanings))
    shown = scrolled("scroll", f"Table: {caption}", table)
    return section("found", "What was found", key_values(pairs), shown, explained)


def _wrong(result: LoadResult) -> Iterator[Element]:
    """Yield errors by cause, the first replies that were wrong, and the longest gaps."""
    tally = result.tally
    lists = list(_errors(result))
    lists += _listed("Wrong replies", map(_mismatch, tally.mismatches.best), tally.mismatches.total)
    lists += _listed("Longest gaps", map(_gap, tally.gaps.best), tally.gaps.total)
    yield from lists or [element("p", "Nothing did.")]


def _errors(result: LoadResult) -> Iterator[Element]:
    errors = result.tally.errors.most_common(_LISTED)
    if errors:
        rows = [(brief(cause, _NAME), f"{count:,}") for cause, count in errors]
        yield number_table(
            "Connections that failed or could not be opened", ("cause", "times"), rows
        )


def _listed(heading: str, items: Iterable[str], total: int) -> Iterator[Element]:
    shown = [item for item, _ in zip(items, range(_LISTED), strict=False)]
    if shown:
        yield element("h3", f"{heading}: {len(shown)} of {total:,}")
        items_shown = (element("li", brief(item, _SENTENCE)) for item in shown)
        yield element("ul", *items_shown, class_="brief")


def _mismatch(each: Mismatch) -> str:
    return (
        f"{utc_text(each.when)}, connection {each.connection}, message {each.message}: "
        f"{brief(each.kind, _NAME)} at byte {each.offset}; "
        f"due {each.expected[:16]!r}, seen {each.seen[:16]!r}"
    )


def _gap(each: Gap) -> str:
    words = f"{utc_text(each.began)}, {format_duration(each.seconds)}, connection {each.connection}"
    return f"{words}: {brief(each.cause, _NAME)}"


def _asked(run: LoadRun) -> Element:
    result = run.result
    pairs: list[tuple[str, Content]] = []
    if run.command:
        pairs.append(("command", element("code", brief(run.command, _SENTENCE))))
    pairs.append(("measured by", f"echosvc {brief(result.run.version, _NAME)}"))
    if run.versions:
        pairs.append(("reported by", brief(f"echosvc {__version__} on {run.versions}", _VALUE)))
    pairs.append(("shards", _shards(result)))
    for name, value in list(result.run.options.items())[:_OPTIONS]:
        pairs.append((brief(name, _NAME), brief(_value(value), _VALUE)))
    advice = element("p", _ADVICE, class_="muted")
    return section("asked", "What was asked", key_values(pairs), advice)


def _value(value: object) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shards(result: LoadResult) -> str:
    shards = result.run.shards
    more = f" and {len(shards) - 3} more" if len(shards) > 3 else ""
    return f"{plural(len(shards), 'result')}: {', '.join(map(str, shards[:3]))}{more}"


def _footer(run: LoadRun) -> Element:
    began = run.started.strftime("%Y-%m-%d %H:%M:%S UTC")
    took = format_duration(run.result.seconds)
    return element("footer", f"echosvc {__version__} on {brief(run.host, _VALUE)}, {began}, {took}")
