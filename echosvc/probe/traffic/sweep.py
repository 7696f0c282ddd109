"""The search for the highest rate at which a server keeps an objective. No I/O.

Theory of operation. The rate doubles from the lowest one on until the objective is broken. Then the
ratio between the highest rate that kept it and the lowest that broke it is bisected, until both
are near.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from echosvc._text import format_duration, read_microseconds
from echosvc.probe.traffic.load_result import LoadResult
from echosvc.probe.traffic.tally import Tally

#: By how much the rate grows from step to step, and the ratio of two rates that are near.
FACTOR, NEAR = 2.0, 1.05
_OBJECTIVE = re.compile(r"(max|p[0-9]{2,4}|p[0-9]{2}\.[0-9]{1,2})<(.+)", re.ASCII)


@dataclass(frozen=True)
class Objective:
    """A service level objective: a percentile of the corrected latency is below a limit.

    :ivar percentile: 100: the largest latency.
    :ivar limit: seconds.
    """

    percentile: float
    limit: float

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Return the objective of a text such as ``p99<5ms``, ``p99.9<20ms`` or ``max<1s``.

        :raises ValueError: it is none.
        """
        match = _OBJECTIVE.fullmatch(text.replace(" ", ""))
        limit = None if match is None else read_microseconds(match[2])
        if match is None or not limit or limit == math.inf:
            raise ValueError(f"an objective is written p99<5ms or max<1s, not {text!r}")
        name, percentile = match[1], 100.0
        if name != "max":
            digits = name[1:].replace(".", "")
            percentile = float(f"{digits[:2]}.{digits[2:]}0")
        return cls(percentile, limit / 1e6)

    def latency(self, tally: Tally) -> float:
        """Return the latency that counts, seconds."""
        found = tally.corrected
        if self.percentile == 100:
            return found.largest / 1e6
        return found.percentiles([self.percentile])[self.percentile] / 1e6

    def is_kept(self, result: LoadResult) -> bool:
        """Return whether a run kept it, without any loss."""
        answered = result.tally.corrected.total > 0
        return result.verdict.ok and answered and self.latency(result.tally) < self.limit

    @property
    def figure(self) -> str:
        """The name of the latency that counts, such as ``p99``."""
        return "max" if self.percentile == 100 else f"p{self.percentile:g}"

    def __str__(self) -> str:
        return f"{self.figure}<{format_duration(self.limit).replace(' ', '')}"


class RateSearch:
    """Which rate to try next.

    :param low: the first rate, messages a second.
    :param high: the highest.
    :ivar best: the highest rate that kept the objective; 0: none did.
    """

    def __init__(self, low: float, high: float) -> None:
        if not 0 < low <= high < math.inf:
            raise ValueError(f"no range of rates: {low:g} to {high:g}")
        self._high, self._next = high, low
        self._broken = math.inf
        self.best = 0.0

    @property
    def next_rate(self) -> float:
        """The rate to try next; 0: the search is over."""
        return self._next

    def note(self, kept: bool) -> None:
        """Note whether the rate that was to be tried kept the objective."""
        rate = self._next
        if kept:
            self.best = rate
        else:
            self._broken = rate
        self._next = self._choose()

    def _choose(self) -> float:
        if not self.best or self.best >= self._high or self._broken <= self.best * NEAR:
            return 0.0
        if self._broken == math.inf:
            return min(self.best * FACTOR, self._high)
        return float(f"{math.sqrt(self.best * self._broken):.3g}")


@dataclass(frozen=True)
class SweepStep:
    """One rate that was tried.

    :ivar rate: messages a second.
    :ivar result: what was found.
    :ivar kept: the objective was kept.
    """

    rate: float
    result: LoadResult
    kept: bool

    def describe(self, objective: Objective) -> str:
        """Return a line: the rate, and the latency that the objective is about."""
        kept, tally = "kept" if self.kept else "not kept", self.result.tally
        answered = tally.corrected.total > 0
        latency = format_duration(objective.latency(tally)) if answered else "-"
        figure = f"{objective.figure} {latency:>8}"
        return f"{self.rate:12.6g}/s  {figure}  {kept:<8}  {self.result.verdict}"


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    :ivar objective: that was to be kept.
    :ivar steps: the rates that were tried, in order.
    :ivar is_complete: the search came to its end. It does not at an invalid run, or if it was
        interrupted.
    """

    objective: Objective
    steps: tuple[SweepStep, ...]
    is_complete: bool

    @property
    def best(self) -> SweepStep | None:
        """The highest rate that kept the objective; ``None``: none did."""
        return max((each for each in self.steps if each.kept), key=_rate, default=None)

    @property
    def why(self) -> str:
        """What was found, in words."""
        best = self.best
        found = "no rate that was tried"
        if best is not None:
            found = f"{best.rate:.6g} messages a second"
        words = f"the highest rate that keeps {self.objective} is {found}"
        if best is None:
            words = f"{found} keeps {self.objective}"
        if not self.is_complete and self.steps:
            last = self.steps[-1]
            words += f", as far as was tried: at {last.rate:.6g} the run is {last.result.verdict}"
        return words

    @property
    def exit_status(self) -> int:
        """0: a rate was found; 1: none keeps the objective; 3: a run was invalid."""
        if not self.is_complete:
            return 3
        return 0 if self.best is not None else 1


def _rate(step: SweepStep) -> float:
    return step.rate
