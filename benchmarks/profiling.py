"""Where the time of a message goes in our own server: a profile by function."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.lineup import BY_NAME, PROGRAMS, Peer, Place
from benchmarks.measure import generate, read_report
from benchmarks.process import Fault
from benchmarks.rounds import Bench
from benchmarks.workloads import BY_NAME as WORKLOADS

#: How long the server is watched, seconds.
SECONDS = 5.0
#: Functions named; the others are summed up.
SHOWN = 12
#: What was counted: a function, a line of it, its nanoseconds.
Counts = list[tuple[str, str, int]]
Shares = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Profile:
    """Where the time of one message goes.

    :ivar server: its title.
    :ivar cost: CPU time of a message while it was watched, µs.
    :ivar kernel: the part of it that the kernel used, 0 to 1.
    :ivar seconds: of processor time that were watched.
    :ivar functions: the part of each function, 0 to 1, the largest first.
    :ivar lines: so for each line of source.
    """

    server: str
    cost: float
    kernel: float
    seconds: float
    functions: Shares
    lines: Shares


def _shares(counts: Counter[str]) -> Shares:
    """Shares from counts; all but the :data:`SHOWN` largest become one."""
    total = sum(counts.values())
    shares = [(name, count / total) for name, count in counts.most_common(SHOWN)]
    rest = 1.0 - sum(share for _, share in shares)
    return (*shares, ("all others", rest)) if len(counts) > SHOWN else tuple(shares)


def summarize(server: str, cost: float, kernel: float, counts: Counts) -> Profile:
    """A profile from what was counted."""
    functions, lines = Counter[str](), Counter[str]()
    for function, line, count in counts:
        functions[function] += count
        lines[f"{function.rpartition('.')[2]}: {line}"] += count
    seconds = sum(functions.values()) / 1e9
    return Profile(server, cost, kernel, seconds, _shares(functions), _shares(lines))


def _modes(pid: int) -> tuple[int, int]:
    """User and system time of a process so far, clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


def _wait_for(path: Path, limit: float = 10.0) -> Counts:
    """The JSON in a file that is about to be there."""
    end = time.monotonic() + limit
    while not path.exists():
        if time.monotonic() > end:
            raise Fault("the profiler has written nothing")
        time.sleep(0.01)
    return list(json.loads(path.read_text()))


def _watched(peer: Peer, out: Path) -> Peer:
    """The same server under the profiler, which writes to a file."""

    def command(place: Place) -> list[str]:
        options = peer.command(place)[3:]  # what follows the way to start twistd
        return [sys.executable, str(PROGRAMS / "profiled.py"), str(out), *options]

    return replace(peer, command=command)


def watch(bench: Bench, name: str) -> Profile:
    """Profile one of our servers under 64 connections of 64 B.

    :param name: of the peer.
    :raises Fault: the profile does not come.
    """
    out = bench.directory / "profile.json"
    workload = replace(WORKLOADS["pingpong-64x64"], seconds=SECONDS)
    peer = _watched(BY_NAME[name], out)
    bench.say(f"a profile of {peer.title}")
    with bench.start(workload, peer) as server:
        os.kill(server.pid, signal.SIGUSR1)
        before = _modes(server.pid)
        report = generate(bench.programs.load, server, workload, peer)
        after = _modes(server.pid)
        os.kill(server.pid, signal.SIGUSR2)
        counts = _wait_for(out)
    user, kernel = (late - early for early, late in zip(before, after, strict=True))
    cost = read_report(report, workload.mode).cost
    return summarize(peer.title, cost, kernel / max(1, user + kernel), counts)
