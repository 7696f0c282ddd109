"""Whether the machine was quiet: how much of it other programs used meanwhile."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from types import TracebackType

from benchmarks.process import Server

#: More than this part of one processor used by others disturbs a measurement.
DISTURBED = 0.08
_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # the columns of /proc/stat for idle and for waiting


def busy(stat: str) -> float:
    """Seconds that all processors have worked.

    :param stat: the text of /proc/stat.
    """
    columns = [int(word) for word in stat.partition("\n")[0].split()[1:9]]
    return _TICK * sum(ticks for at, ticks in enumerate(columns) if at not in _IDLE)


def ended_children() -> float:
    """CPU time of all processes that were started here and have ended, seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Watch:
    """For the length of a ``with``: what others than a server and its client used.

    :ivar foreign: that, in processors; set at the end.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.foreign = 0.0

    def _now(self) -> tuple[float, float]:
        """The time, and what others have used; both in seconds, of which only differences mean."""
        ours = self._server.cpu() + ended_children() + time.process_time()
        return time.monotonic(), busy(Path("/proc/stat").read_text()) - ours

    def __enter__(self) -> Watch:
        self._before = self._now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            (began, early), (ended, late) = self._before, self._now()
            self.foreign = max(0.0, (late - early) / (ended - began))
