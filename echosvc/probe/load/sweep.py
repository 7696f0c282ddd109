"""Runs at several rates, until the highest one is found that keeps an objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from echosvc.probe.load.generator import Load
from echosvc.probe.load.options import LoadOptions
from echosvc.probe.traffic.sweep import Objective, RateSearch, SweepResult, SweepStep


class Sweep:
    """The runs of one search, one after the other. It stops at the first that is invalid.

    :param options: of each run, but for its rate.
    :param make: makes a run.
    :param on_step: called with each rate that was tried.
    :ivar load: the run that is under way, or the last one.
    """

    def __init__(
        self,
        options: LoadOptions,
        low: float,
        high: float,
        objective: Objective,
        make: Callable[[LoadOptions], Load],
        on_step: Callable[[SweepStep], object] = lambda _: None,
    ) -> None:
        self._options, self._objective = options, objective
        self._search, self._make, self._on_step = RateSearch(low, high), make, on_step
        self._steps: list[SweepStep] = []
        self._is_complete = False
        self.load: Load | None = None

    def result(self) -> SweepResult:
        """Return what was found so far."""
        return SweepResult(self._objective, tuple(self._steps), self._is_complete)

    async def run(self) -> SweepResult:
        """Search to the end."""
        while rate := self._search.next_rate:
            self.load = self._make(replace(self._options, rate=rate))
            result = await self.load.run()
            kept = self._objective.is_kept(result)
            self._steps.append(SweepStep(rate, result, kept))
            self._on_step(self._steps[-1])
            if result.interrupted or result.verdict.word == "INVALID":
                return self.result()
            self._search.note(kept)
        self._is_complete = True
        return self.result()
