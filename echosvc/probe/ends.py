"""Probes of what only TCP has: half-close, back-pressure, ends, and time."""

from __future__ import annotations

import math
from time import monotonic

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from echosvc.probe.findings import Failed, Finding, Skipped, amount, duration
from echosvc.probe.path import MIB, PIECE, Ended, Line, Path
from echosvc.probe.payload import Payload
from echosvc.probe.streams import gathered

#: What is sent right before the FIN, bytes: less than a segment, several, more than a buffer.
#: Of the last one nothing is read before the FIN is out: what a path then holds it may drop.
BEFORE_FIN = (1, 5000, MIB)
#: A path that takes so much of what is not read has no bound, bytes.
BOUND = 256 * MIB
#: A sender that gets nothing rid for so long is blocked, seconds.
QUIET = 1.0
#: How much later the next connection of a search is asked than the one before.
STEP = 1.1
FIRST = 0.5
#: How long the far end's reset is waited for, seconds, where nobody asked for it.
PATIENCE = 2.0
_SMALL = 100


async def half_close(path: Path) -> Finding:
    """Data and FIN, then all replies and the server's FIN."""
    wanted = sorted({min(size, path.settings.max_size) for size in BEFORE_FIN})
    for size in wanted:
        line = await path.open()
        if not line.client.half_closes:
            raise Skipped("this transport cannot end one direction alone")
        await _finish(path, line, size)
    sizes = ", ".join(map(amount, wanted))
    return Finding(f"after data and FIN ({sizes}) all replies come, then FIN")


async def _finish(path: Path, line: Line, size: int) -> None:
    payload = path.payload(size, line)
    verifier = line.verifier(payload)
    if size <= PIECE:  # the FIN comes with the data: nobody can have answered before
        line.client.cork()
    sending = line.send(payload, finish=True)
    sending.addErrback(lambda _: None)
    if size > PIECE:  # the answers are on their way when the FIN comes by
        await _unread(path, line, sending)
    try:
        await line.verify(verifier)
    except Failed as failed:
        raise _explained(failed, size, verifier.offset) from None
    try:
        verifier.feed(await line.receive())
    except Ended as end:
        how = end.how
    else:
        fault = verifier.end()
        raise Failed(f"after {amount(size)}, FIN and all replies, more bytes came", fault=fault)
    if how == "silence":
        raise Failed(
            f"after {amount(size)} and FIN all replies came, but no FIN within"
            f" {path.settings.timeout:g} s",
            "something between never passed the FIN on",
            facts={"how": how},
        )
    if how == "RST":
        raise Failed(
            f"after {amount(size)} and FIN all replies came, but then RST in place of FIN",
            "something between ends by reset, which may destroy what is on its way",
            facts={"how": how},
        )


async def _unread(path: Path, line: Line, sending: Deferred[None]) -> None:
    """Read nothing until all is sent, or stopped, and the FIN has had time to arrive."""
    left = -1
    while (not sending.called or line.client.queued) and line.client.queued != left:
        left = line.client.queued
        await deferLater(path.reactor, QUIET / 2)
    await deferLater(path.reactor, 0.1 + 2 * line.trip)


def _explained(failed: Failed, size: int, came: int) -> Failed:
    """A stream that was cut after our FIN has a reason of its own."""
    if failed.fault is None or failed.fault.kind.value != "cut":
        return failed
    text = f"after {amount(size)} and FIN only {came} of {size} came back"
    if failed.finding.endswith("FIN"):
        why = "something between closed both directions at the FIN"
    elif failed.finding.endswith("RST"):
        why = "something between reset the connection at the FIN"
    else:
        why = "something between stopped passing bytes on at the FIN"
    return Failed(f"{text}, {failed.finding.rpartition(': ')[2]}", why, failed.fault)


async def back_pressure(path: Path) -> Finding:
    """A sender whose answers nobody reads is stopped; what it sent comes all the same."""
    line = await path.open()
    path.seed += 1
    lines, without = path.settings.framing == "line", line.mark.first
    payload = Payload(BOUND, path.seed, without, lines)
    sent = await _press(path, line, payload)
    taken = sent - line.client.queued
    if sent >= BOUND:
        raise Failed(
            f"{amount(BOUND)} went out, none of the answers was read, and the sender never had"
            " to wait",
            "something between, or the server, buffers without bound",
            facts={"taken": taken},
        )
    verifier = line.verifier(Payload(sent, path.seed, without, lines))
    try:
        await line.verify(verifier)
    except Failed as failed:
        failed.finding = (
            f"the sender is stopped after {amount(taken)}, but once it reads: {failed.finding}"
        )
        raise
    return Finding(
        f"the sender is stopped after {amount(taken)}; once it reads, everything arrives",
        facts={"stopped_after": taken},
    )


async def _press(path: Path, line: Line, payload: Payload) -> int:
    """Send and read nothing until it stops; give how much was sent."""
    size = 16384 if path.settings.framing == "length" else PIECE
    for offset in range(0, payload.size, size):
        try:
            if not await _drained(path, line, line.write(payload.at(offset, size))):
                return offset + size
        except CancelledError:
            raise
        except Exception:
            raise Failed(
                f"the connection ended after {amount(offset)} of which nothing was read",
                "something between, or the server, ends clients that do not read",
            ) from None
    return payload.size


async def _drained(path: Path, line: Line, waiting: Deferred[None]) -> bool:
    """Wait until more may be sent; ``False``: the path takes nothing any more."""
    while True:
        left = line.client.queued
        try:
            await waiting.addTimeout(QUIET, path.reactor)
        except defer.TimeoutError:
            if line.client.queued == left:
                return False
            waiting = line.client.write(b"")
        else:
            return True


async def idle(path: Path) -> Finding:
    """Connections survive the idle times that were asked for."""
    lines = await gathered([path.open() for _ in path.settings.idle])
    ends = await gathered(
        [
            _rest(path, line, seconds)
            for line, seconds in zip(lines, path.settings.idle, strict=True)
        ]
    )
    survived = [
        f"{seconds:g} s" for seconds, end in zip(path.settings.idle, ends, strict=True) if not end
    ]
    died = [
        f"{seconds:g} s: {end}"
        for seconds, end in zip(path.settings.idle, ends, strict=True)
        if end
    ]
    alive = f"survived {', '.join(survived)}" if survived else "survived none"
    facts = {"survived": [s for s, end in zip(path.settings.idle, ends, strict=True) if not end]}
    if died:
        raise Failed(
            f"{alive}; not {'; '.join(died)}",
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
            return f"{end.how} after {duration(monotonic() - began)}"
    else:
        raise Failed(f"{len(data)} bytes that nobody asked for came while idle")
    try:
        await line.exchange(path.payload(_SMALL, line))
    except Failed as failed:
        if failed.finding.endswith("RST"):
            return "RST when it was used again"
        if failed.finding.endswith("FIN"):
            return "FIN when it was used again"
        return "silence: what was sent then was not answered"
    return ""


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
        lines = await gathered([self._path.open() for _ in self._times])
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
        text = f"an idle connection is cut after {duration(after)}, by {how}"
        return Finding(text, info=True, facts={"idle_seconds": round(after, 3), "how": how})

    def _between(self, how: str, dead: float) -> Finding:
        alive = self._alive or 0.0
        middle = (alive + dead) / 2
        text = (
            f"an idle connection is cut after about {duration(middle)}, by {how}: alive after"
            f" {duration(alive)}, dead after {duration(dead)}"
        )
        facts = {"idle_seconds": round(middle, 3), "how": how}
        facts |= {"alive": round(alive, 3), "dead": round(dead, 3)}
        return Finding(text, info=True, facts=facts)

    def _none(self) -> Finding:
        text = f"none up to {self._times[-1]:g} s"
        return Finding(text, info=True, facts={"idle_seconds": None, "survived": self._alive})


async def reset(path: Path) -> Finding:
    """The far end's reset arrives as one."""
    asked = "reset" in path.settings.only
    patience = path.settings.timeout if asked else min(PATIENCE, path.settings.timeout)
    line = await path.open()
    began = monotonic()
    try:
        while True:
            await line.receive(patience)
    except Ended as end:
        how = end.how
    after = monotonic() - began
    if how == "RST":
        return Finding(
            f"the far end's reset arrives as RST, after {duration(after)}", facts={"how": how}
        )
    if not asked:
        came = f"FIN after {duration(after)}" if how == "FIN" else f"none within {patience:g} s"
        raise Skipped(f"{came}: needs --idle-action reset at the server; then ask by --only reset")
    if how == "FIN":
        raise Failed(
            f"FIN arrives in place of a reset, after {duration(after)}",
            "something between makes a clean end of an abort: what was cut off looks whole;"
            " or the server has no --idle-action reset",
            facts={"how": how},
        )
    raise Failed(
        f"no reset arrives within {patience:g} s",
        "something between swallows it, or the server has no --idle-action reset",
        facts={"how": how},
    )
