"""Probes that mostly wait, asked beside the others on a path of their own.

Theory of operation. A default check would wait for seconds in which nothing happens. So a probe
that mostly waits, on few connections, is begun early, and rests while the others run. Only what is
clean is taken from there: a failure may be due to what the others do at the same time, so such a
probe is asked again in its turn, alone. It begins once several connections have been open at once,
and a probe that needs more connections than are left of that number waits until it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from twisted.internet.defer import Deferred

from echosvc.probe.checks.registry import Probe
from echosvc.probe.engine.findings import Finding, Skipped
from echosvc.probe.engine.path import Path

#: A probe may take so much longer than it waits before it is given up here, seconds.
_LONGER = 2.0


@dataclass(frozen=True)
class EarlyFinding:
    """What a probe has found beside the others.

    :ivar seconds: how long that took.
    """

    finding: Finding
    seconds: float


class BackgroundProbes:
    """Probes that are asked beside the others.

    :param path: of the others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._running: dict[str, Deferred[EarlyFinding | None]] = {}

    def start(self, probes: Sequence[Probe]) -> None:
        """Ask those of the probes that can be asked so."""
        for probe in probes:
            if probe.beside is not None and probe.name not in self._running:
                self._running[probe.name] = Deferred.fromCoroutine(_ask(probe, self._path))

    async def finding(self, name: str) -> EarlyFinding | None:
        """Wait for what a probe finds; ``None``: it was not asked, or something was wrong."""
        running = self._running.pop(name, None)
        return None if running is None else await running

    def stop(self) -> None:
        """Stop all."""
        for running in self._running.values():
            running.cancel()


async def _ask(probe: Probe, path: Path) -> EarlyFinding | None:
    """Return what a probe has found; ``None``: something was wrong, with echosvc even."""
    began = monotonic()
    with path.beside() as other:
        asking = Deferred.fromCoroutine(_run(probe, other))
        asking.addTimeout(probe.duration(path.settings) + _LONGER, path.reactor)
        try:
            return EarlyFinding(await asking, monotonic() - began)
        except Exception:
            return None


async def _run(probe: Probe, path: Path) -> Finding:
    if probe.beside is None:
        raise Skipped("it is not asked beside others")
    return await probe.beside(path)
