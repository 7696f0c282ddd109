"""Probe of the idle time-out: after how long an idle connection is cut."""

from __future__ import annotations

import math
from time import monotonic

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredSemaphore

from echosvc._text import format_duration
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path

#: Ratio of the idle times of two successive connections of a search.
STEP_FACTOR = 1.1
SHORTEST = 0.5
#: Connections that are being opened at a time. The queue of a listener may hold no more than 50;
#: a SYN above that is sent again after a second.
AT_ONCE = 8
#: Bytes of the message that shows that a connection lives.
_SMALL_SIZE = 100


@probe(
    "find-idle",
    order=160,
    summary="after how long idle connections are cut (with --find-idle)",
    min_duration=lambda settings: settings.find_idle,
    enabled=lambda settings: settings.find_idle,
)
async def find_idle(path: Path) -> Finding:
    """Find the time after which an idle connection is cut."""
    longest = path.settings.find_idle
    if not longest:
        raise Skipped("not asked for: --find-idle MAX")
    search = _IdleSearch(path, _idle_times(longest))
    return await search.run()


def _idle_times(longest: float) -> list[float]:
    """Return the idle times to be tried, ascending, seconds."""
    steps = max(1, math.ceil(math.log(max(longest, SHORTEST) / SHORTEST, STEP_FACTOR)))
    return [longest * STEP_FACTOR**-number for number in range(steps, -1, -1)]


class _IdleSearch:
    """Many connections, each idle for a little longer than the one before.

    A FIN or RST is found when it comes, silence by the first connection that is not answered
    any more.
    """

    def __init__(self, path: Path, times: list[float]) -> None:
        self._path, self._times = path, times
        self._found: Deferred[Finding] = Deferred()
        self._opening = DeferredSemaphore(AT_ONCE)
        self._alive = 0.0  # the longest idle time that a connection has survived

    async def run(self) -> Finding:
        """Return the finding, at the latest after the longest time."""
        trials = [
            Deferred.fromCoroutine(self._open_and_try(number, seconds))
            for number, seconds in enumerate(self._times, 1)
        ]
        for trial in trials:
            trial.addErrback(self._failed)
        everything = defer.DeferredList(trials)
        everything.addCallback(lambda _: self._finish(self._no_cut_finding()))
        try:
            return await self._found
        finally:
            for trial in trials:
                trial.cancel()

    async def _open_and_try(self, number: int, seconds: float) -> None:
        """Open a connection of its own: its idle time counts from its own last byte."""
        await self._opening.acquire()
        try:
            connection = await self._path.open_one_of(number, len(self._times))
        finally:
            self._opening.release()
        await self._try(connection, seconds)

    async def _try(self, connection: ProbeConnection, seconds: float) -> None:
        began = monotonic()
        try:
            await connection.receive(seconds)
        except ConnectionEnded as end:
            if end.reason != "silence":
                self._finish(self._cut_finding(end.reason, monotonic() - began))
                return
        try:
            await connection.exchange(self._path.payload(_SMALL_SIZE, connection))
        except Failed as failed:
            if failed.fault is not None and failed.fault.kind is not FaultKind.CUT:
                raise
            reason = failed.end if failed.end in ("FIN", "RST") else "silence"
            self._finish(self._range_finding(reason, seconds))
        else:
            self._alive = max(self._alive, seconds)

    def _failed(self, failure: object) -> None:
        if not self._found.called:
            self._found.errback(failure)  # type: ignore[arg-type]

    def _finish(self, finding: Finding) -> None:
        if not self._found.called:
            self._found.callback(finding)

    def _cut_finding(self, reason: str, after: float) -> Finding:
        text = f"an idle connection is cut after {format_duration(after)}, by {reason}"
        return Finding(text, info=True, facts={"idle_seconds": round(after, 3), "how": reason})

    def _range_finding(self, reason: str, dead: float) -> Finding:
        alive = self._alive or 0.0
        middle = (alive + dead) / 2
        text = (
            f"an idle connection is cut after about {format_duration(middle)}, by {reason}: alive"
            f" after {format_duration(alive)}, dead after {format_duration(dead)}"
        )
        facts = {"idle_seconds": round(middle, 3), "how": reason}
        facts |= {"alive": round(alive, 3), "dead": round(dead, 3)}
        return Finding(text, info=True, facts=facts)

    def _no_cut_finding(self) -> Finding:
        text = f"none up to {self._times[-1]:g} s"
        return Finding(text, info=True, facts={"idle_seconds": None, "survived": self._alive})
