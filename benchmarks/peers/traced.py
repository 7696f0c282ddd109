"""Our server, with a note of every allocation by the line of Python that made it.

Usage: ``traced.py OUT TWISTD-OPTION...``. SIGUSR1 begins, SIGUSR2 writes OUT: what has been
allocated since then and is still there.
"""

from __future__ import annotations

import gc
import json
import linecache
import signal
import sys
import tracemalloc
from pathlib import Path
from types import FrameType

from twisted.scripts.twistd import run

OUT = Path(sys.argv[1])


def _begin(_number: int, _frame: FrameType | None) -> None:
    """Forget what was before."""
    gc.collect()
    tracemalloc.start()


def _end(_number: int, _frame: FrameType | None) -> None:
    """Write what is there, in one step."""
    gc.collect()
    found = tracemalloc.take_snapshot().statistics("lineno")
    named = [(*_name(each.traceback[0]), each.size) for each in found]
    part = OUT.with_suffix(".part")
    part.write_text(json.dumps(named))
    part.rename(OUT)


def _name(place: tracemalloc.Frame) -> tuple[str, str]:
    """The last two parts of the module's name, and the line."""
    path = Path(place.filename)
    return f"{path.parent.name}.{path.stem}", linecache.getline(str(path), place.lineno).strip()


signal.signal(signal.SIGUSR1, _begin)
signal.signal(signal.SIGUSR2, _end)
del sys.argv[1]
run()
