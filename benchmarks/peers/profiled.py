"""Our server, interrupted a thousand times a second, and asked where it is.

A profiler that is told of every call would slow down small functions most; an interrupt
by the clock does not. Each answer counts for the processor time used since the one before:
waiting counts nothing. What a function of C does counts for the Python function that
called it. (``ITIMER_PROF`` would do the counting itself, but by the kernel's ticks, of
which there may be but a hundred a second.)

Usage: ``profiled.py OUT TWISTD-OPTION...``. SIGUSR1 begins, SIGUSR2 ends and writes OUT.
"""

from __future__ import annotations

import json
import linecache
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

from twisted.scripts.twistd import run

#: Seconds between two samples.
INTERVAL = 0.001
OUT = Path(sys.argv[1])

#: Nanoseconds of processor time, by function and line.
_counts: Counter[tuple[CodeType, int]] = Counter()


_before = 0


def _sample(_number: int, frame: FrameType | None) -> None:
    """Note the innermost function of Python, and its line."""
    global _before
    now = time.process_time_ns()
    if frame is not None:
        line = frame.f_lineno or frame.f_code.co_firstlineno  # some code has no line
        _counts[frame.f_code, line] += now - _before
    _before = now


def _begin(_number: int, _frame: FrameType | None) -> None:
    """Forget what was before, and count."""
    global _before
    _counts.clear()
    _before = time.process_time_ns()
    signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Write what was counted, in one step."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    named = [
        (_name(code), linecache.getline(code.co_filename, line).strip(), count)
        for (code, line), count in _counts.items()
    ]
    part = OUT.with_suffix(".part")
    part.write_text(json.dumps(named))
    part.rename(OUT)


def _name(code: CodeType) -> str:
    """The last two parts of the module's name, and the function's."""
    path = Path(code.co_filename)
    return f"{path.parent.name}.{path.stem}.{getattr(code, 'co_qualname', code.co_name)}"


signal.signal(signal.SIGALRM, _sample)
signal.signal(signal.SIGUSR1, _begin)
signal.signal(signal.SIGUSR2, _end)
del sys.argv[1]
run()
