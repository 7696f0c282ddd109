"""Whether the machine was quiet: what other programs and other machines used of it meanwhile."""

from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path
from statistics import fmean
from types import TracebackType

from benchmarks.process import Server, processors

#: More than this part of one processor used by others disturbs a measurement.
DISTURBED = 0.08
#: Seconds between two looks at how fast the processor is.
PERIOD = 0.1
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


def pace() -> float:
    """Seconds of processor time that a fixed piece of work takes, here and now.

    A core of the hardware may be two processors, of which another virtual machine has one:
    whatever runs on ours is slower while it works, and nothing in /proc tells of it.
    """
    return min(_piece_of_work() for _ in range(3))  # the first has to fill the caches


def _piece_of_work() -> float:
    began = time.thread_time()
    for number in range(2000):
        number * number
    return time.thread_time() - began


class Watch:
    """For the length of a ``with``: what others than a server and its client used.

    :ivar foreign: by other programs, in processors; set at the end.
    :ivar pace: the mean of :func:`pace` on the servers' processors and that on the client's,
        together: a server whose client is slow has less to do at once, so that it costs more.
        The looks take some 0.2 % of the time of each. Set at the end.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.foreign = self.pace = 0.0
        self._over = threading.Event()
        self._paces: list[float] = []
        self._looking = [threading.Thread(target=self._look, args=[on]) for on in processors()]

    def _look(self, on: set[int]) -> None:
        """Run beside the server, or its client, until it is over."""
        os.sched_setaffinity(0, on)  # this thread's
        taken = [pace()]
        while not self._over.wait(PERIOD):
            taken.append(pace())
        self._paces.append(fmean(taken))

    def _now(self) -> tuple[float, float]:
        """The time, and what others have used; both in seconds, of which only differences mean."""
        ours = self._server.cpu() + ended_children() + time.process_time()
        return time.monotonic(), busy(Path("/proc/stat").read_text()) - ours

    def __enter__(self) -> Watch:
        self._before = self._now()
        for thread in self._looking:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._looking:
            thread.join()
        self.pace = sum(self._paces)
        if error is None:
            (began, early), (ended, late) = self._before, self._now()
            self.foreign = max(0.0, (late - early) / (ended - began))
