"""One measurement: the load generator against one server, and what it cost the server."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lineup import Peer
from benchmarks.process import BenchmarkError, Server, run
from benchmarks.workloads import GIB, STREAMS, Workload

#: Longest time for one run of the load generator, seconds.
LIMIT = 30.0
#: How often it is run where the machine was so busy that no message came back in time.
TRIES = 3
#: The load generator was the bottleneck when it used this much of a core ...
BUSY = 0.95
#: ... and the server no more than this.
SLACK = 0.9


@dataclass(frozen=True)
class Sample:
    """What one run says.

    :ivar cost: in the workload's unit.
    :ivar rate: messages, connections or GiB a second.
    :ivar p50: the median time of a message, µs; so the others.
    :ivar alone: the cost without idle connections beside, where they were the point.
    :ivar cpu: CPU time of a start, ms.
    :ivar foreign: what other programs used meanwhile, in processors.
    :ivar pace: how long a fixed piece of work took the processor meanwhile, seconds.
    :ivar disturbed: what others had of the processor, as a part of it; known once all rounds are.
    :ivar limited: the load generator was the bottleneck.
    """

    cost: float
    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    alone: float = 0.0
    cpu: float = 0.0
    foreign: float = 0.0
    pace: float = 0.0
    disturbed: float = 0.0
    limited: bool = False


def command_for(load: Path, server: Server, workload: Workload, peer: Peer) -> list[str]:
    """The load generator's command line."""
    numbers = {
        "connections": workload.connections,
        "size": workload.size,
        "idle": workload.idle,
        "seconds": workload.seconds,
        "warm": workload.warm,
        "pid": server.pid,
        "limit": LIMIT,
    }
    command = [str(load), workload.mode, server.address]
    command += [f"--{name}={value}" for name, value in numbers.items()]
    command += ["--tls"] if workload.kind == "tls" else []
    command += ["--prefix-varies"] if peer.prefix_varies else []
    return command + ([] if peer.keeps_last else ["--late-fin"])


def understand(status: int, said: str, errors: str, what: str) -> dict[str, Any]:
    """The last line of the load generator; any fault refuses the run."""
    line = said.strip().rpartition("\n")[2]
    if not line.startswith("{"):
        raise BenchmarkError(
            f"{what}: {errors.strip() or f'the load generator ended with {status}'}"
        )
    found: dict[str, Any] = json.loads(line)
    if status or found["failures"]:
        raise BenchmarkError(f"{what}: {found['fault'] or status}")
    return found


def generate(load: Path, server: Server, workload: Workload, peer: Peer) -> dict[str, Any]:
    """Run the load generator; give its report.

    :raises BenchmarkError: one byte was wrong, or anything else.
    """
    command, what = command_for(load, server, workload, peer), f"{workload.title}, {peer.title}"
    for _ in range(TRIES):
        done = run(command, LIMIT + 10)
        report = understand(done.returncode, done.stdout, done.stderr, what)
        if report["messages"]:
            return report
    raise BenchmarkError(f"{what}: no message came back while it was measured")


@contextlib.contextmanager
def holding(load: Path, server: Server, workload: Workload, peer: Peer) -> Iterator[int]:
    """Connections, each idle after one message, while the context lasts; gives how many.

    :raises BenchmarkError: one byte was wrong, or anything else.
    """
    command = command_for(load, server, workload, peer)
    with subprocess.Popen(  # noqa: S603 (the load generator)
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        first = process.stdout.readline()
        if '"held"' in first:
            yield int(json.loads(first)["held"])
        said, _ = process.communicate("go on\n", timeout=LIMIT + 10)
    understand(process.returncode, said or first, "", f"{workload.title}, {peer.title}")


def read_report(report: dict[str, Any], mode: str) -> Sample:
    """What the load generator's report says of the server."""
    seconds = report["seconds"]
    stream = mode in STREAMS
    done = report["size"] / GIB if stream else report["messages"]
    factor = 1e3 if stream else 1e6
    return Sample(
        cost=report["server_cpu"] / done * factor,
        rate=done / seconds,
        p50=report["p50_us"],
        p99=report["p99_us"],
        p999=report["p999_us"],
        limited=report["load_cpu"] / seconds > BUSY and report["server_cpu"] / seconds < SLACK,
    )
