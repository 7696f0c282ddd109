"""Results of several runs, or of the shards of one, as one result. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from math import gcd
from typing import Any

from echosvc.probe.traffic.checked import (
    check_format,
    checked_count,
    checked_each,
    checked_items,
    checked_member,
    checked_object,
    checked_seed,
    checked_text,
)
from echosvc.probe.traffic.tally import Tally

#: The version of the format.
SCHEMA = 1
#: Shards of which a result may consist.
MAX_SHARDS = 100_000


class MergeError(ValueError):
    """Results that cannot be merged; its text says which, and why."""


@dataclass(frozen=True, order=True)
class Shard:
    """Which part of a run a result has.

    :ivar seed: of the run; two runs of other seeds send other messages.
    :ivar index: from 0.
    :ivar total: how many shards the run has.
    """

    seed: int
    index: int
    total: int

    def overlaps(self, other: Shard) -> bool:
        """Return whether both have a connection in common."""
        return (
            self.seed == other.seed
            and (self.index - other.index) % gcd(self.total, other.total) == 0
        )

    def dump(self) -> list[int]:
        """Return the same for JSON."""
        return [self.seed, self.index, self.total]

    @classmethod
    def load(cls, dumped: Any) -> Shard:
        """Return the shard that was dumped.

        :raises ValueError: it is none.
        """
        seed, index, total = checked_items(dumped, 3)
        seed, index, total = checked_seed(seed), checked_count(index), checked_count(total)
        if not 0 <= index < total <= MAX_SHARDS:
            raise ValueError(f"no shard: {index + 1} of {total}")
        return cls(seed, index, total)

    def __str__(self) -> str:
        return f"shard {self.index + 1}/{self.total} of seed {self.seed}"


@dataclass(frozen=True)
class RunResult:
    """What one run, one shard of it, or several together counted.

    :ivar version: of this program.
    :ivar endpoint: the server, as it was given.
    :ivar options: what else was asked for, without seed and shard; JSON.
    :ivar shards: of which it consists.
    :ivar tally: what was counted.
    """

    version: str
    endpoint: str
    options: dict[str, Any]
    shards: tuple[Shard, ...]
    tally: Tally = field(default_factory=Tally)

    @property
    def missing(self) -> dict[int, Fraction]:
        """Which part of each seed's run is missing; only those of which one is."""
        there: dict[int, Fraction] = {}
        for shard in self.shards:
            there[shard.seed] = there.get(shard.seed, Fraction(0)) + Fraction(1, shard.total)
        return {seed: 1 - part for seed, part in there.items() if part < 1}

    def dump(self) -> dict[str, Any]:
        """Return the same for JSON."""
        return {
            "schema": SCHEMA,
            "version": self.version,
            "endpoint": self.endpoint,
            "options": self.options,
            "shards": [each.dump() for each in self.shards],
            "tally": self.tally.dump(),
        }

    @classmethod
    def load(cls, dumped: Any) -> RunResult:
        """Return the result that was dumped.

        :raises ValueError: it is none, or of another version of the format.
        """
        check_format(dumped, SCHEMA)
        return cls(
            checked_member(dumped, "version", checked_text),
            checked_member(dumped, "endpoint", checked_text),
            checked_member(dumped, "options", checked_object),
            checked_member(dumped, "shards", _load_shards),
            checked_member(dumped, "tally", Tally.load),
        )


def _load_shards(dumped: Any) -> tuple[Shard, ...]:
    shards = tuple(checked_each(dumped, MAX_SHARDS, Shard.load))
    if not shards:
        raise ValueError("no shard is named")
    return shards


def merge(results: Iterable[tuple[str, RunResult]]) -> RunResult:
    """Return all results as one: counts and histograms added, seconds aligned by Unix time.

    :param results: each with the name that an error calls it by.
    :raises MergeError: there is none, or two differ in version, endpoint or options, or they
        contain the same shard.
    """
    named = list(results)
    if not named:
        raise MergeError("there is nothing to merge")
    for other in named[1:]:
        _check_alike(named[0], other)
    for one, other in combinations(named, 2):
        _check_disjoint(one, other)
    first, tally = named[0][1], Tally()
    for _, result in named:
        tally.add(result.tally)
    shards = tuple(sorted(shard for _, result in named for shard in result.shards))
    return RunResult(first.version, first.endpoint, first.options, shards, tally)


def _check_alike(one: tuple[str, RunResult], other: tuple[str, RunResult]) -> None:
    facts = [
        {"version": result.version, "endpoint": result.endpoint, **result.options}
        for _, result in (one, other)
    ]
    for name in sorted(facts[0].keys() | facts[1].keys()):
        values = [_shown(each, name) for each in facts]
        if values[0] != values[1]:
            raise MergeError(
                f"{one[0]} and {other[0]} differ in {name}: {values[0]} and {values[1]}"
            )


def _shown(facts: dict[str, Any], name: str) -> str:
    return repr(facts[name]) if name in facts else "not given"


def _check_disjoint(one: tuple[str, RunResult], other: tuple[str, RunResult]) -> None:
    both = _find_overlap(one[1].shards, other[1].shards)
    if both is not None:
        mine, yours = both
        what = f"both contain {mine}"
        if mine != yours:
            what = f"{mine} and {yours} have connections in common"
        raise MergeError(f"{one[0]} and {other[0]} overlap: {what}")


def _find_overlap(one: Sequence[Shard], other: Sequence[Shard]) -> tuple[Shard, Shard] | None:
    for mine in one:
        for yours in other:
            if mine.overlaps(yours):
                return mine, yours
    return None
