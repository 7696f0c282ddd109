"""The processor time of this process: what it used, and how long it waited for a processor."""

from __future__ import annotations

from time import monotonic, process_time


class ProcessorTime:
    """What this process uses, from the time when it is made, or :meth:`restart` is called."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        self._began, self._used, self._waited = monotonic(), process_time(), _waited()

    def shares(self) -> tuple[float, float]:
        """Return the parts of the time in which it used a core, and in which it waited for one."""
        seconds = monotonic() - self._began
        if seconds <= 0:
            return 0.0, 0.0
        used, waited = process_time() - self._used, _waited() - self._waited
        return used / seconds, min(waited / seconds, 1.0)


def _waited() -> float:
    """Return how long this thread was ready to run and waited, seconds; 0: it is not known.

    Source: the kernel's documentation of sched-stats, ``/proc/PID/schedstat``.
    """
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
