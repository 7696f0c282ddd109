"""The result of a check as one HTML page: what was asked, what was found, where to look. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from echosvc._text import format_duration, plural
from echosvc._version import __version__
from echosvc.probe.result import ProbeResult
from echosvc.reports.check_run import CheckRun, fact_texts, in_reading_order
from echosvc.reports.page import (
    Content,
    element,
    key_values,
    render_page,
    section,
    table,
    verdict,
)
from echosvc.reports.text import counts, state

_INTERRUPTED = "The check was interrupted. The probes that are not listed here did not end."
_ADVICE = (
    "docs/check.md explains each finding, and says what to change in HAProxy, nginx, Envoy, AWS,"
    " GCP, Azure and Linux."
)

#: The colours of states that are good or bad.
_KINDS = {"ok": "pass", "NOT OK": "fail"}


def check_page(run: CheckRun) -> str:
    """Return the page as text, to be encoded as UTF-8."""
    result = run.result
    main = element("main", _where_to_look(run), _what_was_found(run), _what_was_asked(run))
    if figures := list(_figures(run)):
        main.append(section("figures", "Figures", *figures))
    title = f"{state(result)}: {result.endpoint}, echosvc check"
    return render_page(title, (_header(run), main, _footer(run)))


def _header(run: CheckRun) -> Element:
    result = run.result
    words = state(result)
    parts: list[Content] = [
        element("h1", "echosvc check ", element("code", result.endpoint)),
        element("p", verdict(_KINDS.get(words, "info"), words), f" {counts(result)}"),
    ]
    if result.interrupted:
        parts.append(element("p", _INTERRUPTED, class_="panel"))
    return element("header", *parts)


def _where_to_look(run: CheckRun) -> Element:
    """Return the failures, in the order in which to look at them."""
    failures = in_reading_order(run.result)
    if not failures:
        return section("look", "Where to look first", element("p", "No probe failed."))
    items = (element("li", *_failure(probe, names)) for probe, names in failures)
    advice = element("p", _ADVICE, class_="muted")
    return section("look", "Where to look first", element("ol", *items), advice)


def _failure(probe: ProbeResult, explained: list[str]) -> Iterator[Element]:
    yield element("h3", verdict("fail"), f" {probe.name}")
    yield element("p", probe.finding)
    if probe.cause:
        yield element("p", f"Likely: {probe.cause}.")
    if explained:
        count, names = plural(len(explained), "probe"), ", ".join(explained)
        yield element("p", f"It kept {count} from a verdict: {names}.")


def _what_was_found(run: CheckRun) -> Element:
    rows = (
        (verdict(probe.result), _name(probe), _finding(probe), f"{probe.seconds:.2f} s")
        for probe in run.result.probes
    )
    columns = "result", "probe", "finding", "time"
    return section("found", "What was found", table("In the order of the run", columns, rows))


def _finding(probe: ProbeResult) -> Content:
    """Return what was found, with the likely cause where no other section has it."""
    if not probe.cause or probe.result == "fail":
        return probe.finding
    return element("div", probe.finding, element("p", f"Likely: {probe.cause}.", class_="muted"))


def _name(probe: ProbeResult) -> Content:
    """Return the name of a probe, which leads to its figures where it has any."""
    figures = f"#{_anchor(probe)}"
    return element("a", probe.name, href=figures) if fact_texts(probe) else probe.name


def _anchor(probe: ProbeResult) -> str:
    return f"figures-{probe.name}"


def _what_was_asked(run: CheckRun) -> Element:
    pairs: list[tuple[str, Content]] = [("endpoint", element("code", run.result.endpoint))]
    if run.command:
        pairs.append(("command", element("code", run.command)))
    pairs += run.settings
    return section("asked", "What was asked", key_values(pairs))


def _figures(run: CheckRun) -> Iterator[Element]:
    for probe in run.result.probes:
        if figures := fact_texts(probe):
            yield element("h3", probe.name, id=_anchor(probe))
            yield key_values((name, element("code", text)) for name, text in figures)


def _footer(run: CheckRun) -> Element:
    began = run.started.strftime("%Y-%m-%d %H:%M:%S %z")
    took = format_duration(run.seconds)
    return element("footer", f"echosvc {__version__} on {run.host}, {began}, {took}")
