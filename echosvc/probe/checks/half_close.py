"""Probe of half-close: data and FIN, then all replies, then FIN.

Theory of operation. What a middlebox does with a FIN may be a race, so each size is asked several
times. Data and FIN leave in one segment, so that no reply can come before the FIN. Where a stream
is cut, the same stream is sent without FIN: only if that always comes back is the FIN the cause.

A middlebox that swallows the FIN, and closes both sides by a timer, lets all replies pass, and
its own FIN comes in the end. The FIN of a server that answers ours comes right behind its last
reply, however long the path. So the time between the two tells them apart, but for a server that
waits itself. Where each end is late, a connection without FIN is watched: whether it ends as soon
shows whether the FIN starts the timer. A server of lines answers a last line without LF when the
FIN has come, and not before: with that framing it can be known whether the FIN has reached it.
"""

from __future__ import annotations

from functools import partial
from time import monotonic

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from echosvc._text import format_bytes, format_duration
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import WRITE_SIZE, ConnectionEnded, ProbeConnection
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed, Finding, Skipped, tls_cause
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import FixedPayload
from echosvc.probe.engine.silence import explain_by_kernel
from echosvc.probe.engine.trials import MAX_TIMES, Trials
from echosvc.probe.engine.verifier import Verifier
from echosvc.probe.engine.watch import rest
from echosvc.probe.settings import MIB

#: Bytes sent right before the FIN: less than a segment, several segments, more than a buffer.
#: Of the last one nothing is read before the FIN is sent: a path may drop what it holds then.
BEFORE_FIN = (1, 5000, MIB)
#: Sending has stopped if nothing more is sent for so long, seconds.
_BLOCKED_TIME = 0.5
#: All sizes are asked again for so long; twice, if the first time took no longer than
#: :data:`_MAX_FIRST`, seconds.
_SECONDS, _MAX_FIRST = 1.0, 5.0
#: The largest size is asked only each time of so many.
_LARGE_EACH = 5
#: A failure is counted, and compared with a control, for so long, seconds.
_COUNTING_SECONDS = 5.0
#: A server's FIN that comes so long after its last reply does not answer ours at once, seconds.
LATE_FIN = 0.025
#: The shortest time that is taken for a timer's, seconds; and where not each FIN is late, as a FIN
#: that is lost and sent again is, too.
_TIMER, _RARE_TIMER = 0.15, 0.3
#: How often it is asked again where all times are long and few are the same.
_MORE = 6
#: Bytes of the message that shows that a connection lives.
_SMALL_SIZE = 100
#: How long an unfinished line must stay without an answer before the FIN, seconds.
_LINE_WAIT = 0.2


@probe(
    "half-close",
    order=80,
    summary="after data and FIN all replies come, then FIN",
    needs=("path",),
)
async def half_close(path: Path) -> Finding:
    """Check that after data and FIN all replies come, then the server's FIN."""
    (await open_half_closing(path)).close()
    sizes = sorted({min(size, path.settings.max_size) for size in BEFORE_FIN})
    trials = {size: Trials(path, _HalfClose(path, size)) for size in sizes}
    await _ask_in_turn(trials)
    for size, each in trials.items():
        if each.failures:
            failed = each.failures[0]
            failed.control = partial(_compare_without_fin, path, size, each)
            raise failed
    gaps = [gap for size in sizes if size <= WRITE_SIZE for gap in trials[size].results]
    if _is_unclear(gaps):
        gaps += await _ask_more(trials[sizes[0]])
    arrived = await _line_end_arrives(path, min(gaps)) if path.settings.framing == "line" else False
    return await _conclude(path, sizes, gaps, arrived)


async def open_half_closing(path: Path) -> ProbeConnection:
    """Open a connection.

    :raises Skipped: its transport cannot end one direction.
    """
    connection = await path.open()
    if not connection.client.half_closes:
        raise Skipped("this transport cannot end one direction alone")
    return connection


async def _ask_in_turn(trials: dict[int, Trials[float]]) -> None:
    """Ask for each size, again and again; for one that fails, how often it does."""
    began = monotonic()
    for number in range(MAX_TIMES):
        for size, each in trials.items():
            if size > WRITE_SIZE and number % _LARGE_EACH:
                continue  # it takes longer
            await each.ask()
            if each.failures:
                await each.repeat(MAX_TIMES, _COUNTING_SECONDS)
                return
        if monotonic() > began + (_MAX_FIRST if number == 0 else _SECONDS):
            return


async def _ask_more(trials: Trials[float]) -> list[float]:
    """Return more results: the first ones were too different to be judged."""
    before = len(trials.results)
    for _ in range(_MORE):
        await trials.ask()
    return trials.results[before:]


async def _compare_without_fin(path: Path, size: int, trials: Trials[float]) -> Failed:
    """Return the failure, after the same without FIN: only if that works is the FIN the cause."""
    control = Trials(path, _WithoutFin(path, size))
    await control.repeat(trials.controls, _COUNTING_SECONDS)
    if control.failures:
        other = control.failures[0]
        words = f"{format_bytes(size)}, with FIN and without: {other.finding}"
        return Failed(
            _with_count(words, control), other.cause, other.fault, other.facts, other.end, "sizes"
        )
    failed = trials.failures[0]
    path.context.knowledge.half_close_fails = True
    failed.finding = _with_count(failed.finding, trials)
    failed.facts |= trials.facts
    return failed


def _with_count(words: str, trials: Trials[float]) -> str:
    return f"{words} ({trials.how_often})" if trials.how_often else words


class _HalfClose:
    """Sends a stream and FIN, and expects all of it, then FIN.

    The result is the time between the last reply and the FIN, in seconds.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size

    async def __call__(self, connection: ProbeConnection) -> float:
        verifier = await _send_stream(self._path, connection, self._size, finish=True)
        sent = monotonic()
        try:
            await connection.verify(verifier)
        except Failed as failed:
            seconds = monotonic() - sent
            raise _explain_cut(failed, self._size, verifier.offset, seconds) from None
        answered = monotonic()
        await self._expect_fin(connection, verifier)
        return monotonic() - answered

    async def _expect_fin(self, connection: ProbeConnection, verifier: Verifier) -> None:
        """Check that the server's FIN follows the replies.

        :raises Failed: something else does, or nothing.
        """
        sent = format_bytes(self._size)
        try:
            verifier.feed(await connection.receive())
        except ConnectionEnded as end:
            if end.reason != "FIN":
                failed = self._wrong_end(end.reason)
                raise explain_by_kernel(failed, *connection.client.kernel_view()) from None
        else:
            fault = verifier.end()
            raise Failed(f"after {sent}, FIN and all replies, more bytes came", fault=fault)

    def _wrong_end(self, reason: str) -> Failed:
        begin = f"after {format_bytes(self._size)} and FIN all replies came, but"
        if reason == "silence":
            finding = f"{begin} no FIN within {self._path.settings.timeout:g} s"
            why = "a middlebox never passed the FIN on; or the server keeps its side open"
        else:
            finding = f"{begin} then {reason} in place of FIN"
            reset = "a middlebox ends by reset, which may destroy bytes that are on the path"
            why = reset if reason == "RST" else tls_cause(reason)
        return Failed(finding, why, facts={"how": reason}, end=reason)


class _WithoutFin:
    """Sends a stream as :class:`_HalfClose` does, but without FIN; then the connection must live.

    The result means nothing.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size

    async def __call__(self, connection: ProbeConnection) -> float:
        await connection.verify(
            await _send_stream(self._path, connection, self._size, finish=False)
        )
        await connection.exchange(self._path.payload(_SMALL_SIZE, connection))
        return 0.0


async def _send_stream(
    path: Path, connection: ProbeConnection, size: int, finish: bool
) -> Verifier:
    """Send ``size`` bytes; return the verifier of the replies, of which few were read so far."""
    payload = path.payload(size, connection)
    verifier = connection.verifier(payload)
    if finish and size <= WRITE_SIZE:  # FIN in the same segment: no reply can come before it
        connection.client.cork()
    sending = connection.send(payload, finish=finish)
    sending.addErrback(lambda _: None)
    if size > WRITE_SIZE:  # the replies are on the path when the FIN passes
        await _wait_unread(path, connection, sending)
    return verifier


async def _wait_unread(path: Path, connection: ProbeConnection, sending: Deferred[None]) -> None:
    """Read nothing until sending is over or stops, and the FIN has had time to arrive."""
    left = -1
    while (not sending.called or connection.client.queued) and connection.client.queued != left:
        left = connection.client.queued
        await deferLater(path.reactor, max(_BLOCKED_TIME, 2 * connection.rtt))
    await deferLater(path.reactor, 0.1 + 2 * connection.rtt)


def _explain_cut(failed: Failed, size: int, came: int, seconds: float) -> Failed:
    """Return the failure with the cause that a cut after our FIN has.

    :param seconds: how long after the FIN it came.
    """
    if failed.fault is None or failed.fault.kind is not FaultKind.CUT:
        return failed
    text = f"after {format_bytes(size)} and FIN only {came} of {size} came back"
    what = failed.finding.rpartition(": ")[2]
    why = _CUT_CAUSES.get(failed.end, failed.cause)
    if failed.end in ("FIN", "RST") and seconds > _TIMER:
        what, why = f"{what} after {format_duration(seconds)}", _STOPPED
    return Failed(f"{text}, {what}", why, failed.fault, failed.facts, failed.end)


#: Why the replies end after our FIN, by how the connection ended.
_CUT_CAUSES = {
    "FIN": "a middlebox, or the server, ends both directions at the FIN before all replies passed",
    "RST": "a middlebox, or the server, resets the connection at the FIN",
}
_STOPPED = "a middlebox stopped passing bytes on at the FIN, and closed later"


async def _line_end_arrives(path: Path, gap: float) -> bool:
    """Return whether the server has answered a last line without LF after our FIN.

    Where it does not, and closes at once, it does not answer such lines.

    :param gap: the shortest time between a last reply and FIN so far, seconds.
    :raises Failed: it does not, and the connection ended late.
    """
    connection = await path.open()
    payload = FixedPayload(b"a last line without its end")
    verifier = connection.verifier(payload)
    connection.write(payload.at(0, payload.size)).addErrback(lambda _: None)
    if await _answers(connection, verifier, max(_LINE_WAIT, 2 * connection.rtt)):
        return False  # before the FIN: it proves nothing
    connection.client.finish()
    sent = monotonic()
    try:
        await connection.verify(verifier)
    except Failed as failed:
        if failed.fault is None or failed.fault.kind is not FaultKind.CUT or gap <= LATE_FIN:
            return False
        path.context.knowledge.half_close_fails = True
        ended = f"{failed.end} came {format_duration(monotonic() - sent)} after ours"
        raise Failed(
            f"a last line without LF was not answered after FIN, and {ended}",
            "a middlebox does not pass the FIN on, and ends the connection by a timer",
            failed.fault,
            {"how": failed.end, "fin_seconds": round(gap, 3)},
            failed.end,
        ) from None
    return True


async def _answers(connection: ProbeConnection, verifier: Verifier, seconds: float) -> bool:
    """Return whether anything comes within so many seconds."""
    try:
        verifier.feed(await connection.receive(seconds))
    except ConnectionEnded as end:
        return end.reason != "silence"
    return True


async def _conclude(path: Path, sizes: list[int], gaps: list[float], arrived: bool) -> Finding:
    """Return that everything came, and what is to be said of the time of the FIN.

    :param gaps: the times between the last reply and FIN, seconds.
    :param arrived: it is proved that our FIN has reached the server.
    :raises Failed: a timer ends each connection.
    """
    text = f"after data and FIN ({', '.join(map(format_bytes, sizes))}) all replies come, then FIN"
    late = _late_ones(gaps)
    facts = {"times": len(gaps), "late": len(late), "fin_seconds": round(max(gaps), 3)}
    if not late or arrived or (len(late) < len(gaps) and not _is_timer(late)):
        return Finding(text, facts=facts)
    after = f"{format_duration(late[0])} after the last reply"
    if len(late) < len(gaps):
        text = f"{text}, but {len(late)} of {len(gaps)} times only {after}"
        return Finding(f"{text}: those times something else than our FIN", info=True, facts=facts)
    text = f"after data and FIN all replies come, but FIN only {after}, each of {len(late)} times"
    if not _is_timer(late):
        return Finding(f"{text}: the server, or a middlebox, ends late", info=True, facts=facts)
    path.context.knowledge.half_close_fails = True
    what, why = _IDLE_TIMER if await _ends_without_fin(path, late) else _FIN_TIMER
    raise Failed(f"{text}: {what}", why, facts=facts)


async def _ends_without_fin(path: Path, late: list[float]) -> bool:
    """Return whether a connection on which nothing is sent any more ends as soon without our FIN.

    :param late: the times after which connections ended with it, seconds, in ascending order.
    """
    path.close()
    connection = await path.open()
    return await rest(connection, 1.1 * late[-1] + _TIMER) is not None


#: What timer ends the connection, and why: one that starts at our FIN, or one that does not.
_FIN_TIMER = (
    "our FIN starts a timer, which ends the connection",
    "the server keeps its side open for that time (--allow-half-open), or a middlebox gives it to"
    " half-closed connections and does not pass the FIN on (socat: shut-none). Check the server"
    " itself to know; or, with --framing line at both ends, the path",
)
_IDLE_TIMER = (
    "a timer ends the connection, with our FIN or without",
    "an idle time-out of a middlebox, or of the server; either a middlebox does not pass the FIN"
    " on, or the server does not end at it (--allow-half-open)",
)


def _late_ones(gaps: list[float]) -> list[float]:
    """Return the times that are long, in ascending order.

    Where not each of them is, a busy machine has made some of them longer, by little.
    """
    late = sorted(gap for gap in gaps if gap > LATE_FIN)
    return late if len(late) == len(gaps) else [gap for gap in late if gap > _RARE_TIMER]


def _is_unclear(gaps: list[float]) -> bool:
    """Return whether times are long, and too different to be a timer's."""
    late = _late_ones(gaps)
    return (len(late) > 1 or len(late) == len(gaps)) and not _is_timer(late)


def _is_timer(late: list[float]) -> bool:
    """Return whether these times, in ascending order, are long, and several of them the same.

    A machine that is busy adds to some of them: half of a few, or four of many.
    """
    alike = min(len(late) // 2, 3)
    return len(late) > 1 and late[0] > _TIMER and late[alike] < 1.1 * late[0] + 0.03
