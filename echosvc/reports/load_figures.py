"""The figures of a load: their names, their values and how people read them. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from echosvc._text import format_duration
from echosvc.probe.traffic.histogram import PERCENTILES
from echosvc.probe.traffic.load_result import LoadResult

#: The distributions of a load: the name of each, that of its histogram, and what it is.
DISTRIBUTIONS = (
    ("corrected", "corrected", "latency from the intended time"),
    ("uncorrected", "uncorrected", "latency from the time when a message was sent, as a client"
     " measures it that waits for each reply: at a rate, only of messages that were sent while no"
     " other was in flight on their connection"),
    ("send-lag", "send_lag", "how long after its intended time a message was sent"),
    ("connect", "connect", "how long a connection took to open, TLS included"),
    ("first-byte", "first_byte", "from the first message on a connection to the first byte of the"
     " answer"),
)  # fmt: skip
#: The columns of a table of distributions: the key of each in a summary, and its head.
QUANTILES = (*((key, f"p{percent:g}") for key, percent in PERCENTILES.items()), ("max", "max"))
#: The counters of messages in a document.
MESSAGES = ("sent", "answered", "lost", "duplicated", "reordered", "damaged", "late")
#: Causes of errors that a document always has.
ERRORS = ("refused", "reset", "fin", "timeout", "mismatch")


def _units() -> Iterator[tuple[str, str]]:
    yield from (("rate", "/s"), ("bytes-rate", "B/s"))
    for name, _, _ in DISTRIBUTIONS:
        yield from ((_full_name(name, head), "µs") for _, head in QUANTILES)
    yield from ((name, "") for name in (*MESSAGES, "errors"))


def _full_name(name: str, head: str) -> str:
    return head if name == DISTRIBUTIONS[0][0] else f"{name}.{head}"


#: The unit of each figure, by its name, in the order of a table. The percentiles of the corrected
#: latency have no name before theirs.
UNITS = dict(_units())


@dataclass(frozen=True)
class Figure:
    """A figure.

    :ivar value: times are in µs, rates a second.
    :ivar unit: ``µs``, ``/s``, ``B/s`` or "" for a count.
    """

    value: float
    unit: str = ""

    def __str__(self) -> str:
        return format_figure(self.value, self.unit)


def format_figure(value: float, unit: str) -> str:
    """Return a value of a unit for people."""
    if unit == "µs":
        return format_duration(value / 1e6)
    if unit == "B/s":
        sizes = ((1 << 20, "MiB"), (1 << 10, "KiB"))
        size, name = next((each for each in sizes if value >= each[0]), (1, "B"))
        return f"{_short(value / size)} {name}/s"
    return f"{_short(value)}/s" if unit else f"{value:,.0f}"


def _short(value: float) -> str:
    """Return a number with three significant digits, or more before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def load_figures(result: LoadResult) -> dict[str, Figure]:
    """Return all figures by their names, in the order of :data:`UNITS`."""
    values: dict[str, float] = {
        "rate": result.messages_per_second,
        "bytes-rate": result.bytes_per_second,
        "errors": sum(result.tally.errors.values()),
    }
    for name, attribute, _ in DISTRIBUTIONS:
        summary = getattr(result.tally, attribute).summary()
        values.update({_full_name(name, head): summary[key] for key, head in QUANTILES})
    values.update({name: getattr(result.tally, name) for name in MESSAGES})
    return {name: Figure(values[name], unit) for name, unit in UNITS.items()}


def distribution_rows(result: LoadResult) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of distributions: name, percentiles, maximum, how many values.

    Without a rate there is no send lag: a message is due when it is sent.
    """
    for name, attribute, _ in DISTRIBUTIONS:
        if name == "send-lag" and not result.generator.at_rate:
            continue
        histogram = getattr(result.tally, attribute)
        summary, total = histogram.summary(), histogram.total
        cells = (format_duration(summary[key] / 1e6) if total else "-" for key, _ in QUANTILES)
        yield (name.replace("-", " "), *cells, f"{total:,}")


def distribution_heads() -> tuple[str, ...]:
    """Return the heads of the columns of :func:`distribution_rows`."""
    return ("", *(head for _, head in QUANTILES), "values")


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines of a table: the first column to the left, and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join((first.ljust(widths[0]), *cells)).rstrip()
