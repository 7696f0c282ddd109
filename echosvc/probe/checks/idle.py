"""Probes of what a path does while nothing is said: idle connections, and their ends."""

from __future__ import annotations

import math
from time import monotonic

from twisted.internet import defer
from twisted.internet.defer import Deferred

from echosvc._text import format_duration
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import Ended, Line
from echosvc.probe.engine.diagnosis import Kind
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path, gathered

#: How much later the next connection of a search is asked than the one before.
STEP = 1.1
FIRST = 0.5
#: How long the far end's reset is waited for, seconds, where nobody asked for it.
PATIENCE = 2.0
_SMALL = 100


@probe(
    "idle",
    order=150,
    summary="idle connections survive --idle seconds",
    min_duration=lambda settings: max(settings.idle, default=0.0),
)
async def idle(path: Path) -> Finding:
    """Connections survive the idle times that were asked for."""
    times = path.settings.idle
    lines = await path.open_many(len(times))
    rests = [_rest(path, line, seconds) for line, seconds in zip(lines, times, strict=True)]
    ends = list(zip(times, await gathered(rests), strict=True))
    survived = [seconds for seconds, end in ends if not end]
    died = "; ".join(f"{seconds:g} s: {end}" for seconds, end in ends if end)
    alive = "survived " + (", ".join(f"{seconds:g} s" for seconds in survived) or "none")
    facts = {"survived": survived}
    if died:
        raise Failed(
            f"{alive}; not {died}",
            "an idle time-out of something between, or of the server; --find-idle finds it",
            facts=facts,
        )
    return Finding(alive, facts=facts)


async def _rest(path: Path, line: Line, seconds: float) -> str:
    """Be idle for so long, then be alive. Give how the connection died; "": it did not."""
    began = monotonic()
    try:
        data = await line.receive(seconds)
    except Ended as end:
        if end.how != "silence":
            return f"{end.how} after {format_duration(monotonic() - began)}"
    else:
        raise Failed(f"{len(data)} bytes that nobody asked for came while idle")
    try:
        await line.exchange(path.payload(_SMALL, line))
    except Failed as failed:
        if failed.fault is not None and failed.fault.kind is not Kind.CUT:
            raise  # it was answered, but not rightly
        if failed.finding.endswith("RST"):
            return "RST when it was used again"
        if failed.finding.endswith("FIN"):
            return "FIN when it was used again"
        return "silence: what was sent then was not answered"
    return ""


@probe(
    "find-idle",
    order=160,
    summary="after how long idle connections are cut (with --find-idle)",
    min_duration=lambda settings: settings.find_idle,
    enabled=lambda settings: settings.find_idle,
)
async def find_idle(path: Path) -> Finding:
    """Search for the time after which an idle connection is cut."""
    longest = path.settings.find_idle
    if not longest:
        raise Skipped("not asked for: --find-idle MAX")
    search = _Search(path, _ladder(longest))
    return await search.run()


def _ladder(longest: float) -> list[float]:
    """Idle times to be tried, each a little longer than the one before, seconds."""
    steps = max(1, math.ceil(math.log(max(longest, FIRST) / FIRST, STEP)))
    return [longest * STEP**-number for number in range(steps, -1, -1)]


class _Search:
    """Many connections at once: each is left alone a little longer than the one before.

    A FIN or RST says at once when it comes. Silence is found by the first connection that
    does not answer any more.
    """

    def __init__(self, path: Path, times: list[float]) -> None:
        self._path, self._times = path, times
        self._found: Deferred[Finding] = Deferred()
        self._alive = 0.0  # so long an idle connection has survived

    async def run(self) -> Finding:
        """Search until it is found, or the longest time has passed."""
        lines = await self._path.open_many(len(self._times))
        trials = [
            Deferred.fromCoroutine(self._try(line, seconds))
            for line, seconds in zip(lines, self._times, strict=True)
        ]
        for trial in trials:
            trial.addErrback(self._failed)
        everything = defer.DeferredList(trials)
        everything.addCallback(lambda _: self._finish(self._none()))
        try:
            return await self._found
        finally:
            for trial in trials:
                trial.cancel()

    async def _try(self, line: Line, seconds: float) -> None:
        began = monotonic()
        try:
            await line.receive(seconds)
        except Ended as end:
            if end.how != "silence":
                self._finish(self._cut(end.how, monotonic() - began))
                return
        try:
            await line.exchange(self._path.payload(_SMALL, line))
        except Failed as failed:
            if failed.fault is not None and failed.fault.kind is not Kind.CUT:
                raise
            how = next((how for how in ("FIN", "RST") if failed.finding.endswith(how)), "silence")
            self._finish(self._between(how, seconds))
        else:
            self._alive = max(self._alive, seconds)

    def _failed(self, failure: object) -> None:
        if not self._found.called:
            self._found.errback(failure)  # type: ignore[arg-type]

    def _finish(self, finding: Finding) -> None:
        if not self._found.called:
            self._found.callback(finding)

    def _cut(self, how: str, after: float) -> Finding:
        text = f"an idle connection is cut after {format_duration(after)}, by {how}"
        return Finding(text, info=True, facts={"idle_seconds": round(after, 3), "how": how})

    def _between(self, how: str, dead: float) -> Finding:
        alive = self._alive or 0.0
        middle = (alive + dead) / 2
        text = (
            f"an idle connection is cut after about {format_duration(middle)}, by {how}: alive"
            f" after {format_duration(alive)}, dead after {format_duration(dead)}"
        )
        facts = {"idle_seconds": round(middle, 3), "how": how}
        facts |= {"alive": round(alive, 3), "dead": round(dead, 3)}
        return Finding(text, info=True, facts=facts)

    def _none(self) -> Finding:
        text = f"none up to {self._times[-1]:g} s"
        return Finding(text, info=True, facts={"idle_seconds": None, "survived": self._alive})


@probe("reset", order=140, summary="the server's reset arrives (needs --idle-action reset there)")
async def reset(path: Path) -> Finding:
    """The far end's reset arrives as one."""
    asked = "reset" in path.settings.only
    patience = path.settings.timeout if asked else min(PATIENCE, path.settings.timeout)
    line = await path.open()
    if not line.client.had_socket:
        raise Skipped("this transport has no resets")
    began = monotonic()
    try:
        while True:
            await line.receive(patience)
    except Ended as end:
        how = end.how
    after = monotonic() - began
    if how == "RST":
        return Finding(
            f"the far end's reset arrives as RST, after {format_duration(after)}",
            facts={"how": how},
        )
    if not asked:
        came = (
            f"FIN after {format_duration(after)}" if how == "FIN" else f"none within {patience:g} s"
        )
        raise Skipped(f"{came}: needs --idle-action reset at the server; then ask by --only reset")
    if how == "FIN":
        raise Failed(
            f"FIN arrives in place of a reset, after {format_duration(after)}",
            "something between makes a clean end of an abort: what was cut off looks whole;"
            " or the server has no --idle-action reset",
            facts={"how": how},
        )
    raise Failed(
        f"no reset arrives within {patience:g} s",
        "something between swallows it, or the server has no --idle-action reset",
        facts={"how": how},
    )
