"""Probes of what only streams of two directions have: half-close and back-pressure."""

from __future__ import annotations

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from echosvc._text import format_bytes, format_duration
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import FRAME, PIECE, Ended, Line
from echosvc.probe.engine.diagnosis import Kind
from echosvc.probe.engine.findings import Failed, Finding, Skipped, tls_cause
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import Payload
from echosvc.probe.engine.verifier import Verifier
from echosvc.probe.settings import MIB

#: What is sent right before the FIN, bytes: less than a segment, several, more than a buffer.
#: Of the last one nothing is read before the FIN is out: what a path then holds it may drop.
BEFORE_FIN = (1, 5000, MIB)
#: A path that takes so much of what is not read has no bound, bytes.
BOUND = 256 * MIB
#: A sender that gets nothing rid for so long is blocked, seconds.
QUIET = 1.0
#: A path that still takes something after this time is too slow for its buffers to be filled,
#: seconds.
PRESSED = 60.0
#: Of the message that shows that a connection lives, bytes.
_SMALL = 100


@probe("half-close", order=80, summary="after data and FIN all replies come, then FIN")
async def half_close(path: Path) -> Finding:
    """Data and FIN, then all replies and the server's FIN."""
    wanted = sorted({min(size, path.settings.max_size) for size in BEFORE_FIN})
    for size in wanted:
        line = await path.open()
        if not line.client.half_closes:
            raise Skipped("this transport cannot end one direction alone")
        try:
            await _finish(path, line, size)
        except Failed as failed:
            raise await _compared(path, failed, size) from None
    sizes = ", ".join(map(format_bytes, wanted))
    return Finding(f"after data and FIN ({sizes}) all replies come, then FIN")


async def _finish(path: Path, line: Line, size: int) -> None:
    verifier = await _sent(path, line, size, finish=True)
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
        raise Failed(
            f"after {format_bytes(size)}, FIN and all replies, more bytes came", fault=fault
        )
    if how == "silence":
        raise Failed(
            f"after {format_bytes(size)} and FIN all replies came, but no FIN within"
            f" {path.settings.timeout:g} s",
            "something between never passed the FIN on",
            facts={"how": how},
        )
    if how != "FIN":
        raise Failed(
            f"after {format_bytes(size)} and FIN all replies came, but then {how} in place of FIN",
            "something between ends by reset, which may destroy what is on its way"
            if how == "RST"
            else tls_cause(how),
            facts={"how": how},
        )


async def _sent(path: Path, line: Line, size: int, finish: bool) -> Verifier:
    """Send so much; give what verifies the answers, of which few were read meanwhile."""
    payload = path.payload(size, line)
    verifier = line.verifier(payload)
    if finish and size <= PIECE:  # the FIN comes with the data: nobody can have answered before
        line.client.cork()
    sending = line.send(payload, finish=finish)
    sending.addErrback(lambda _: None)
    if size > PIECE:  # the answers are on their way when the FIN comes by
        await _unread(path, line, sending)
    return verifier


async def _compared(path: Path, failed: Failed, size: int) -> Failed:
    """Do the same without FIN; the FIN is to blame only where all is well then."""
    path.close()
    try:
        line = await path.open()
        await line.verify(await _sent(path, line, size, finish=False))
        await line.exchange(path.payload(_SMALL, line))
    except Failed as other:
        finding = f"{failed.finding}; without FIN as well: {other.finding}"
        return Failed(finding, other.cause, other.fault or failed.fault, failed.facts)
    return failed


async def _unread(path: Path, line: Line, sending: Deferred[None]) -> None:
    """Read nothing until all is sent, or stopped, and the FIN has had time to arrive."""
    left = -1
    while (not sending.called or line.client.queued) and line.client.queued != left:
        left = line.client.queued
        await deferLater(path.reactor, max(QUIET / 2, 2 * line.trip))
    await deferLater(path.reactor, 0.1 + 2 * line.trip)


def _explained(failed: Failed, size: int, came: int) -> Failed:
    """A stream that was cut after our FIN has a reason of its own."""
    if failed.fault is None or failed.fault.kind is not Kind.CUT:
        return failed
    text = f"after {format_bytes(size)} and FIN only {came} of {size} came back"
    if failed.finding.endswith("FIN"):
        why = "something between closed both directions at the FIN"
    elif failed.finding.endswith("RST"):
        why = "something between reset the connection at the FIN"
    elif failed.finding.endswith("nothing more came"):
        why = "something between stopped passing bytes on at the FIN"
    else:
        why = failed.cause
    return Failed(f"{text}, {failed.finding.rpartition(': ')[2]}", why, failed.fault)


@probe(
    "back-pressure",
    order=90,
    summary="a sender that reads no replies is stopped, and loses nothing",
    min_duration=lambda _: PRESSED,
)
async def back_pressure(path: Path) -> Finding:
    """A sender whose answers nobody reads is stopped; what it sent comes all the same."""
    line = await path.open()
    payload = path.payload(BOUND, line)
    sent = await _Press(path, line, payload).run()
    taken = sent - line.client.queued
    if sent >= BOUND:
        raise _boundless(line, taken)
    verifier = line.verifier(payload.resized(sent))
    try:
        await line.verify(verifier)
    except Failed as failed:
        stopped = f"the sender is stopped after {format_bytes(taken)}"
        failed.finding = f"{stopped}, but once it reads: {failed.finding}"
        raise
    return Finding(
        f"the sender is stopped after {format_bytes(taken)}; once it reads, everything arrives",
        facts={"stopped_after": taken},
    )


def _boundless(line: Line, taken: int) -> Exception:
    if not line.client.had_socket:
        return Skipped("this transport never says that it is full")
    return Failed(
        f"{format_bytes(BOUND)} went out, none of the answers was read, and the sender never had"
        " to wait",
        "something between, or the server, buffers without bound",
        facts={"taken": taken},
    )


class _Press:
    """Sends and reads nothing until it is stopped."""

    def __init__(self, path: Path, line: Line, payload: Payload) -> None:
        self._path, self._line, self._payload = path, line, payload
        self._quiet = max(QUIET, 3 * line.trip)
        self._began = path.reactor.seconds()

    async def run(self) -> int:
        """Give how much was sent.

        :raises Failed: the connection ended.
        :raises Skipped: it takes too long.
        """
        size = FRAME if self._path.settings.framing == "length" else PIECE
        for offset in range(0, self._payload.size, size):
            try:
                waiting = self._line.write(self._payload.at(offset, size))
                if not await self._drained(waiting, offset):
                    return offset + size
            except (CancelledError, Skipped):
                raise
            except Exception:
                raise Failed(
                    f"the connection ended after {format_bytes(offset)} of which nothing was read",
                    "something between, or the server, ends clients that do not read",
                ) from None
        return self._payload.size

    async def _drained(self, waiting: Deferred[None], offset: int) -> bool:
        """Wait until more may be sent; ``False``: the path takes nothing any more.

        What our own kernel holds counts, too: a slow link empties it before it asks for more.
        """
        client = self._line.client
        while True:
            left = client.unsent
            try:
                await waiting.addTimeout(self._quiet, self._path.reactor)
            except defer.TimeoutError:
                if client.unsent == left:
                    return False
                self._judge_pace(offset)
                waiting = client.write(b"")
            else:
                return True

    def _judge_pace(self, offset: int) -> None:
        """Give up where it would take too long.

        :raises Skipped: so it is.
        """
        seconds = self._path.reactor.seconds() - self._began
        if seconds > PRESSED:
            taken = offset - self._line.client.unsent
            raise Skipped(
                f"the path is too slow: after {format_duration(seconds)} without reading it had"
                f" taken {format_bytes(taken)}, and still took more"
            )
