"""The runs of ``docs/load.md``: each starts what it needs, and has what a command printed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs.paths.programs import through_relay
from tests.support.process import ECHOSVC, environment, need, running
from tests.support.waiting import LIMIT

#: Under which name the server is shown.
_NAME = "lb.example:9000"
_AT_A_RATE = "--rate 200 --duration 10 --seed 7"

Run = Callable[[Path], str]
RUNS: dict[str, Run] = {}


def run(made: Run) -> Run:
    """Register a run by its name. Its argument is the directory that it works in."""
    RUNS[made.__name__.lstrip("_")] = made
    return made


class Command:
    """One command as a user has it, started now.

    :param place: of the server, in place of the name.
    """

    def __init__(
        self, directory: Path, place: str, words: str, before: tuple[str, ...] = ()
    ) -> None:
        self._place, self._words = place, words
        given = [place if word == _NAME else word for word in shlex.split(words)]
        self._process = subprocess.Popen(
            [*before, *ECHOSVC, *given], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd=directory, env=environment(),
        )  # fmt: skip

    def shown(self) -> str:
        """What was typed and printed, indented, when the command has ended."""
        printed, _ = self._process.communicate(timeout=4 * LIMIT)
        text = f"$ echosvc {self._words}\n{printed.replace(self._place, _NAME)}"
        return "".join(f"    {line}".rstrip() + "\n" for line in text.splitlines())


def _printed(directory: Path, port: int, *commands: str) -> str:
    place = f"127.0.0.1:{port}"
    return "\n".join(Command(directory, place, words).shown() for words in commands)


@run
def rate(directory: Path) -> str:
    with running("--log", "quiet") as server:
        return _printed(directory, server.port, f"load {_NAME} {_AT_A_RATE}")


@run
def stall(directory: Path) -> str:
    words = f"load {_NAME} {_AT_A_RATE} --report stall.html"
    with running("--log", "quiet") as server:
        command = Command(directory, f"127.0.0.1:{server.port}", words)
        time.sleep(5)  # the stall is to be in the middle of the picture
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(1)
        os.kill(server.pid, signal.SIGCONT)
        shown = command.shown()
        page = directory / "stall.html"
        place = f"127.0.0.1:{server.port}"
        page.write_text(page.read_text("utf-8").replace(place, _NAME), "utf-8")
        return shown


@run
def damaged(directory: Path) -> str:
    with running("--log", "quiet") as server, through_relay(server.port, flip=5000) as port:
        return _printed(directory, port, f"load {_NAME} --rate 200 --duration 5")


@run
def starved(directory: Path) -> str:
    pinned = (need("taskset"), "-c", "0")
    with running("--log", "quiet") as server, _busy(pinned), _busy(pinned):
        place, words = f"127.0.0.1:{server.port}", f"load {_NAME} --duration 5"
        return Command(directory, place, words, pinned).shown()


@contextmanager
def _busy(pinned: tuple[str, ...]) -> Iterator[None]:
    """A program that does nothing but use its processor."""
    process = subprocess.Popen([*pinned, sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait(LIMIT)


@run
def sweep(directory: Path) -> str:
    words = f"load {_NAME} --sweep 100-400 --slo p99<50ms --duration 3"
    with running("--log", "quiet") as server:
        shown = _printed(directory, server.port, words)
    return shown.replace("p99<50ms --duration", "'p99<50ms' --duration", 1)


@run
def merge(directory: Path) -> str:
    start = int(time.time()) + 10
    with running("--log", "quiet") as server:
        place = f"127.0.0.1:{server.port}"
        shards = [
            f"load {_NAME} {_AT_A_RATE} --start-at {start} --shard {number}/2 --json"
            for number in (1, 2)
        ]
        commands = [Command(directory, place, words) for words in shards]
        for number, command in enumerate(commands, 1):
            lines = command.shown().splitlines()
            (directory / f"{number}.json").write_text(f"{lines[1].strip()}\n", "utf-8")
    typed = "".join(f"    $ echosvc {words} > {n}.json\n" for n, words in enumerate(shards, 1))
    return typed + Command(directory, _NAME, "merge 1.json 2.json").shown()


@run
def compare(directory: Path) -> str:
    """The same rate, to the server and through a relay that delays."""
    words = f"load {_NAME} {_AT_A_RATE} --json"
    with running("--log", "quiet") as server, through_relay(server.port, delay=0.02) as slow:
        for name, port in (("before", server.port), ("after", slow)):
            line = Command(directory, f"127.0.0.1:{port}", words).shown().splitlines()[1]
            (directory / f"{name}.json").write_text(f"{line.strip()}\n", "utf-8")
    shown = "load --compare before.json after.json --fail-if 'p99>+10%' --fail-if 'rate<-5%'"
    return Command(directory, _NAME, shown).shown()
