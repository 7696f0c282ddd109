"""Results of a load to make documents of."""

from __future__ import annotations

import random
from typing import Any

from echosvc.probe.traffic.generator_stats import GeneratorStats
from echosvc.probe.traffic.incidents import Gap, Mismatch
from echosvc.probe.traffic.load_result import LoadResult
from echosvc.probe.traffic.merge import RunResult, Shard
from echosvc.probe.traffic.sweep import Objective, SweepResult, SweepStep
from echosvc.probe.traffic.tally import Tally
from echosvc.reports.load_run import LoadRun

#: When the runs began: 2027-01-15, 12:00:00 UTC.
NOON = 1_800_014_400.0
OPTIONS = {"connections": 10, "rate": 100.0, "size": 64, "arrivals": "fixed", "prefix": None}


def tally_of(
    seconds: int, rate: int = 20, seed: int = 1, shard: int = 0, shards: int = 1, stall: int = -1
) -> Tally:
    """Messages at a rate; in the second ``stall`` the server answers nothing."""
    tally, draw = Tally(epoch=NOON), random.Random(seed)
    events: list[tuple[float, tuple[float, ...]]] = []
    for number in range(seconds * rate):
        intended, latency = number / rate, draw.lognormvariate(-7.5, 0.4)
        if number % shards != shard:
            continue
        sent = intended + draw.random() * 1e-5
        answered = sent + latency
        if stall <= intended < stall + 1:
            sent = answered = stall + 1.0  # one at a time: the next is not sent before
            answered += latency
        events += [(sent, ()), (answered, (intended, sent))]
    for now, times in sorted(events):
        if times:
            tally.count_answer(*times, now)
            tally.bytes_received += 64
        else:
            tally.count_sent(1, 64, now)
    for _ in range(10 // shards):
        tally.count_connection(draw.lognormvariate(-8, 0.3))
        tally.first_byte.record(draw.lognormvariate(-7, 0.3))
    return tally


def break_it(tally: Tally) -> Tally:
    """Add one of each that may go wrong."""
    end = max(tally.series) + 0.9 - NOON
    for kind in ("lost", "duplicated", "reordered", "damaged", "late"):
        tally.count(kind, 1, end)
    tally.sent += 2
    tally.count_error("reset", end)
    tally.count_error("refused", end)
    tally.note_gap(Gap(2.0, 0.75, 4, "reset", 17))
    tally.note_mismatch(Mismatch(2.5, 3, 18, "changed", 5, 1, b"abc<", b"ab\x1b<"))
    return tally


def result(
    tally: Tally | None = None,
    shards: tuple[Shard, ...] = (Shard(7, 0, 1),),
    lag: float = 0.0001,
    **changes: Any,
) -> LoadResult:
    """A result; ``lag`` is the generator's own."""
    generator = GeneratorStats(at_rate=True, cpu_share=0.25)
    for _ in range(100):
        generator.lag.record(lag)
    values = {"version": "2.0", "endpoint": "tcp:lb.example:9000", "options": OPTIONS}
    values.update((name, changes.pop(name)) for name in list(changes) if name in values)
    run = RunResult(**values, shards=shards, tally=tally or tally_of(5))
    return LoadResult(run, **{"seconds": 5.0, "generator": generator, **changes})


def run(found: LoadResult | None = None, **values: Any) -> LoadRun:
    """The same as a document needs it."""
    asked = {"command": "echosvc load lb.example:9000", "host": "here", **values}
    return LoadRun(found or result(), **asked)


def sweep(*steps: tuple[float, float, bool]) -> SweepResult:
    """A sweep: the rate, the latency in seconds, and whether the objective was kept."""
    made = []
    for rate, latency, kept in steps or ((100.0, 9e-4, True), (400.0, 9e-3, False)):
        tally = Tally(epoch=NOON)
        tally.count_sent(1, 64, 0.0)
        tally.count_answer(0.0, 0.0, latency)
        made.append(SweepStep(rate, result(tally), kept))
    return SweepResult(Objective.parse("p99<5ms"), tuple(made), is_complete=True)
