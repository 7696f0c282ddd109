"""What ``echosvc load`` can do beside the C load generator: ``python -m benchmarks.generator``.

Both load the C server, in turn, from the same processor. Each row is a target: the median of
several rounds, and whether it is reached. On a machine that does other work read the ratio, not the
figures. ``--memory SECONDS`` says how memory grows at full rate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import programs
from benchmarks.process import BenchmarkError, Server, environment, free_port, run

ROUNDS = 5
#: Seconds of a round, before which so much is a warm-up.
SECONDS, WARM = 2.0, 0.3
#: The targets: the part of the C generator's rate, messages a second, MiB a second, and seconds of
#: send lag at a rate of so many messages a second.
RATIO, RATE, BULK, LAG = 0.5, 60_000.0, 400.0, 0.002
PACED = 5000
_LIMIT = 120.0


@dataclass(frozen=True)
class Row:
    """A figure and its target.

    :ivar name: of the figure.
    :ivar found: in words.
    :ivar reached: the target is.
    """

    name: str
    found: str
    reached: bool

    def __str__(self) -> str:
        return f"{'reached' if self.reached else 'MISSED ':<8} {self.name}: {self.found}"


class Bench:
    """The C server, and both generators against it.

    :param server: the C server, whose prefix is ``Sending: ``.
    :param load: the C generator.
    """

    def __init__(self, server: Server, load: Path) -> None:
        self._server, self._load = server, load

    def command(self, *words: str) -> list[str]:
        """The command line of ``echosvc load``."""
        where = f"tcp:{self._server.address}"
        own = ["--prefix", "Sending: ", "--max-cpu-wait", "1", "--json", *words]
        return [sys.executable, "-m", "echosvc", "load", where, *own]

    def ours(self, *words: str) -> dict[str, Any]:
        """The result of one run of ``echosvc load``.

        :raises BenchmarkError: something was lost, or a byte was wrong.
        """
        done = run(self.command(*words), _LIMIT)
        found: dict[str, Any] = json.loads(done.stdout or "{}")
        if found.get("verdict") not in ("OK", "INVALID"):
            raise BenchmarkError(f"echosvc load: {found.get('why') or done.stderr.strip()}")
        return found

    def theirs(self) -> float:
        """Messages a second of the C generator."""
        numbers = {"connections": 64, "size": 64, "seconds": SECONDS, "warm": WARM}
        words = [f"--{name}={value}" for name, value in numbers.items()]
        server = [f"--pid={self._server.pid}", f"--limit={_LIMIT:.0f}"]
        done = run([str(self._load), "ping", self._server.address, *words, *server], _LIMIT)
        found = json.loads(done.stdout)
        return float(found["messages"] / found["seconds"])

    def small(self) -> Iterator[Row]:
        """Yield the rows of 64-byte messages in a closed loop, beside the C generator."""
        words = "--connections", "64", "--duration", f"{SECONDS + WARM:g}", "--warmup", f"{WARM:g}"
        rounds = [(self.ours(*words)["messages_per_second"], self.theirs()) for _ in range(ROUNDS)]
        rate = statistics.median(own for own, _ in rounds)
        ratio = statistics.median(own / other for own, other in rounds)
        yield Row("closed loop, 64 B x 64", f"{rate:,.0f}/s verified", rate >= RATE)
        yield Row("the same beside the C generator", f"{ratio:.2f} of its rate", ratio >= RATIO)

    def bulk(self) -> Iterator[Row]:
        """Yield the row of long messages."""
        words = "--connections", "2", "--depth", "4", "--size", "64k", "--duration", f"{SECONDS:g}"
        found = [self.ours(*words)["bytes_per_second"] / 2**20 for _ in range(ROUNDS)]
        rate = statistics.median(found)
        yield Row("closed loop, 64 KiB, 2 x 4", f"{rate:,.0f} MiB/s verified", rate >= BULK)

    def paced(self, seconds: float) -> Iterator[Row]:
        """Yield the rows of messages at a fixed rate."""
        found = self.ours("--rate", str(PACED), "--duration", f"{seconds:g}")
        rate, lag = found["messages_per_second"], found["send_lag_us"]["p99"] / 1e6
        share = found["result"]["generator"]["cpu_share"]
        near = abs(rate / PACED - 1) <= 0.01
        yield Row(f"{PACED:,}/s for {seconds:g} s", f"{rate:,.1f}/s, {share:.0%} of a core", near)
        yield Row("send lag, p99", f"{lag * 1e3:.3g} ms", lag < LAG)

    def memory(self, seconds: float) -> Iterator[Row]:
        """Yield the row of memory at full rate: after a tenth of the time, and at its end."""
        command = self.command("--connections", "64", "--duration", f"{seconds:g}")
        with subprocess.Popen(  # noqa: S603 (this package)
            command, stdout=subprocess.DEVNULL, env=environment()
        ) as process:
            time.sleep(seconds / 10 + 1)
            early = _resident(process.pid)
            time.sleep(seconds * 0.85)
            late = _resident(process.pid)
        grown = (late - early) / 2**20
        words = f"{early / 2**20:.1f} MiB, then {late / 2**20:.1f} MiB after {seconds:g} s"
        yield Row("memory at full rate", words, grown < 5 + seconds / 60)


def _resident(pid: int) -> int:
    """Return the resident memory of a process, bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yield all rows that are asked for."""
    with tempfile.TemporaryDirectory(prefix="echosvc-benchmarks-") as name:
        directory = Path(name)
        programs.prepare(directory)
        built = programs.build(directory)
        address = f"127.0.0.1:{free_port()}"
        server = Server([str(built.floor), address, "send", "60"], address, directory)
        try:
            bench = Bench(server, built.load)
            yield from bench.small()
            yield from bench.bulk()
            yield from bench.paced(5.0 if options.quick else 30.0)
            if options.memory:
                yield from bench.memory(options.memory)
        finally:
            server.close()


def main() -> int:
    """Print each row; return 1 where a target is missed."""
    parser = argparse.ArgumentParser("python -m benchmarks.generator", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 s at the fixed rate, not 30")
    parser.add_argument(
        "--memory", type=float, default=0.0, metavar="SECONDS", help="memory over this time, too"
    )
    missed = 0
    try:
        for row in measure(parser.parse_args()):
            print(row, flush=True)
            missed += not row.reached
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
