"""Two installations of echosvc side by side: the ratio of their costs, row by row."""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.lineup import BY_NAME, Peer, Place
from benchmarks.process import Server
from benchmarks.rounds import Bench
from benchmarks.table import Rows, number
from benchmarks.workloads import Workload

#: The servers that are compared: all kinds of ours.
OURS = ("lean", "ours", "defaults", "lean-guarded", "guarded", "limited", "lifetime", "peer-prefix")
#: Rounds of each row, unless the options say another number.
ROUNDS = 9
#: A row is worse when the median of its ratios is above this, and three quarters are above 1.
WORSE = 1.03
HEAD = ["workload", "server", "unit", "other", "this", "this / other", "quartiles", "verdict"]
WORDS = (0, 1, 2, 6, 7)


@dataclass(frozen=True)
class Row:
    """One kind of server under one workload.

    :ivar pairs: the costs of the other installation and of this one, measured one right after the
        other; a pair for each round.
    """

    workload: Workload
    peer: Peer
    pairs: tuple[tuple[float, float], ...]

    @property
    def ratios(self) -> list[float]:
        """The cost of this one over that of the other one, round by round."""
        return [this / other for other, this in self.pairs]

    @property
    def ratio(self) -> float:
        """Their median."""
        return statistics.median(self.ratios)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Half of the ratios are between these."""
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, high

    @property
    def verdict(self) -> str:
        """Whether this one costs more than :data:`WORSE` allows, or that cannot be said."""
        if self.ratio <= WORSE:
            return ""
        return "WORSE" if self.quartiles[0] > 1.0 else "unclear"

    def cells(self) -> list[str]:
        """As a row of the table."""
        other, this = (statistics.median(each) for each in zip(*self.pairs, strict=True))
        low, high = self.quartiles
        return [
            *(self.workload.title, self.peer.title, self.workload.unit),
            *(number(other), number(this), f"{self.ratio:.3f}", f"{low:.3f} to {high:.3f}"),
            self.verdict,
        ]


def interpreter(text: str) -> Path:
    """Python of an installation, given itself or its directory."""
    path = Path(text).absolute()
    path = path / "python" if path.is_dir() else path
    if not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"there is no Python: {text}")
    return path


def of(peer: Peer, python: Path) -> Peer:
    """The same server of the installation that this Python has."""

    def command(place: Place) -> list[str]:
        return [str(python), *peer.command(place)[1:]]

    return replace(peer, command=command, installed=True)


def _pair(measure: Callable[[int], float], number: int) -> tuple[float, float]:
    """One round: the other installation is 0, this one is 1; each is the first in turn."""
    costs = {which: measure(which) for which in ((0, 1) if number % 2 else (1, 0))}
    return costs[0], costs[1]


def compare(bench: Bench, workload: Workload, peer: Peer, other: Path, rounds: int) -> Row:
    """Measure one row.

    :param other: Python of the other installation.
    :raises BenchmarkError: one byte was wrong, or anything else.
    """
    kinds = of(peer, other), of(peer, Path(sys.executable))
    with contextlib.ExitStack() as stack:
        fresh = workload.mode in ("start", "idle")  # every round needs a server of its own
        kept = [] if fresh else [stack.enter_context(bench.start(workload, k)) for k in kinds]

        def measure(which: int) -> float:
            bench.say(f"{workload.title}: {peer.title}, {('the other', 'this')[which]}")
            if not fresh:
                return bench.sample(kept[which], workload, kinds[which]).cost
            with bench.start(workload, kinds[which]) as server:
                return _cost_of_fresh(bench, server, workload, kinds[which])

        if fresh:
            _pair(measure, 0)  # fills caches
        pairs = tuple(_pair(measure, number) for number in range(rounds))
    return Row(workload, peer, pairs)


def _cost_of_fresh(bench: Bench, server: Server, workload: Workload, peer: Peer) -> float:
    """What a server costs that has just started."""
    if workload.mode == "start":
        return server.seconds * 1e3
    return bench.sample(server, workload, peer).cost


def compare_all(
    bench: Bench, workloads: list[Workload], names: list[str], other: Path, rounds: int
) -> list[Row]:
    """Measure all rows of these workloads.

    :param names: of the peers; none: all of ours.
    """
    return [
        compare(bench, workload, BY_NAME[name], other, rounds)
        for workload in workloads
        for name in workload.peers
        if name in OURS and (not names or name in names)
    ]


def cells(rows: list[Row]) -> Rows:
    """The table's."""
    return [row.cells() for row in rows]


def summary(rows: list[Row]) -> str:
    """What the table shows, in a line."""
    named = [(row.verdict, f"{row.workload.title}, {row.peer.title}") for row in rows]
    worse = "; ".join(name for verdict, name in named if verdict == "WORSE")
    unclear = "; ".join(name for verdict, name in named if verdict == "unclear")
    said = f"worse by more than {WORSE - 1:.0%}: {worse or 'no row'}"
    return said + (f"\ntoo noisy to be said, more rounds are needed: {unclear}" if unclear else "")
