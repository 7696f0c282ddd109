"""Results of soaks, for tests of their documents."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from echosvc.probe.soak.result import Failure, Gap, Mark, Outage, Slice, SoakResult
from echosvc.probe.soak.settings import SoakSettings
from echosvc.reports.soak_run import SoakRun
from tests.unit.reports.samples import TEXTS

BEGAN = 1_800_000_000.0
BROKEN = Gap(
    1, 7, BEGAN + 10.25, 0.512, "fin", "fin", True, 0.7, "127.0.0.1:46458", "127.0.0.1:9000",
    "127.0.0.1:46500", "127.0.0.1:9000", 77, "v1", "v2", 1, 64, 64, {"refused": 3}, "", 1,
)  # fmt: skip
SILENT = Gap(2, 3, BEGAN + 30, 2.5, "silence", last=5, before="v2", after="v2", outage=2)
LEFT = Gap(3, 4, BEGAN + 50, 9.0, "silence", "timeout", False, outage=3)
ALONE = Outage(1, BEGAN + 10.25, 0.512, 1, 20, 1, 1, 0.0, 1, {"fin": 1}, {"v1": 1}, {"v2": 1}, 7)
ALL = Outage(
    2, BEGAN + 30, 2.5, 20, 20, 20, 20, 2.25, 20, {"fin": 12, "reset": 8}, {"v1": 20}, {"v2": 20}
)
MARKS = (Mark(1, BEGAN + 5), Mark(2, BEGAN + 29.5, "the upgrade begins"))
COUNTS = {"sent": 1200, "answered": 1199, "lost": 1, "skipped": 0}
TIMES = {"p50": 400, "p99": 1200, "max": 2500000}


#: A minute without a gap.
_CLEAN: dict[str, Any] = {
    "endpoint": "tcp:lb.example:9000",
    "options": SoakSettings(connections=20).as_dict(),
    "started": BEGAN,
    "seconds": 60.0,
    "complete": True,
    "messages": COUNTS,
    "latency_us": TIMES,
    "failures": {},
    "outage_count": 0,
    "outages": (),
    "mark_count": 0,
    "marks": (),
    "servers": {"v1": 20},
    "stalls": 0,
    "longest_stall": 0.0,
    "slice_seconds": 1.0,
    "slices": tuple(Slice(20, 400 + 10 * each, 20) for each in range(60)),
}


def result(*gaps: Gap, why: tuple[Failure, ...] = (), **fields: Any) -> SoakResult:
    """The result of a minute with these gaps."""
    known: dict[str, Any] = {
        "why": why,
        "breaks": sum(gap.is_break for gap in gaps),
        "gap_count": len(gaps),
        "causes": {gap.cause: 1 for gap in gaps},
        "longest": max((gap.seconds for gap in gaps), default=0.0),
        "gaps": gaps,
    }
    return SoakResult(**{**_CLEAN, **known, **fields})


UPGRADE = result(
    BROKEN, SILENT, LEFT,
    why=(Failure("gaps", "3 gaps, in 2 of which the connection ended"),
         Failure("answers", "1 connection not answered at the end")),
    outages=(ALONE, ALL), outage_count=2, marks=MARKS, mark_count=2, servers={"v1": 20, "v2": 21},
    failures={"refused": 3}, stalls=1, longest_stall=3.0,
)  # fmt: skip


def run(of: SoakResult, command: str = "echosvc soak tcp:lb.example:9000") -> SoakRun:
    return SoakRun(of, command, "here.example")


def gaps() -> st.SearchStrategy[Gap]:
    times = st.floats(0, 100)
    return st.builds(
        Gap, st.integers(1, 9), st.integers(1, 20), times.map(BEGAN.__add__), times, TEXTS,
        end=TEXTS, answered=st.booleans(), local=TEXTS, peer=TEXTS, before=TEXTS, after=TEXTS,
        detail=TEXTS, failures=st.dictionaries(TEXTS, st.integers(1, 9), max_size=3),
    )  # fmt: skip
