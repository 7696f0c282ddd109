"""From samples to figures: over the rounds, and ratios between servers."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.measure import Sample


@dataclass(frozen=True)
class Figures:
    """What the rounds say of one server under one workload; medians, unless it says other.

    A machine has a state, for seconds or minutes, in which the kernel takes a quarter more for
    every message, whoever the server is. A median says in which state most rounds were.

    :ivar cost: in the workload's unit, the smallest of a round; of a stream, the median. The
        ranking.
    :ivar median: that of the costs.
    :ivar most: the largest.
    :ivar rate: messages, connections or GiB a second.
    :ivar p50: median time of a message, µs; so the 99th and the 99.9th percentile.
    :ivar alone: the cost without idle connections beside; 0 = not measured.
    :ivar beside: the cost with them over that without, each over the one measured right before
        it, since a machine's pace changes from minute to minute; 0 = not measured.
    :ivar cpu: CPU time of a start, ms.
    :ivar disturbed: what others had of the processor meanwhile, as a part of it.
    :ivar limited: in most rounds the load generator was the bottleneck.
    :ivar costs: of a stream, the cost of each round, in their order.
    """

    cost: float
    median: float
    most: float
    rate: float
    p50: float
    p99: float
    p999: float
    alone: float
    beside: float
    cpu: float
    disturbed: float
    limited: bool
    rounds: int
    costs: tuple[float, ...] = ()


def summarize(samples: list[Sample], stream: bool = False) -> Figures:
    """The figures of at least one round.

    :param stream: they are those of a stream.
    """

    def middle(name: str) -> float:
        return float(median(getattr(sample, name) for sample in samples))

    costs = [sample.cost for sample in samples]
    return Figures(
        cost=median(costs) if stream else min(costs),
        median=middle("cost"),
        most=max(costs),
        rate=middle("rate"),
        p50=middle("p50"),
        p99=middle("p99"),
        p999=middle("p999"),
        alone=middle("alone"),
        beside=float(median(each.cost / each.alone if each.alone else 0.0 for each in samples)),
        cpu=middle("cpu"),
        disturbed=middle("disturbed"),
        limited=middle("limited") > 0.5,
        rounds=len(samples),
        costs=tuple(costs) if stream else (),
    )


def ratio(one: Figures, other: Figures | None) -> float | None:
    """One cost over another; ``None`` where there is nothing to divide by.

    Of streams it is the median of the ratios, each of two measurements of the same round: what
    disturbs a round disturbs both.
    """
    if other is None or other.cost <= 0:
        return None
    if one.costs and len(one.costs) == len(other.costs):
        pairs = zip(one.costs, other.costs, strict=True)
        return float(median(mine / theirs for mine, theirs in pairs))
    return one.cost / other.cost
