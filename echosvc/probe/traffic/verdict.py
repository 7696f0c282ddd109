"""The verdict on a load: whether the path failed, and whether the figures mean anything. No I/O.

Theory of operation. What was lost, damaged or refused is proved, however slow the generator was. So
a fault of the path is a FAIL first. Where the generator itself was the bottleneck, its figures are
those of the machine it ran on: the run is INVALID. What makes them so:

- At a rate each message has an intended time. The generator's own lag is how long after it, or
  after the connection took data again, a message was sent. A peer that takes nothing is no lag.
- Without a rate there are no intended times. A generator that used a whole core measured the lower
  of two limits, its own and the server's: that is said, and is no reason to refuse the run.
- A generator that waited for a processor most of the time measured other programs. At a rate it
  must have been late, too: one that is woken for each message waits often, and not for long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from echosvc._text import format_duration, plural
from echosvc.probe.traffic.generator_stats import GeneratorStats
from echosvc.probe.traffic.tally import Tally

Word = Literal["OK", "FAIL", "INVALID"]
#: The exit status of each verdict.
EXIT_STATUSES: dict[Word, int] = {"OK": 0, "FAIL": 1, "INVALID": 3}
#: The p99 of the generator's own lag, seconds, above which a run at a rate is invalid.
MAX_SEND_LAG = 0.010
#: A generator that uses so much of a core is at its limit. At a rate this, and waiting for a
#: processor, make the run invalid if the lag is above so many seconds, too.
CPU_LIMIT, LAG_AT_LIMIT = 0.95, 0.001
#: A run is invalid if the generator waited for a processor for so much of the time, and this is
#: worth a note above so much.
MAX_CPU_WAIT, NOTED_WAIT = 0.4, 0.1
#: A run is invalid if the generator stood still for so many seconds in all.
MAX_PAUSED = 1.0
#: Errors of connections that are the generator's own limits, with what was used up.
OWN_ERRORS = {"ports": "local ports", "descriptors": "file descriptors"}

#: What is said of each counter of faults: of one, and of several.
_FAULTS = {
    "lost": ("message was lost", "messages were lost"),
    "damaged": ("reply was damaged", "replies were damaged"),
    "reordered": ("reply came out of order", "replies came out of order"),
    "duplicated": ("reply came twice", "replies came twice"),
    "late": ("reply came late", "replies came late"),
    "unexpected_bytes": ("byte came that was not due", "bytes came that were not due"),
}
_ERRORS = {
    "refused": "refused",
    "reset": "reset",
    "fin": "ended by the peer (FIN)",
    "timeout": "not open, or not answered, in time",
    "mismatch": "answered with wrong bytes",
    "not-found": "not tried, since the name has no address",
    "unreachable": "not possible: there is no route",
    "tls": "refused by TLS",
}


@dataclass(frozen=True)
class Verdict:
    """What a run proves.

    :ivar word: ``OK``; ``FAIL``: the path or the peer failed; ``INVALID``: the generator was the
        bottleneck, and the figures mean nothing.
    :ivar reasons: for it, in words; of ``OK`` there are none.
    :ivar notes: what limits the figures, and is no reason to refuse them. Of figures that mean
        nothing there are none.
    :ivar limits: how the generator was the bottleneck, though the path failed, too.
    """

    word: Word
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the verdict is ``OK``."""
        return self.word == "OK"

    @property
    def exit_status(self) -> int:
        """The exit status of the command."""
        return EXIT_STATUSES[self.word]

    @property
    def why(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)

    def __str__(self) -> str:
        return f"{self.word}: {self.why}" if self.reasons else self.word


@dataclass(frozen=True)
class Bounds:
    """What a generator must keep, so that its figures mean something.

    :ivar send_lag: the highest p99 of its own lag, seconds; for a run at a rate.
    :ivar cpu_wait: the highest part of the time in which it may wait for a processor.
    """

    send_lag: float = MAX_SEND_LAG
    cpu_wait: float = MAX_CPU_WAIT


#: The bounds where no others are asked for.
DEFAULT_BOUNDS = Bounds()


def judge(
    tally: Tally,
    generator: GeneratorStats,
    bounds: Bounds = DEFAULT_BOUNDS,
    limits: tuple[str, ...] = (),
) -> Verdict:
    """Return the verdict on a run.

    :param limits: how the generators of some of its parts were the bottleneck, if it has parts of
        which that is known.
    """
    failures = tuple(_find_failures(tally, generator))
    limits = limits or tuple(_find_own_limits(tally, generator, bounds))
    notes = () if limits else tuple(_find_notes(tally, generator))
    if failures:
        beside = tuple(f"besides, the figures mean nothing: {each}" for each in limits)
        return Verdict("FAIL", failures + beside, notes, limits)
    return Verdict("INVALID" if limits else "OK", limits, notes, limits)


def _find_failures(tally: Tally, generator: GeneratorStats) -> Iterator[str]:
    """Yield how the path or the peer failed."""
    for name, (one, several) in _FAULTS.items():
        if count := getattr(tally, name):
            unanswered = tally.unanswered if name == "lost" else 0
            more = f" ({unanswered} unanswered at the end of a connection)" if unanswered else ""
            yield f"{count} {one if count == 1 else several}{more}"
    for cause, count in sorted(tally.errors.items()):
        if cause not in OWN_ERRORS:
            verb = "was" if count == 1 else "were"
            yield f"{plural(count, 'connection')} {verb} {_ERRORS.get(cause, f'lost: {cause}')}"
    if generator.unsent:
        verb = "was" if generator.unsent == 1 else "were"
        words = f"{verb} due while the peer took or answered nothing"
        yield f"{plural(generator.unsent, 'message')} {words}"


def _find_own_limits(tally: Tally, generator: GeneratorStats, bounds: Bounds) -> Iterator[str]:
    """Yield how the generator was the bottleneck."""
    for cause, what in OWN_ERRORS.items():
        if tally.errors[cause]:
            yield f"{what} of this machine were used up ({tally.errors[cause]} times)"
    if generator.missed:
        yield f"{plural(generator.missed, 'message')} never left the generator in time"
    if generator.held:
        advice = "since too few may be in flight: more --connections or --depth"
        yield f"{plural(generator.held, 'message')} could not be sent, {advice}"
    if generator.paused >= MAX_PAUSED:
        yield f"the generator itself stood still for {format_duration(generator.paused)}"
    if generator.at_rate:
        yield from _find_lag(generator, bounds.send_lag)
    if tally.sent and _is_starved(generator, bounds):
        yield _describe_wait(generator)
    if not (tally.sent or tally.errors or generator.missed or generator.unsent or generator.held):
        yield "no message was sent"


def _is_starved(generator: GeneratorStats, bounds: Bounds) -> bool:
    late = not generator.at_rate or generator.lag_p99 > LAG_AT_LIMIT
    return late and generator.wait_share > bounds.cpu_wait


def _describe_wait(generator: GeneratorStats) -> str:
    return f"the generator waited for a processor {generator.wait_share:.0%} of the time"


def _find_lag(generator: GeneratorStats, bound: float) -> Iterator[str]:
    lag = generator.lag_p99
    if lag > bound:
        yield (
            f"the generator sent too late: p99 of its own lag is {format_duration(lag)},"
            f" more than {format_duration(bound)}"
        )
    if generator.cpu_share >= CPU_LIMIT and lag > LAG_AT_LIMIT:
        yield f"the generator was at its limit: it used {generator.cpu_share:.0%} of a core"


def _find_notes(tally: Tally, generator: GeneratorStats) -> Iterator[str]:
    """Yield what limits the figures."""
    if not tally.sent:
        return
    if not generator.at_rate and generator.cpu_share >= CPU_LIMIT:
        yield (
            f"the generator used {generator.cpu_share:.0%} of a core: the server may be faster, and"
            " the latencies contain waiting in the generator"
        )
    if not generator.at_rate and generator.wait_share >= NOTED_WAIT:
        yield _describe_wait(generator)
    largest = tally.corrected.percentiles([99.0])[99.0] / 1e6
    if generator.at_rate and largest and generator.lag_p99 > largest / 2:
        yield (
            f"much of the latency may be the generator's own lag (p99 {generator.lag_p99 * 1e3:.3g}"
            " ms)"
        )
