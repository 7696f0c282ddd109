"""A load as a document needs it: what was asked, from where, and what was found. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from echosvc._text import printable
from echosvc.probe.traffic.load_result import LoadResult
from echosvc.probe.traffic.series import Second
from echosvc.probe.traffic.sweep import SweepResult
from echosvc.reports.axes import utc_time


@dataclass(frozen=True)
class LoadRun:
    """A load: what was asked, and what was found.

    :ivar result: what was found; of a sweep, at the highest rate that kept the objective.
    :ivar command: the command line that asks the same, or "".
    :ivar host: the host that it ran on.
    :ivar versions: of what this program runs on, as text.
    :ivar sweep: if it was one, the rates that were tried.
    """

    result: LoadResult
    command: str
    host: str
    versions: str = ""
    sweep: SweepResult | None = None

    @property
    def started(self) -> datetime:
        """When the first thing happened, in UTC; the beginning of Unix time: nothing did."""
        return utc_time(min(self.result.tally.series, default=0))


def brief(text: object, longest: int) -> str:
    """Return a text printable, and no longer than so many bytes of UTF-8: it may be anything."""
    shown = printable(str(text)[: longest + 1]).encode("utf-8")
    if len(shown) <= longest:
        return shown.decode("utf-8")
    return f"{shown[: longest - 3].decode('utf-8', 'ignore')}..."


@dataclass(frozen=True)
class Column:
    """Some seconds of a run.

    :ivar start: Unix time.
    :ivar seconds: how many they are.
    :ivar all: what happened in them together.
    """

    start: int
    seconds: int
    all: Second

    def rate(self, count: int) -> float:
        """Return how many that are a second."""
        return count / self.seconds


def columns(series: Mapping[int, Second], most: int) -> list[Column]:
    """Return the seconds of a run in order, thinned to ``most`` columns of equal width.

    A column has everything that happened in its seconds. The last one may be narrower.
    """
    if not series:
        return []
    first, end = min(series), max(series) + 1
    width = math.ceil((end - first) / most)
    starts = range(first, end, width)
    found = [Column(start, min(width, end - start), Second()) for start in starts]
    for number, second in series.items():
        found[(number - first) // width].all.add(second)
    return found
