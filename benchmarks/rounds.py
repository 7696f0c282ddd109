"""The rounds of a workload: all its servers at once, each measured in turn, several times."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TypeVar

from benchmarks.lineup import Peer, free_place
from benchmarks.measure import LIMIT, Sample, generate, holding, read_report
from benchmarks.process import BenchmarkError, Server, processors, run, serving
from benchmarks.programs import Programs
from benchmarks.quiet import DISTURBED, Watch, ended_children
from benchmarks.workloads import WARM, Workload

Running = tuple[Peer, Server]
Item = TypeVar("Item")
#: The samples of a workload, by the name of the peer.
Samples = dict[str, list[Sample]]
#: Rounds that are added for those that others disturbed take at most this part of the time of
#: all the others ...
EXTRA = 0.4
#: ... and are so many times as many at most.
MOST = 2
#: How often each variant of a server is measured before the cheapest takes part ...
TRIALS = 2
#: ... and of a stream.
STREAM_TRIALS = 5
#: Connections that come and go before memory is measured.
FEW = 8
#: What starting is compared with: the name of its row, and the program.
IMPORT = "import"
IMPORTING = [sys.executable, "-c", "from twisted.internet import reactor"]


@dataclass
class Bench:
    """What all workloads need.

    :ivar directory: temporary; the servers' own ones are made in it.
    :ivar files: certificate and key.
    :ivar say: told of the progress.
    :ivar extra: how long additional rounds may take, as a part of the time of the others.
    :ivar floors: the variant that was the cheapest, by the title of the workload.
    :ivar best: the least :attr:`Sample.pace` so far: that of an undisturbed processor.
    """

    programs: Programs
    directory: Path
    files: tuple[str, ...]
    say: Callable[[str], None]
    extra: float
    best: float = math.inf
    floors: dict[str, str] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def start(self, workload: Workload, peer: Peer) -> contextlib.AbstractContextManager[Server]:
        """A server for a workload, as a context."""
        directory = self.directory / f"{next(self._numbers)}"
        place = free_place(workload.kind, directory, self.programs.floor, self.files)
        return serving(peer.command(place), place.address, directory, peer.installed)

    def measure(self, workload: Workload, peers: list[Peer]) -> Samples:
        """All rounds of one workload."""
        if workload.mode == "start":
            return self._starts(workload, peers)
        samples: Samples = {peer.name: [] for peer in peers}
        peers = [self._cheapest(workload, peer) for peer in peers]
        with contextlib.ExitStack() as stack:
            running = [(peer, stack.enter_context(self.start(workload, peer))) for peer in peers]
            if workload.streams:
                return self._paired(workload, running)
            began = time.monotonic()
            for number in range(workload.rounds):
                self._round(workload, _turned(running, number), samples)
            now = time.monotonic()
            end = now + self.extra * (now - began)
            for number in range(MOST * workload.rounds):
                self._round(workload, _turned(running, number), samples, end)
        return {
            name: quietest(found, workload.rounds, self.best) for name, found in samples.items()
        }

    def _cheapest(self, workload: Workload, peer: Peer) -> Peer:
        """The variant of a peer that costs the least, after :data:`TRIALS` rounds of each."""
        if not peer.variants or workload.mode == "idle":
            return peer
        short = replace(workload, idle=0, size=workload.size // (2 if workload.streams else 1))
        trials, middle = (STREAM_TRIALS, median) if workload.streams else (TRIALS, min)
        costs: dict[tuple[str, ...], list[float]] = {each: [] for each in peer.variants}
        with contextlib.ExitStack() as stack:
            varied = [(each, peer.with_options(*each)) for each in peer.variants]
            running = [(*each, stack.enter_context(self.start(short, each[1]))) for each in varied]
            for variant, one, server in running * trials:
                self.say(f"{workload.title}: {peer.title}, {' '.join(variant)}")
                costs[variant].append(self.sample(server, short, one).cost)
        cheapest = min(costs, key=lambda variant: middle(costs[variant]))
        self.floors[workload.title] = " ".join(cheapest)
        return peer.with_options(*cheapest)

    def _paired(self, workload: Workload, running: list[Running]) -> Samples:
        """Rounds in which each server is measured once, forwards and backwards in turn."""
        samples: Samples = {peer.name: [] for peer, _ in running}
        for number in range(workload.rounds):
            for peer, server in running[:: -1 if number % 2 else 1]:
                self.say(f"{workload.title}: round {number + 1}, {peer.title}")
                samples[peer.name].append(self.sample(server, workload, peer))
        return {name: measured(found, self.best) for name, found in samples.items()}

    def _round(
        self,
        workload: Workload,
        running: list[Running],
        samples: Samples,
        end: float = math.inf,
    ) -> None:
        """Measure each once that has not been measured often enough, until the time ``end``."""
        for peer, server in running:
            if time.monotonic() < end and wanting(samples[peer.name], workload, self.best):
                self.say(f"{workload.title}: {peer.title}")
                samples[peer.name].append(self.sample(server, workload, peer))

    def sample(self, server: Server, workload: Workload, peer: Peer) -> Sample:
        """One measurement of a running server."""
        if workload.mode == "idle":
            return self._memory(server, workload, peer)
        load, alone = self.programs.load, 0.0
        with Watch(server) as watch:
            if workload.idle:
                fewer = replace(workload, idle=0, warm=WARM)
                alone = read_report(generate(load, server, fewer, peer), workload.mode).cost
            sample = read_report(generate(load, server, workload, peer), workload.mode)
        self.best = min(self.best, watch.pace)
        return replace(sample, alone=alone, foreign=watch.foreign, pace=watch.pace)

    def _memory(self, server: Server, workload: Workload, peer: Peer) -> Sample:
        """Resident memory with all connections open less that with none, for each.

        A few were there before: what a server loads for the first is not counted. With many
        messages, they leave garbage whose room the connections then fill.
        """
        load, few = self.programs.load, replace(workload, connections=FEW)
        if workload.warm:
            generate(load, server, replace(few, mode="ping", seconds=workload.warm), peer)
        else:
            with holding(load, server, few, peer):
                pass
        before = server.settled_memory()
        with holding(load, server, workload, peer) as held:
            return Sample((server.settled_memory() - before) / held)

    def _starts(self, workload: Workload, peers: list[Peer]) -> Samples:
        """Wall time until each listens; and of importing the reactor alone."""
        samples: Samples = {peer.name: [] for peer in peers}
        samples[IMPORT] = []
        for number in range(-1, workload.rounds):  # the first one fills caches
            self.say(f"{workload.title}: round {number + 1}")
            for peer in _turned(peers, number):
                with self.start(workload, peer) as server:
                    samples[peer.name].append(Sample(server.seconds * 1e3, cpu=server.cpu() * 1e3))
            samples[IMPORT].append(_import())
        return {name: found[1:] for name, found in samples.items()}


def _import() -> Sample:
    """How long Python takes to import the reactor, from its start to its end."""
    used, began = ended_children(), time.perf_counter()
    os.sched_setaffinity(0, processors()[1])  # where the servers start, too
    try:
        if run(IMPORTING, LIMIT).returncode:
            raise BenchmarkError("Twisted is not installed")
    finally:
        os.sched_setaffinity(0, processors()[0])
    return Sample((time.perf_counter() - began) * 1e3, cpu=(ended_children() - used) * 1e3)


def disturbance(sample: Sample, best: float) -> float:
    """What others had of the processor, as a part of it.

    :param best: the pace of an undisturbed one.
    """
    return sample.foreign + (sample.pace / best - 1.0 if sample.pace else 0.0)


def wanting(samples: list[Sample], workload: Workload, best: float) -> bool:
    """Return whether another round is needed: there are too few that others did not disturb."""
    undisturbed = [sample for sample in samples if disturbance(sample, best) <= DISTURBED]
    return len(undisturbed) < workload.rounds


def measured(samples: list[Sample], best: float) -> list[Sample]:
    """The same samples, and how much each was disturbed."""
    return [replace(sample, disturbed=disturbance(sample, best)) for sample in samples]


def quietest(samples: list[Sample], count: int, best: float) -> list[Sample]:
    """So many samples, those least disturbed by others, and how much; whatever they cost."""
    return sorted(measured(samples, best), key=lambda sample: sample.disturbed)[:count]


def _turned(items: list[Item], number: int) -> list[Item]:
    """The same order, begun somewhere else each round."""
    at = number % max(1, len(items))
    return items[at:] + items[:at]
