"""The rounds of a workload: all its servers at once, each measured in turn, several times."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from benchmarks.lineup import Peer, free_place
from benchmarks.measure import LIMIT, Sample, generate, holding, read_report
from benchmarks.process import Fault, Server, processors, run, serving
from benchmarks.programs import Programs
from benchmarks.quiet import DISTURBED, Watch, ended_children
from benchmarks.workloads import Workload

Running = tuple[Peer, Server]
Item = TypeVar("Item")
#: The samples of a workload, by the name of the peer.
Samples = dict[str, list[Sample]]
#: Rounds at most in place of those that other programs disturbed.
EXTRA = 2
#: What starting is compared with: the name of its row, and the program.
IMPORT = "import"
IMPORTING = [sys.executable, "-c", "from twisted.internet import reactor"]


@dataclass
class Bench:
    """What all workloads need.

    :ivar directory: temporary; the servers' own ones are made in it.
    :ivar files: certificate and key.
    :ivar say: told of the progress.
    :ivar spare: seconds left, in all, for additional rounds.
    """

    programs: Programs
    directory: Path
    files: tuple[str, ...]
    say: Callable[[str], None]
    spare: float
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def start(self, workload: Workload, peer: Peer) -> contextlib.AbstractContextManager[Server]:
        """A server for a workload, as a context."""
        directory = self.directory / f"{next(self._numbers)}"
        place = free_place(workload.kind, directory, self.programs.floor, self.files)
        return serving(peer.command(place), place.address, directory)

    def measure(self, workload: Workload, peers: list[Peer]) -> Samples:
        """All rounds of one workload."""
        if workload.mode == "start":
            return self._starts(workload, peers)
        samples: Samples = {peer.name: [] for peer in peers}
        with contextlib.ExitStack() as stack:
            running = [(peer, stack.enter_context(self.start(workload, peer))) for peer in peers]
            for number in range(workload.rounds):
                self._round(workload, _turned(running, number), samples)
            began = time.monotonic()
            for number in range(EXTRA):
                if time.monotonic() - began < self.spare:
                    self._round(workload, _turned(running, number), samples)
            self.spare -= time.monotonic() - began
        return {name: quietest(found, workload.rounds) for name, found in samples.items()}

    def _round(self, workload: Workload, running: list[Running], samples: Samples) -> None:
        """Measure each once that has not been measured often enough."""
        for peer, server in running:
            if wanting(samples[peer.name], workload):
                self.say(f"{workload.title}: {peer.title}")
                samples[peer.name].append(self._sample(server, workload, peer))

    def _sample(self, server: Server, workload: Workload, peer: Peer) -> Sample:
        """One measurement of a running server."""
        if workload.mode == "idle":
            return self._memory(server, workload, peer)
        load, alone = self.programs.load, 0.0
        with Watch(server) as watch:
            if workload.idle:
                fewer = replace(workload, idle=0)
                alone = read_report(generate(load, server, fewer, peer), workload.mode).cost
            sample = read_report(generate(load, server, workload, peer), workload.mode)
        return replace(sample, alone=alone, foreign=watch.foreign)

    def _memory(self, server: Server, workload: Workload, peer: Peer) -> Sample:
        """Resident memory with all connections open less that with none, for each."""
        load = self.programs.load
        generate(load, server, replace(workload, mode="ping", connections=8, seconds=0.1), peer)
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
            raise Fault("Twisted is not installed")
    finally:
        os.sched_setaffinity(0, processors()[0])
    return Sample((time.perf_counter() - began) * 1e3, cpu=(ended_children() - used) * 1e3)


def wanting(samples: list[Sample], workload: Workload) -> bool:
    """Whether another round is needed: there are too few that others did not disturb."""
    undisturbed = [sample for sample in samples if sample.foreign <= DISTURBED]
    return len(undisturbed) < workload.rounds


def quietest(samples: list[Sample], count: int) -> list[Sample]:
    """So many samples, those least disturbed by others; whatever they cost."""
    return sorted(samples, key=lambda sample: sample.foreign)[:count]


def _turned(items: list[Item], number: int) -> list[Item]:
    """The same order, begun somewhere else each round."""
    at = number % max(1, len(items))
    return items[at:] + items[:at]
