"""Probe of the idle time-out: after how long an idle connection is cut."""

from __future__ import annotations

import math
from statistics import median
from time import perf_counter
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from echosvc._text import format_duration
from echosvc.probe.causes.lifetime import EndedTogether
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.endings import Ending, tolerance
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.idle_interval import IdleInterval, interleaved
from echosvc.probe.engine.lateness import Lateness
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.turns import LimitReached
from echosvc.probe.engine.watch import BusyConnection, open_beside, rest, use_again

#: Connections of a round.
COUNT = 24
#: Rounds at most: two, where all connections of each can be opened.
MAX_ROUNDS = 5
#: Connections that are being opened at a time. The queue of a listener may hold no more than 50;
#: a SYN above that is sent again after a second.
AT_ONCE = 8
#: Only this part of a known limit of life is searched.
_PART_OF_LIFETIME = 0.9
#: A busy connection must live so much longer than those that rested, seconds.
_AFTERWARDS = 0.3
#: So many rounds are done again in which this process stood still.
_REPETITIONS = 3
#: A process that is late each time ends a round after so many waits.
_MOST_WAITS = 10


@probe(
    "find-idle",
    order=160,
    summary="after how long idle connections are cut (with --find-idle)",
    min_duration=lambda settings: MAX_ROUNDS * (settings.find_idle + settings.timeout),
    duration=lambda settings: settings.find_idle,
    enabled=lambda settings: settings.find_idle,
)
async def find_idle(path: Path) -> Finding:
    """Find the time after which an idle connection is cut."""
    longest = path.settings.find_idle
    if not longest:
        raise Skipped("not asked for: --find-idle MAX")
    lifetime = path.context.knowledge.lifetime or math.inf
    return await _IdleSearch(path, min(longest, _PART_OF_LIFETIME * lifetime)).run()


class _IdleSearch:
    """Rounds of connections, each one idle for another time, until the time-out is known.

    A FIN or RST is seen when it comes. Silence is found by the connections that are not answered
    any more when they are used again.
    """

    def __init__(self, path: Path, longest: float) -> None:
        self._path, self._longest = path, longest
        self._interval, self._repetitions = IdleInterval(longest), _REPETITIONS

    async def run(self) -> Finding:
        """Return the finding.

        :raises EndedTogether: busy connections end, too.
        """
        how = ""
        for _ in range(MAX_ROUNDS):
            tried = await self._try_round()
            how = tried.how or how
            if tried.endings:
                return _cut_finding(tried)
            if self._interval.dead == math.inf:
                return self._no_cut_finding()
            if self._interval.is_narrow:
                break
        return self._range_finding(how)

    async def _try_round(self) -> _Round:
        """Return a round that is over. If this process stood still meanwhile, do it again.

        The connection that was to be busy has rested, and others that seem to live have ended.

        :raises EndedTogether: busy connections end, too.
        """
        while True:
            tried, failed = _Round(self._path, self._interval), None
            with Lateness(self._path.reactor) as late:
                try:
                    await tried.run()
                except EndedTogether as error:
                    failed = error
            if not self._repetitions or not tried.is_disturbed(late.longest):
                break
            self._repetitions -= 1
        if failed is not None:
            raise failed
        return tried

    def _range_finding(self, how: str) -> Finding:
        interval = self._interval
        text = (
            f"an idle connection is cut after about {format_duration(interval.middle)}, by {how}:"
            f" alive after {format_duration(interval.alive)},"
            f" dead after {format_duration(interval.dead)}"
        )
        text += "; not all alike: one was alive after a longer time" * interval.differs
        facts = {"idle_seconds": round(interval.middle, 3), "how": how}
        facts |= {"alive": round(interval.alive, 3), "dead": round(interval.dead, 3)}
        return Finding(text, info=True, facts=facts)

    def _no_cut_finding(self) -> Finding:
        text = f"none up to {format_duration(self._longest)}"
        lifetime = self._path.context.knowledge.lifetime
        if self._longest < self._path.settings.find_idle:
            text += f": connections live {format_duration(lifetime)} at most, see lifetime"
        facts = {"idle_seconds": None, "survived": round(self._interval.alive, 3)}
        return Finding(text, info=True, facts=facts)


def _cut_finding(tried: _Round) -> Finding:
    ages = [each.idle for each in tried.endings]
    reasons = " or ".join(sorted({each.reason for each in tried.endings}))
    after, many = format_duration(median(ages)), f"{len(ages)} of {len(ages) + tried.outlived}"
    if max(ages) - min(ages) > tolerance(max(ages)):
        after = f"{format_duration(min(ages))} to {format_duration(max(ages))}"
    text = f"an idle connection is cut after {after}, by {reasons}"
    if tried.outlived:
        text = (
            f"{many} idle connections ended after {after}, by {reasons}; the others live on:"
            " what they lead to differs, or a part of it has restarted"
        )
    facts: dict[str, Any] = {"idle_seconds": round(median(ages), 3), "how": reasons}
    return Finding(text, info=True, facts=facts)


class _Round:
    """Connections that rest at the same time, each for a time of its own, beside a busy one.

    :ivar endings: of those whose end was seen when it came.
    :ivar outlived: how many rested for longer than those, and live.
    :ivar how: how one ended that was used again; "": none did.
    """

    def __init__(self, path: Path, interval: IdleInterval) -> None:
        self._path, self._interval = path, interval
        self.endings: list[Ending] = []
        self.outlived, self.how = 0, ""
        self._opening = DeferredSemaphore(AT_ONCE)
        self._refused: Failed | None = None  # an attempt to open one more
        self._wrong: BaseException | None = None
        self._opened = 0
        self._resting: dict[float, float] = {}  # idle time: when it began
        self._stopping: IDelayedCall | None = None
        self._waits = 0
        self._trials: dict[float, Deferred[None]] = {}

    async def run(self) -> None:
        """Let all rest, and note what is found.

        :raises EndedTogether: the busy connection did not outlive those that ended.
        :raises Failed: a connection was answered wrongly, or none could be opened.
        """
        if (allowed := self._path.allowed(2)) < 2:
            raise LimitReached(allowed)
        busy = BusyConnection(self._path, await self._path.open())
        try:
            await self._try_all()
            await self._compare(busy)
        finally:
            busy.close()

    def is_disturbed(self, late: float) -> bool:
        """Return whether connections ended, and this process stood still for too long to tell why.

        :param late: for how long this process stood still, seconds.
        """
        return bool(self.endings) and late > tolerance(self.endings[0].idle) / 2

    async def _try_all(self) -> None:
        for seconds in interleaved(
            self._interval.next_times(max(1, self._path.allowed(COUNT + 1) - 1))
        ):
            self._trials[seconds] = Deferred.fromCoroutine(self._try(seconds))
            self._trials[seconds].addErrback(self._note_failure)
        try:
            await DeferredList(list(self._trials.values()))
        finally:
            self._cancel_longer(0.0)
            if self._stopping is not None and self._stopping.active():
                self._stopping.cancel()
        if self._wrong is not None:
            raise self._wrong
        if self._refused is not None and not self._opened:
            raise self._refused

    async def _try(self, seconds: float) -> None:
        """Open a connection of its own: its idle time counts from its own last byte."""
        await self._opening.acquire()
        try:
            if self._refused is not None or self.endings:
                return  # more cannot be opened, or need not
            connection = await open_beside(self._path)
        except Failed as failed:
            self._refused = failed
            return
        finally:
            self._opening.release()
        self._opened += 1
        try:
            connection.client.correct_last_byte()
            self._resting[seconds] = connection.client.last_byte
            ending = await rest(connection, seconds)
            if ending is not None:
                self._note_cut(ending)
            else:
                await self._use(seconds, connection)
        finally:
            self._resting.pop(seconds, None)
            connection.close()

    def _note_failure(self, failure: Failure) -> None:
        """End the round if a connection was answered wrongly."""
        if not failure.check(CancelledError):
            self._wrong = failure.value
            self._cancel_longer(0.0)

    def _note_cut(self, ending: Ending) -> None:
        """Note an end; after the first one, wait until all others are as idle as that."""
        self.endings.append(ending)
        if self._stopping is None:
            last = max(self._resting.values()) + ending.idle + tolerance(ending.idle)
            self._stop_after(max(0.0, last - perf_counter()))

    def _stop_after(self, seconds: float) -> None:
        due = perf_counter() + seconds
        self._stopping = self._path.reactor.callLater(seconds, self._stop, due)

    def _stop(self, due: float) -> None:
        """End the round. What was opened late, and has rested for less, does not count.

        If this process was late, ends may have come that are not read yet, and a server on the same
        machine may be late, too. So as long again is waited.

        :param due: when this was to be called.
        """
        idle, late = self.endings[0].idle, perf_counter() - due
        self._waits += 1
        if late > tolerance(idle) / 2 and self._waits < _MOST_WAITS:
            self._stop_after(late)
            return
        since = perf_counter() - idle - tolerance(idle) / 2
        self.outlived = sum(began < since for began in self._resting.values())
        self._cancel_longer(0.0)

    async def _use(self, seconds: float, connection: ProbeConnection) -> None:
        """Note whether a connection is alive that has rested."""
        idle = perf_counter() - connection.client.last_byte
        how = await use_again(self._path, connection)
        self._resting.pop(seconds, None)
        self._interval.note(idle, survived=not how)
        if how:
            self.how = how
            self._cancel_longer(seconds)

    def _cancel_longer(self, seconds: float) -> None:
        for longer, trial in self._trials.items():
            if longer > seconds:
                trial.cancel()

    async def _compare(self, busy: BusyConnection) -> None:
        """Check that the busy connection has outlived those that ended.

        :raises EndedTogether: it has not.
        """
        if not self.endings and not self.how:
            return
        moment = max((each.ended for each in self.endings), default=perf_counter())
        if not await busy.outlives(moment + _AFTERWARDS) and busy.ending is not None:
            age = format_duration(busy.ending.age)
            raise EndedTogether(
                f"a busy connection ended beside the idle ones: {busy.ending.reason} after {age}",
                [*self.endings, busy.ending],
            )
