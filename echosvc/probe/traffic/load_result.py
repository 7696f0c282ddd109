"""The result of a load: what was counted, how the generator did, and the verdict. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from echosvc.probe.traffic.generator_stats import GeneratorStats
from echosvc.probe.traffic.merge import RunResult, merge
from echosvc.probe.traffic.tally import Tally
from echosvc.probe.traffic.verdict import DEFAULT_BOUNDS, Bounds, Verdict, judge


@dataclass(frozen=True)
class LoadResult:
    """What one run of ``echosvc load``, one shard of it, or several together found.

    :ivar run: who ran, against what, with which options, and what was counted.
    :ivar seconds: from the first message on, how long messages were sent. The wait for the last
        answers is not part of it.
    :ivar warmup: the first seconds of it, of which no time was counted.
    :ivar generator: what the generator knows of itself.
    :ivar bounds: what it must keep, so that the run is valid.
    :ivar interrupted: it was ended before its time.
    :ivar failure: why no message could be sent, in words; "": messages were sent.
    """

    run: RunResult
    seconds: float
    warmup: float = 0.0
    generator: GeneratorStats = field(default_factory=GeneratorStats)
    bounds: Bounds = DEFAULT_BOUNDS
    interrupted: bool = False
    failure: str = ""

    @property
    def tally(self) -> Tally:
        """What was counted."""
        return self.run.tally

    @property
    def verdict(self) -> Verdict:
        """What the run proves."""
        verdict = judge(self.tally, self.generator, self.bounds)
        if not self.failure:
            return verdict
        return Verdict("FAIL", (self.failure, *verdict.reasons), verdict.notes)

    @property
    def ok(self) -> bool:
        """Whether the verdict is OK, and the run was not ended before its time."""
        return self.verdict.ok and not self.interrupted

    @property
    def messages_per_second(self) -> float:
        """Messages that were answered a second, without the warm-up."""
        measured = self.seconds - self.warmup
        return self.tally.corrected.total / measured if measured > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes that came a second, prefixes and framing included, over the whole run."""
        return self.tally.bytes_received / self.seconds if self.seconds > 0 else 0.0

    def dump(self) -> dict[str, Any]:
        """Return the same for JSON."""
        return {
            "run": self.run.dump(),
            "seconds": self.seconds,
            "warmup": self.warmup,
            "generator": self.generator.dump(),
            "bounds": [self.bounds.send_lag, self.bounds.cpu_wait],
            "interrupted": self.interrupted,
            "failure": self.failure,
        }

    @classmethod
    def load(cls, dumped: Any) -> LoadResult:
        """Return the result that was dumped.

        :raises ValueError: it is none, or of another version of the format.
        """
        try:
            return cls(
                RunResult.load(dumped["run"]),
                float(dumped["seconds"]),
                float(dumped["warmup"]),
                GeneratorStats.load(dumped["generator"]),
                Bounds(*map(float, dumped["bounds"])),
                bool(dumped["interrupted"]),
                str(dumped["failure"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no result of a load: {type(error).__name__}: {error}") from None


def merge_loads(results: Iterable[tuple[str, LoadResult]]) -> LoadResult:
    """Return all results as one.

    Shards of one seed ran at the same time, and runs of other seeds one after the other: that is
    how their seconds are added.

    :param results: each with the name that an error calls it by.
    :raises MergeError: as :func:`~echosvc.probe.traffic.merge.merge` does.
    """
    named = list(results)
    run = merge((name, result.run) for name, result in named)
    seconds: dict[int, float] = {}
    warmups: dict[int, float] = {}
    generator = GeneratorStats()
    for _, result in named:
        generator += result.generator
        for shard in result.run.shards:
            seconds[shard.seed] = max(seconds.get(shard.seed, 0.0), result.seconds)
            warmups[shard.seed] = max(warmups.get(shard.seed, 0.0), result.warmup)
    every = [result for _, result in named]
    return LoadResult(
        run,
        sum(seconds.values()),
        sum(warmups.values()),
        generator,
        Bounds(
            min(result.bounds.send_lag for result in every),
            min(result.bounds.cpu_wait for result in every),
        ),
        any(result.interrupted for result in every),
        next((result.failure for result in every if result.failure), ""),
    )
