"""Runs entries of the catalogue, once or many times, and says which line was wrong how often."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.programs.faults.registry import Absent
from tests.programs.paths.catalogue import judge
from tests.programs.paths.catalogue.builders.certificates import authority
from tests.programs.paths.catalogue.entry import Entry
from tests.programs.paths.catalogue.places import Place, Sides
from tests.support.process import environment

#: After so many seconds a command is ended: it has hung.
_HUNG = 300.0


@dataclass(frozen=True)
class Run:
    """What one run said.

    :ivar faults: what is wrong with it.
    :ivar verdict: the names that failed.
    :ivar seconds: how long the command took.
    :ivar lines: what it said, a line for each probe.
    """

    faults: tuple[str, ...]
    verdict: str
    seconds: float
    lines: tuple[str, ...]


@dataclass
class Outcome:
    """What came of all runs of an entry.

    :ivar absent: why it could not be run, or "".
    """

    entry: Entry
    runs: list[Run] = field(default_factory=list)
    absent: str = ""

    @property
    def right(self) -> bool:
        """Whether each run said the truth, and all of them the same."""
        return not any(run.faults for run in self.runs) and len(self.verdicts) <= 1

    @property
    def verdicts(self) -> Counter[str]:
        """How often which names failed."""
        return Counter(run.verdict for run in self.runs)

    def __str__(self) -> str:
        name = f"{self.entry.name:<28}"
        if self.absent:
            return f"ABSENT {name} {self.absent}"
        took = statistics.median(run.seconds for run in self.runs)
        count = len(self.runs)
        if self.right:
            verdict = next(iter(self.verdicts))
            return f"OK     {name} {count} of {count}, {took:.1f} s each; failed: {verdict}"
        return "\n".join([f"WRONG  {name} {took:.1f} s each", *self._wrong()])

    def _wrong(self) -> Iterator[str]:
        for fault, times in Counter(f for run in self.runs for f in run.faults).most_common():
            yield f"       {times} of {len(self.runs)}: {fault}"
        if len(self.verdicts) > 1:
            yield f"       differs: {dict(self.verdicts)}"


@contextmanager
def reached(entry: Entry) -> Iterator[tuple[Sides, Place]]:
    """The path of an entry; gives the sides, and where its first program is reached."""
    with ExitStack() as stack:
        sides = stack.enter_context(entry.network())
        place = stack.enter_context(entry.server(sides))
        for hop in reversed(entry.via):
            place = stack.enter_context(hop(sides, place))
        yield sides, place


def run(entry: Entry) -> Run:
    """Run an entry once.

    :raises Absent: a program that it needs is not there.
    """
    with reached(entry) as (sides, place):
        endpoint = entry.endpoint.format(host=place.host, port=place.port)
        words = [option.format(ca=authority()) for option in entry.options]
        command = [*sides.client, sys.executable, "-m", "echosvc"]
        began = time.monotonic()
        if entry.command[0] == "check":
            probes = _check([*command, "check", endpoint, "--json", *words])
        else:
            probes = [_other([*command, *entry.command, endpoint, *words], entry.command[0])]
        seconds = time.monotonic() - began
    wrong = judge.faults(entry, probes, seconds)
    return Run(tuple(wrong), judge.verdict(probes), seconds, tuple(map(judge.words, probes)))


def _check(command: list[str]) -> list[dict[str, Any]]:
    done = _done(command)
    if done.stderr or not done.stdout.startswith("{"):
        return [_result("the command", "fail", (done.stderr + done.stdout).strip())]
    result = json.loads(done.stdout)
    probes: list[dict[str, Any]] = result["probes"]
    if done.returncode != (0 if result["ok"] else 1):
        probes.append(_result("exit status", "fail", str(done.returncode)))
    return probes


def _other(command: list[str], name: str) -> dict[str, Any]:
    """A command that prints what went wrong on standard error."""
    done = _done(command)
    return _result(name, "fail" if done.returncode else "pass", done.stderr.strip())


def _result(name: str, result: str, finding: str) -> dict[str, Any]:
    return {"name": name, "result": result, "finding": finding}


def _done(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_HUNG,
            env=environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"not done within {_HUNG:g} s")


def run_all(entries: Sequence[Entry], times: int, jobs: int, show: bool) -> list[Outcome]:
    """Run all entries, ``times`` each, and print the outcomes in turn.

    :param jobs: how many runs are made at once.
    """
    outcomes = []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [[pool.submit(_attempt, entry) for _ in range(times)] for entry in entries]
        try:
            for entry, runs in zip(entries, waiting, strict=True):
                outcomes.append(_collect(entry, runs))
                print(outcomes[-1], flush=True)
                if show:
                    _print_wrong(outcomes[-1])
        finally:  # after a signal, too, each path is taken down
            pool.shutdown(cancel_futures=True)
    return outcomes


def _print_wrong(outcome: Outcome) -> None:
    """Print what the first run that was wrong has said."""
    for each in [each for each in outcome.runs if each.faults][:1]:
        print("".join(f"         | {line}\n" for line in each.lines), flush=True)


def _collect(entry: Entry, runs: Sequence[Future[Run]]) -> Outcome:
    outcome = Outcome(entry)
    try:
        outcome.runs.extend(each.result() for each in runs)
    except Absent as absent:
        outcome.absent = str(absent)
    return outcome


def _attempt(entry: Entry) -> Run:
    """Run an entry; a path that cannot be made is a fault of the catalogue."""
    try:
        return run(entry)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        return Run((f"the path cannot be made: {error}",), "none", 0.0, ())


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many were right, and what could not be run."""
    absent = [outcome for outcome in outcomes if outcome.absent]
    ran = len(outcomes) - len(absent)
    wrong = sum(not outcome.right for outcome in outcomes)
    lines = [f"{ran} of {len(outcomes)} entries ran, {ran - wrong} right, {wrong} wrong"]
    lines += [f"not run: {outcome.entry.name}: {outcome.absent}" for outcome in absent]
    return "\n".join(lines)
