"""Where time and memory go in our own server: by function, and by line."""

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
from benchmarks.measure import generate, holding, read_report
from benchmarks.process import BenchmarkError
from benchmarks.rounds import Bench
from benchmarks.workloads import BY_NAME as WORKLOADS

#: How long the server is watched, seconds.
SECONDS = 5.0
#: The time-out of connections whose idleness is watched, and for how long it is, seconds.
IDLE, IDLE_SECONDS = 60, 10.0
#: What a line holds for each connection at least, to be named, bytes.
LIGHT = 8.0
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
    :ivar memory: bytes that an idle connection holds, for each line that asked for some.
    :ivar idle: the part of a processor that idle connections need whose time-out runs, 0 to 1.
    """

    server: str
    cost: float
    kernel: float
    seconds: float
    functions: Shares
    lines: Shares
    memory: Shares = ()
    idle: float = 0.0


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
            raise BenchmarkError("the profiler has written nothing")
        time.sleep(0.01)
    return list(json.loads(path.read_text()))


def _under(program: str, peer: Peer, out: Path) -> Peer:
    """The same server under a profiler, which writes to a file."""

    def command(place: Place) -> list[str]:
        options = peer.command(place)[3:]  # what follows the way to start twistd
        return [sys.executable, str(PROGRAMS / program), str(out), *options]

    return replace(peer, command=command)


def watch(bench: Bench, name: str) -> Profile:
    """Profile one of our servers under 64 connections of 64 B.

    :param name: of the peer.
    :raises BenchmarkError: the profile does not come.
    """
    out = bench.directory / "profile.json"
    workload = replace(WORKLOADS["pingpong-64x64"], seconds=SECONDS)
    peer = _under("profiled.py", BY_NAME[name], out)
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


def by_line(counts: Counts, held: int) -> Shares:
    """Bytes a connection, by line, the most first; those of little weight become one."""
    lines = Counter[str]()
    for module, line, size in counts:
        lines[f"{module}: {line}"] += size
    each = [(name, size / held) for name, size in lines.most_common()]
    heavy = [(name, size) for name, size in each if size >= LIGHT]
    return (*heavy, ("all others", sum(size for _, size in each[len(heavy) :])))


def weigh(bench: Bench, name: str) -> Shares:
    """Find what holds the memory of idle connections of one of our servers.

    :param name: of the peer.
    :raises BenchmarkError: what was found does not come.
    """
    out = bench.directory / "memory.json"
    workload = WORKLOADS["idle"]
    peer = _under("traced.py", BY_NAME[name], out)
    bench.say(f"the memory of {peer.title}")
    with bench.start(workload, peer) as server:
        os.kill(server.pid, signal.SIGUSR1)
        with holding(bench.programs.load, server, workload, peer) as held:
            server.settled_memory()
            os.kill(server.pid, signal.SIGUSR2)
            return by_line(_wait_for(out), held)


def rest(bench: Bench, name: str) -> float:
    """Find what idle connections cost one of our servers while their time-out runs.

    :param name: of the peer.
    :return: the part of a processor.
    """
    workload, base = WORKLOADS["idle"], BY_NAME[name]

    def command(place: Place) -> list[str]:
        return [*base.command(place), "--idle-timeout", str(IDLE)]

    bench.say(f"idle connections of {base.title}")
    with (
        bench.start(workload, replace(base, command=command)) as server,
        holding(bench.programs.load, server, workload, base),
    ):
        server.settled_memory()
        began, used = time.monotonic(), server.cpu()
        time.sleep(IDLE_SECONDS)
        return (server.cpu() - used) / (time.monotonic() - began)
