"""What echosvc costs, measured beside other echo servers."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import (
    chart,
    compare,
    document,
    lineup,
    machine,
    profiling,
    programs,
    targets,
    workloads,
)
from benchmarks.figures import summarize
from benchmarks.process import ROOT, BenchmarkError
from benchmarks.results import Results
from benchmarks.rounds import EXTRA, Bench
from benchmarks.table import HEAD, VERDICTS, as_text, notes, rows, verdict_rows
from benchmarks.workloads import Workload

#: Descriptors that a process needs beyond one for each connection.
MORE = 200
_EPILOG = f"""\
workloads: {" ".join(workloads.BY_NAME)};
servers: {"; ".join(f"{name}: {peer.title}" for name, peer in lineup.BY_NAME.items())}"""


def _names(known: dict[str, object]) -> Callable[[str], list[str]]:
    """What turns "a,b" into names, all of them known."""

    def split(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"not known: {', '.join(unknown)}")
        return names

    return split


def _rounds(text: str) -> int:
    """How many rounds; a spread needs two."""
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"not a number from 2 on: {text}")
    return int(text)


def _file(text: str) -> Path:
    """A file to be written, refused before minutes were spent for it."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"no file can be written there: {text}")
    return path


#: Options with a value: name, placeholder, what reads the value, default, help.
_VALUES: tuple[tuple[str, str, Callable[[str], Any], Any, str], ...] = (
    ("--only", "WORKLOAD,...", _names({**workloads.BY_NAME}), [],
     "only these, by their names below"),
    ("--peers", "SERVER,...", _names({**lineup.BY_NAME}), [], "only these, by their names below"),
    ("--against", "PYTHON", compare.interpreter, None,
     "compare echosvc as it is installed for this Python with that of another one, as"
     " /path/to/venv/bin/python or /path/to/venv/bin: each row is measured in turn; the exit"
     f" status is 1 where a row is worse: its median ratio is above {compare.WORSE}, and three"
     " quarters of its ratios are above 1"),
    ("--rounds", "N", _rounds, compare.ROUNDS, f"of each row with --against ({compare.ROUNDS})"),
    ("--json", "FILE", _file, None, "write all figures"),
    ("--svg", "FILE", _file, None, "draw them"),
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m benchmarks", description=__doc__, epilog=_EPILOG)
    add = made.add_argument
    add("--quick", action="store_true", help="fewer workloads, shorter: under a minute")
    for name, placeholder, read, default, text in _VALUES:
        add(name, metavar=placeholder, type=read, default=default, help=text)
    add("--profile", action="store_true", help="say where time and memory go")
    add("--write-docs", action="store_true", help="write docs/performance.*, with a profile")
    return made


def choose(options: argparse.Namespace) -> list[Workload]:
    """The workloads that the options ask for."""
    if options.only:
        chosen = [workload for workload in workloads.WORKLOADS if workload.name in options.only]
    else:
        chosen = [w for w in workloads.WORKLOADS if w.quick or not options.quick]
    return [workloads.shorten(w) for w in chosen] if options.quick else chosen


def progress(words: str) -> None:
    """Say where we are, in one line that is written anew; to a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)


def too_many(workload: Workload, descriptors: int) -> str:
    """Why a workload cannot be measured, or ""."""
    needed = workload.idle + workload.connections + MORE
    if needed <= descriptors:
        return ""
    return f"it needs {needed:,} descriptors and the limit is {descriptors:,} (ulimit -n)"


def measure(bench: Bench, options: argparse.Namespace) -> Results:
    """All workloads."""
    absent = {peer.name: why for peer in lineup.PEERS if (why := peer.absent())}
    results = Results(absent=absent, machine=machine.facts())
    descriptors = programs.allow_descriptors()
    for workload in choose(options):
        if why := too_many(workload, descriptors):
            results.left_out[workload.title] = why
            continue
        asked = [n for n in workload.peers if not options.peers or n in options.peers]
        peers = [lineup.BY_NAME[name] for name in asked if name not in absent]
        found = bench.measure(workload, peers) if peers else {}
        results.add(workload, {n: summarize(s, workload.streams) for n, s in found.items()})
    results.floors = bench.floors
    return results


def _profile(bench: Bench, results: Results, wanted: bool) -> profiling.Profile | None:
    """A profile of the lean server, or of the default one."""
    name = "ours" if "lean" in results.absent else "lean"
    if not wanted:
        return None
    memory, idle = profiling.weigh(bench, name), profiling.rest(bench, name)
    return replace(profiling.watch(bench, name), memory=memory, idle=idle)


def _write(
    options: argparse.Namespace, results: Results, profile: profiling.Profile | None, seconds: float
) -> None:
    """The files that the options ask for."""
    verdicts = targets.judge(results)
    whole = results.as_json([verdict.as_dict() for verdict in verdicts])
    picture = chart.draw(results)
    files = {options.json: whole, options.svg: picture}
    if options.write_docs:
        docs = ROOT / "docs"
        text = document.write(results, verdicts, profile, seconds)
        files |= {docs / "performance.md": text, docs / "performance.json": whole}
        files[docs / "performance.svg"] = picture
    for path, content in files.items():
        if path is not None:
            path.write_text(content, encoding="utf-8")


def _print(results: Results, profile: profiling.Profile | None) -> None:
    """The table, what must be known of it, and the targets."""
    print(as_text(HEAD, rows(results)))
    print("".join(f"{note}\n" for note in notes(results)))
    if found := verdict_rows(targets.judge(results)):
        print(as_text(VERDICTS, found, (0, 3)))
    if profile is not None:
        print(document.describe(profile))


def make_bench(directory: Path, extra: float) -> Bench:
    """Set up this process, and all that the measurements need, in a temporary directory."""
    programs.prepare(directory)
    files = programs.make_certificate(directory)
    return Bench(programs.build(directory), directory, files, progress, extra)


def run_against(options: argparse.Namespace) -> int:
    """Compare two installations; the exit status.

    :raises BenchmarkError: something is missing, or a byte was wrong.
    """
    descriptors = programs.allow_descriptors()
    chosen = [each for each in choose(options) if not too_many(each, descriptors)]
    with tempfile.TemporaryDirectory(prefix="echosvc-benchmarks-") as name:
        bench = make_bench(Path(name), 0.0)
        rows = compare.compare_all(bench, chosen, options.peers, options.against, options.rounds)
    progress("")
    print(as_text(compare.HEAD, compare.cells(rows), compare.WORDS))
    print(compare.summary(rows))
    return int(any(row.verdict == "WORSE" for row in rows))


def run(options: argparse.Namespace, words: list[str]) -> None:
    """Measure, and say and write what was found.

    :param words: of the command line.
    :raises BenchmarkError: something is missing, or a byte was wrong.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="echosvc-benchmarks-") as name:
        directory = Path(name)
        bench = make_bench(directory, 0.0 if options.quick else EXTRA)
        results = measure(bench, options)
        profile = _profile(bench, results, options.profile or options.write_docs)
    results.options = " ".join(words)
    progress("")
    _print(results, profile)
    _write(options, results, profile, time.monotonic() - began)


def main(words: list[str] | None = None) -> int:
    """The exit status: 0; 1 after one line that says why, or where a row is worse; 130 after
    Ctrl-C or SIGTERM.
    """
    given = sys.argv[1:] if words is None else words
    options = parser().parse_args(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers end with us
    try:
        if options.against:
            return run_against(options)
        run(options, given)
    except (BenchmarkError, OSError) as error:
        progress("")
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress("")
        return 130
    return 0
