"""The result of a load: what was counted, how the generator did, and the verdict. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from echosvc.probe.traffic.checked import (
    checked_amount,
    checked_each,
    checked_flag,
    checked_items,
    checked_member,
    checked_seed,
    checked_text,
)
from echosvc.probe.traffic.generator_stats import GeneratorStats
from echosvc.probe.traffic.merge import MAX_SHARDS, RunResult, merge
from echosvc.probe.traffic.tally import Tally
from echosvc.probe.traffic.verdict import DEFAULT_BOUNDS, Bounds, Verdict, judge


class Span(NamedTuple):
    """How long a run took.

    :ivar seed: the run's.
    :ivar seconds: as of a result.
    :ivar warmup: as of a result.
    :ivar answering: as of a result.
    """

    seed: int
    seconds: float
    warmup: float
    answering: float

    @classmethod
    def load(cls, dumped: Any) -> Span:
        """Return the span that was dumped.

        :raises ValueError: it is none.
        """
        seed, *times = checked_items(dumped, 4)
        seconds, warmup, answering = map(checked_amount, times)
        return cls(checked_seed(seed), seconds, warmup, answering)


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
    :ivar invalid: of several results together, why the figures of some of them mean nothing.
    :ivar spans: of several results together, the seed and the times of each run; none: it is one
        run.
    :ivar answering: the seconds in which what was sent after the warm-up was answered. More than
        ``seconds`` without the warm-up: the server was slower than it was asked to be.
    """

    run: RunResult
    seconds: float
    warmup: float = 0.0
    generator: GeneratorStats = field(default_factory=GeneratorStats)
    bounds: Bounds = DEFAULT_BOUNDS
    interrupted: bool = False
    failure: str = ""
    invalid: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    answering: float = 0.0

    @property
    def endpoint(self) -> str:
        """The server."""
        return self.run.endpoint

    @property
    def tally(self) -> Tally:
        """What was counted."""
        return self.run.tally

    @property
    def verdict(self) -> Verdict:
        """What the run proves."""
        verdict = judge(self.tally, self.generator, self.bounds, self.invalid)
        if not self.failure:
            return verdict
        reasons = (self.failure, *verdict.reasons)
        return Verdict("FAIL", reasons, verdict.notes, verdict.limits)

    @property
    def ok(self) -> bool:
        """Whether the verdict is OK, and the run was not ended before its time."""
        return self.verdict.ok and not self.interrupted

    @property
    def messages_per_second(self) -> float:
        """Messages that were answered a second, without the warm-up.

        A backlog that was answered after the last message was sent took its time, too: without it
        the rate would be the one that was asked for, and not the server's.
        """
        measured = max(self.seconds - self.warmup, self.answering)
        return self.tally.corrected.total / measured if measured > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes that came a second, prefixes and framing included, over the whole run."""
        seconds = max(self.seconds, self.warmup + self.answering)
        return self.tally.bytes_received / seconds if seconds > 0 else 0.0

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
            "invalid": list(self.invalid),
            "spans": [list(span) for span in self.spans],
            "answering": self.answering,
        }

    @classmethod
    def load(cls, dumped: Any) -> LoadResult:
        """Return the result that was dumped.

        :raises ValueError: it is none, or of another version of the format.
        """
        return cls(
            checked_member(dumped, "run", RunResult.load),
            checked_member(dumped, "seconds", checked_amount),
            checked_member(dumped, "warmup", checked_amount),
            checked_member(dumped, "generator", GeneratorStats.load),
            checked_member(dumped, "bounds", _load_bounds),
            checked_member(dumped, "interrupted", checked_flag),
            checked_member(dumped, "failure", checked_text),
            tuple(checked_member(dumped, "invalid", _load_reasons)),
            tuple(checked_member(dumped, "spans", _load_spans)),
            checked_member(dumped, "answering", checked_amount),
        )


def _load_bounds(dumped: Any) -> Bounds:
    return Bounds(*map(checked_amount, checked_items(dumped, 2)))


def _load_reasons(dumped: Any) -> list[str]:
    return checked_each(dumped, MAX_SHARDS, checked_text)


def _load_spans(dumped: Any) -> list[Span]:
    return checked_each(dumped, MAX_SHARDS, Span.load)


def merge_loads(results: Iterable[tuple[str, LoadResult]]) -> LoadResult:
    """Return all results as one.

    Shards of one seed ran at the same time, and runs of other seeds one after the other: that is
    how their seconds are added. Where the figures of one mean nothing, so do those of all.

    :param results: each with the name that an error calls it by.
    :raises MergeError: as :func:`~echosvc.probe.traffic.merge.merge` does.
    """
    named = list(results)
    run = merge((name, result.run) for name, result in named)
    every = [result for _, result in named]
    spans = _merge_spans(every)
    return LoadResult(
        run,
        sum(span.seconds for span in spans),
        sum(span.warmup for span in spans),
        sum((result.generator for result in every), GeneratorStats()),
        Bounds(
            min(result.bounds.send_lag for result in every),
            min(result.bounds.cpu_wait for result in every),
        ),
        any(result.interrupted for result in every),
        min((result.failure for result in every if result.failure), default=""),
        tuple(sorted(why for name, result in named for why in _own_limits(name, result))),
        spans if len(spans) > 1 else (),
        sum(span.answering for span in spans),
    )


def _merge_spans(results: Iterable[LoadResult]) -> tuple[Span, ...]:
    """Return the time of each run: that of the longest of its shards."""
    longest: dict[int, Span] = {}
    for result in results:
        for span in result.spans or _own_spans(result):
            other = longest.get(span.seed, span)
            longest[span.seed] = Span(span.seed, *map(max, span[1:], other[1:]))
    return tuple(sorted(longest.values()))


def _own_spans(result: LoadResult) -> Iterator[Span]:
    for shard in result.run.shards:
        answering = max(result.answering, result.seconds - result.warmup)
        yield Span(shard.seed, result.seconds, result.warmup, answering)


def _own_limits(name: str, result: LoadResult) -> Iterator[str]:
    """Yield why the figures of a result mean nothing, if they do not."""
    yield from result.invalid or (f"{name}: {why}" for why in result.verdict.limits)
