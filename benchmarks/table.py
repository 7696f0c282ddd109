"""The table: its cells, and how they stand in plain text and in Markdown."""

from __future__ import annotations

from benchmarks.figures import Figures, ratio
from benchmarks.lineup import BY_NAME
from benchmarks.quiet import DISTURBED
from benchmarks.results import Results
from benchmarks.rounds import IMPORT
from benchmarks.targets import Verdict
from benchmarks.workloads import SETTINGS, Workload

#: The peers whose ratios are given, ours and the floor under them; and those to whom.
RATED = ("bare", "lean", "ours", "defaults", "lean-guarded", "guarded", *SETTINGS[4:7])
OTHERS = ("c", "uvloop", "node", "plain")
HEAD = ["workload", "server", "cost", "unit", "rate /s", "p50 µs", "p99 µs", "p99.9 µs"]
HEAD += ["/ C", "/ uvloop", "/ Node", "/ plain"]
#: Columns of words; the others are numbers.
WORDS = (0, 1, 3)
LIMITED = "* the load generator was the bottleneck: no ranking by this rate"
VERDICTS = ["target", "at most", "measured", "verdict"]

Rows = list[list[str]]


def number(value: float | None) -> str:
    """Three digits, or as many as there are before the point; nothing for nothing."""
    if not value:
        return ""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def title_of(peer: str) -> str:
    """What a row is called."""
    return "importing the reactor" if peer == IMPORT else BY_NAME[peer].title


def _row(results: Results, workload: Workload, peer: str, figures: Figures) -> list[str]:
    """One server under one workload."""
    rate = number(figures.rate) + ("*" if figures.limited else "")
    times = (figures.p50, figures.p99, figures.p999)
    shown = (
        ("", "", "")
        if workload.streams or workload.mode in ("idle", "start")
        else map(number, times)
    )
    ratios = [
        number(ratio(figures, results.get(workload.name, other))) if peer in RATED else ""
        for other in OTHERS
    ]
    return [title_of(peer), number(figures.cost), workload.unit, rate, *shown, *ratios]


def rows(results: Results) -> Rows:
    """All cells without the head; a workload is named in its first row only."""
    found: Rows = []
    for workload in results.workloads:
        title = workload.title
        for peer, figures in results.figures[workload.name].items():
            found.append([title, *_row(results, workload, peer, figures)])
            title = ""
    return found


def verdict_rows(verdicts: list[Verdict]) -> Rows:
    """A row for each target."""
    return [[v.target.words, number(v.target.most), number(v.value), v.word] for v in verdicts]


def as_text(head: list[str], cells: Rows, words: tuple[int, ...] = WORDS) -> str:
    """Aligned columns: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]

    def line(row: list[str]) -> str:
        fields = (
            cell.ljust(width) if at in words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(fields).rstrip()

    return "\n".join(map(line, [head, *cells])) + "\n"


def as_markdown(head: list[str], cells: Rows, words: tuple[int, ...] = WORDS) -> str:
    """The same as a table of Markdown."""
    rule = ["---" if at in words else "---:" for at in range(len(head))]
    return "".join("| " + " | ".join(row) + " |\n" for row in [head, rule, *cells])


def _starts(results: Results) -> list[str]:
    """The CPU time of starting, in a line, if it was measured."""
    found = results.figures.get("start", {})
    words = [f"{title_of(peer)} {number(figures.cpu)} ms" for peer, figures in found.items()]
    return [f"CPU time from start to listening: {', '.join(words)}"] if words else []


def _floors(results: Results) -> list[str]:
    """Which C server was the cheapest under which workload, in a line."""
    words = [f"{title}: {manner} KiB" for title, manner in results.floors.items()]
    return [f"the C server (manner, size of a read): {', '.join(words)}"] if words else []


def _disturbed(results: Results) -> list[str]:
    """What others used while it was measured, if that was much."""
    most = max(
        (f.disturbed for found in results.figures.values() for f in found.values()), default=0
    )
    said = f"others had up to {most:.0%} of the processor meanwhile: expect errors"
    return [said] if most > DISTURBED else []


def notes(results: Results) -> list[str]:
    """What the reader of the table must know, a line each."""
    limited = any(f.limited for found in results.figures.values() for f in found.values())
    said = (
        _starts(results) + _floors(results) + ([LIMITED] if limited else []) + _disturbed(results)
    )
    said += [f"{BY_NAME[name].title} is absent: {why}" for name, why in results.absent.items()]
    return said + [f"{title} is left out: {why}" for title, why in results.left_out.items()]
