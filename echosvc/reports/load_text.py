"""The result of a load as text: the verdict with its reasons first, then the figures. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from echosvc._text import format_duration, plural, printable, quote
from echosvc.probe.traffic.load_result import LoadResult
from echosvc.probe.traffic.tally import Tally
from echosvc.reports.load_figures import (
    MESSAGES,
    aligned,
    distribution_heads,
    distribution_rows,
    load_figures,
)

#: What is said of a part of a run that is missing.
_MISSING = "{part} of the run of seed {seed} is missing"
#: Parts, and servers, that are named one by one.
_NAMED, _SERVERS = 3, 10


def load_text(result: LoadResult) -> str:
    """Return the lines of a result; where nothing was sent, there are no figures."""
    blocks = [_verdict(result)]
    if result.tally.sent:
        blocks += [_totals(result), _distributions(result)]
    return "\n".join("".join(f"{line}\n" for line in block) for block in blocks)


def state(result: LoadResult) -> str:
    """Return the verdict in a word, and whether the run was ended before its time."""
    return f"{result.verdict.word}{' (interrupted)' if result.interrupted else ''}"


def remarks(result: LoadResult) -> Iterator[str]:
    """Yield what limits the figures."""
    yield from result.verdict.notes
    if result.interrupted:
        yield "the run was ended before its time"
    missing = sorted(result.run.missing.items())
    for seed, part in missing[:_NAMED]:
        yield _MISSING.format(part=part, seed=seed)
    if len(missing) > _NAMED:
        yield f"parts of {plural(len(missing) - _NAMED, 'other run')} are missing"


def _verdict(result: LoadResult) -> Iterator[str]:
    yield printable(f"{result.run.endpoint}: {state(result)}")
    yield from (f"  {printable(reason)}" for reason in result.verdict.reasons)
    yield from (f"  note: {printable(note)}" for note in remarks(result))


def _totals(result: LoadResult) -> Iterator[str]:
    figures = load_figures(result)
    yield f"rate      {figures['rate']}, {figures['bytes-rate']} received, {span(result)}"
    yield f"messages  {message_counts(result.tally)}"
    opened = plural(result.tally.connections, "connection")
    yield f"errors    {printable(error_counts(result.tally))}; {opened} opened"
    if len(result.tally.servers) > 1:
        yield f"servers   {server_counts(result.tally)}"


def span(result: LoadResult) -> str:
    """Return how long the run took."""
    warmup = f" with {format_duration(result.warmup)} of warm-up" if result.warmup else ""
    return f"over {format_duration(result.seconds)}{warmup}"


def message_counts(tally: Tally) -> str:
    """Return what became of the messages; of what did not occur only losses are named."""
    shown = [name for name in MESSAGES if name in MESSAGES[:3] or getattr(tally, name)]
    counts = [f"{getattr(tally, name):,} {name}" for name in shown]
    for name, count in (("given up", tally.abandoned), ("owed", tally.owed)):
        counts += [f"{count:,} {name}"] if count else []
    return ", ".join(counts)


def error_counts(tally: Tally) -> str:
    """Return how often connections failed, by cause."""
    errors = sorted(tally.errors.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{count:,} {cause}" for cause, count in errors) or "none"


def server_counts(tally: Tally) -> str:
    """Return how many connections each server answered; of many, the first ones."""
    shown = tally.servers.most_common(_SERVERS)
    counts = [f"{quote(name)} {count:,}" for name, count in shown]
    return ", ".join([*counts, "…"] if len(tally.servers) > _SERVERS else counts)


def _distributions(result: LoadResult) -> Iterator[str]:
    return aligned([distribution_heads(), *distribution_rows(result)])
