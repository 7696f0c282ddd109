"""How late the machine was to run processes that were ready to run."""

from __future__ import annotations

import os
from pathlib import Path


def waited(process: int) -> float:
    """Return for how long the first thread of a process was ready and had no processor, seconds.

    It is the kernel's figure. It is known until somebody has waited for the end of the process, and
    0 where the kernel does not count.
    """
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0


class Lateness:
    """By how much the machine is late, at most, to run processes from now on.

    :param processes: which are there; none: this one.
    """

    def __init__(self, *processes: int) -> None:
        self._before = {each: waited(each) for each in processes or (os.getpid(),)}

    def add(self, process: int) -> None:
        """Count what a process waits for that has just been started."""
        self._before[process] = 0.0

    @property
    def seconds(self) -> float:
        """The sum for all of them so far."""
        return sum(max(0.0, waited(each) - before) for each, before in self._before.items())
