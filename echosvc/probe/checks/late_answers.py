"""Probe of late answers: what is due after FIN is not lost, though it is read late.

Theory of operation. A client that has sent FIN may be due more than the buffers behind a middlebox
hold. A middlebox that gives a half-closed connection a short time-out ends it then, and what it
and the server still held is lost. So streams of several sizes are sent, each over a connection of
its own and with FIN behind it, and nothing is read for :data:`WAIT` seconds. A small one waits
in buffers from which it will come in any case, a large one keeps its own FIN from arriving. The
sizes in between are close enough that one of them is neither: a system's buffers on the way back
hold as much as those on the way there. Short segments (:data:`MAX_SEGMENT`) keep the buffer of the
last middlebox small, as Linux makes it as large as so many segments. What the path does not take is
aborted.

While a window is closed, the server's kernel asks 0.2, 0.6, 1.4 and 3.0 seconds later whether it is
open. So a firewall sees a silence of :data:`WAIT` less 1.4 seconds.

Meanwhile a connection rests: where none ends, `reset` and `server-fin` need not wait for that.

Where answers are lost, the same is done without FIN, and, if that works, with shorter waits. At a
limit of connections they may be lost because others are opened meanwhile: a router may give a port
that it needs to the next one. So the same is done alone first.

A process that gets no processor reads later than it should. So a stream that is cut counts for a
wait only if it was not read later than that: :class:`_Unread` knows how long it waited at most. The
server or a middlebox may get no processor, either. So a wait after which streams are cut is asked
twice, and where that does not settle it, no shorter time is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from echosvc._text import format_bytes, format_duration, plural
from echosvc.probe.checks.half_close import open_half_closing
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.idle_end import SHORT_WAIT, wait_for_end
from echosvc.probe.engine.lateness import Lateness
from echosvc.probe.engine.path import Path, gather
from echosvc.probe.engine.verifier import Verifier
from echosvc.probe.settings import MIB

#: Seconds after FIN in which nothing is read.
WAIT = 2.8
#: The shorter times that are tried where answers are lost after :data:`WAIT`, seconds.
SHORTER = (0.1, 0.25, 0.5, 1.0, 1.5)
#: The sizes of the streams, bytes.
SIZES = tuple(size * MIB // 4 for size in (1, 2, 4, 6, 8, 12, 16, 24))
#: The longest segment of these connections, bytes.
MAX_SEGMENT = 1400
#: A path that takes nothing for so long is full, seconds.
_FULL_TIME = 0.3
#: No larger stream is sent once sending has taken so long, seconds.
_FILL_TIME = 3.0
#: How often that is looked at, seconds.
_POLL = 0.01
#: How many streams are asked at once to find the time after which they are cut.
_STREAMS = 3
#: So many times streams must be cut after a wait; how often that is asked at most.
_CUTS, _ATTEMPTS = 2, 4
#: A stream is read in time if it waits no longer than this part more, or these seconds.
_LATE_PART, _LATE_SECONDS = 0.2, 0.05
#: How many streams are sent alone at a limit of connections, one after the other.
_ALONE = 2
_BESIDE = "late answers come alone, and not always while other connections are opened"
#: How often a control is asked: so often, less the number of streams that were cut.
_ROUNDS = 4
#: A stream that the path still takes after so long is given up, seconds.
_MAX_FILL_TIME = 30.0


@dataclass
class _Unread:
    """A stream of which nothing was read yet.

    :ivar unsent: when it was not yet out, by the reactor's clock.
    :ivar sent: when it was out.
    :ivar waited: seconds that it waited at most before it was read, those included in which this
        process was late while it read.
    """

    connection: ProbeConnection
    verifier: Verifier
    size: int
    unsent: float
    sent: float = math.inf
    waited: float = 0.0


@dataclass
class _Lost:
    """A stream that did not come whole.

    :ivar waited: as :attr:`_Unread.waited`.
    """

    size: int
    failed: Failed
    waited: float


def _is_in_time(waited: float, seconds: float) -> bool:
    """Return whether what was to wait for some seconds did not wait noticeably longer."""
    return waited <= seconds + max(_LATE_SECONDS, _LATE_PART * seconds)


@probe(
    "late-answers",
    order=85,
    summary="what is due after FIN comes, though it is read late",
    min_duration=lambda _: _MAX_FILL_TIME + 4 * WAIT,
    duration=lambda _: WAIT + 1,
    needs=("path",),
)
async def late_answers(path: Path) -> Finding:
    """Check that answers are not lost that are read long after FIN."""
    if path.context.knowledge.half_close_fails:
        why = "see half-close: what is due after FIN does not come, or the FIN itself"
        raise Skipped(why, see="half-close")
    resting = await open_half_closing(path)
    with _short_segments(path):
        return await _ask_all(path, resting)


@contextmanager
def _short_segments(path: Path) -> Iterator[None]:
    """Let connections have segments of :data:`MAX_SEGMENT` at most."""
    knowledge = path.context.knowledge
    longest = knowledge.max_segment
    knowledge.max_segment = min(longest or MAX_SEGMENT, MAX_SEGMENT)
    try:
        yield
    finally:
        knowledge.max_segment = longest


async def _ask_all(path: Path, resting: ProbeConnection) -> Finding:
    """Send all streams and read them late.

    :param resting: watched meanwhile: what is found out here, later probes need not wait for.
    :raises Failed: not all of them come whole.
    """
    waiting = await _send_until_full(path)
    watching = Deferred.fromCoroutine(wait_for_end(path, resting, SHORT_WAIT))
    watching.addErrback(lambda _: None)
    limited = path.context.knowledge.connection_limit is not None
    with path.patience(path.answer_time if limited else path.settings.timeout):
        lost = await _read_all(path, waiting, WAIT)
    watching.cancel()
    if lost:
        failed = lost[0].failed
        failed.control = partial(_compare, path, lost, len(waiting))
        raise failed
    sizes = [each.size for each in waiting]
    listed = " to ".join(format_bytes(size) for size in sorted({sizes[0], sizes[-1]}))
    return Finding(
        f"with {plural(len(sizes), 'stream')} of {listed} due and nothing read for {WAIT:g} s after"
        " FIN, everything comes",
        facts={"asked_seconds": WAIT, "sizes": sizes},
    )


async def _send_until_full(path: Path) -> list[_Unread]:
    """Send streams that grow until the path takes no more; return those that it took.

    :raises Skipped: it does not take the first one.
    """
    waiting: list[_Unread] = []
    began = path.reactor.seconds()
    for size in SIZES:
        if not _make_room(path, waiting):
            break
        unread = await _send_behind(path, size, waiting)
        if unread is None:
            break
        waiting.append(unread)
        if path.reactor.seconds() > began + _FILL_TIME:
            break
    if not waiting:
        seconds = format_duration(path.reactor.seconds() - began)
        least = format_bytes(SIZES[0])
        raise Skipped(f"the path does not take {least} within {seconds} while nothing is read")
    return waiting


def _make_room(path: Path, waiting: list[_Unread]) -> bool:
    """End the shortest stream where another one would be a connection too many, and one rests.

    :return: ``False``: it is the only one, and is to be read.
    """
    limit = path.context.knowledge.connection_limit
    if limit is None or len(waiting) + 1 < limit:
        return True
    if len(waiting) > 1:
        waiting.pop(0).connection.client.abort()
        return True
    return not waiting


async def _send_behind(path: Path, size: int, waiting: list[_Unread]) -> _Unread | None:
    """Send a stream, and FIN, as :func:`_send`.

    On a slow path the first answer of a new connection waits behind the bytes of the others. So
    silence means that the path takes no more.
    """
    try:
        with path.patience(path.answer_time):
            return await _send(path, size)
    except Failed as failed:
        if waiting and failed.end == "silence":
            return None
        raise


async def _send(path: Path, size: int, finish: bool = True) -> _Unread | None:
    """Send a stream, and FIN; return it, or ``None``: the path does not take it."""
    connection = await path.open()
    payload = path.payload(size, connection, limited=False)  # as large as buffers
    unread = _Unread(connection, connection.verifier(payload), size, path.reactor.seconds())
    sending = connection.send(payload, finish=finish)
    sending.addErrback(lambda _: None)
    if await _is_taken(path, unread, sending):
        return unread
    sending.cancel()
    connection.client.abort()
    return None


async def _is_taken(path: Path, unread: _Unread, sending: Deferred[None]) -> bool:
    """Wait until a stream is out, and note when; return ``False``: the path takes no more.

    Where the connection ends meanwhile, reading will find how.
    """
    client, full_time = unread.connection.client, max(_FULL_TIME, 3 * unread.connection.rtt)
    now = path.reactor.seconds
    began = moved = now()
    taken = -1
    while client.reason is None and (not sending.called or client.unsent):
        unread.unsent = now()
        if client.bytes_out - client.unsent != taken:
            taken, moved = client.bytes_out - client.unsent, now()
        elif now() > moved + full_time:
            return False
        if now() > began + _MAX_FILL_TIME:
            return False
        await deferLater(path.reactor, _POLL)
    unread.sent = now()
    return True


async def _read_all(path: Path, waiting: list[_Unread], seconds: float) -> list[_Lost]:
    """Read streams, each so many seconds after it was out; return those that do not come."""
    outcomes = await gather([_read(path, each, seconds) for each in waiting])
    pairs = zip(waiting, outcomes, strict=True)
    return [_Lost(each.size, failed, each.waited) for each, failed in pairs if failed]


async def _read(path: Path, unread: _Unread, seconds: float) -> Failed | None:
    """Read and verify a stream so many seconds after it was out; return what is wrong."""
    await deferLater(path.reactor, max(0.0, unread.sent + seconds - path.reactor.seconds()))
    waited = path.reactor.seconds() - unread.unsent
    with Lateness(path.reactor) as late:
        try:
            await unread.connection.verify(unread.verifier)
        except Failed as failed:
            unread.waited = waited + late.seconds
            return failed
    unread.connection.close()
    return None


async def _compare(path: Path, lost: list[_Lost], asked: int) -> Failed:
    """Return the failure that is to be reported, by streams like those that were lost."""
    with _short_segments(path):
        return await _judge(path, lost, asked)


async def _judge(path: Path, lost: list[_Lost], asked: int) -> Failed:
    """Return the failure, after the same without FIN, and with shorter waits.

    :param asked: how many streams were sent.
    """
    sizes = [each.size for each in lost]
    if path.context.knowledge.connection_limit is not None and await _come_alone(path, sizes):
        raise Skipped(f"see limit: {_BESIDE}: {lost[0].failed.finding}", see="limit")
    control = await _compare_without_fin(path, sizes)
    if control is not None:
        return control
    first, failed = lost[0], lost[0].failed
    size, waited = format_bytes(first.size), _round_wait(first.waited)
    often = f"{len(lost)} of {plural(asked, 'time')}"
    failed.finding = f"read {waited:g} s after {size} and FIN: {failed.finding} ({often})"
    failed.facts |= {"times": asked, "failed": len(lost), "size": first.size}
    failed.facts |= {"asked_seconds": waited}
    if failed.fault is None or failed.fault.kind is not FaultKind.CUT:
        return failed
    if failed.end == "silence":  # each shorter wait would take a time-out, too
        failed.cause = _FORGOTTEN
        return failed
    alive, dead = await _search(path, sizes, waited)
    failed.facts |= {"alive": alive, "dead": dead}
    failed.cause = _AT_ONCE if dead == SHORTER[0] else _TIME_OUT
    failed.finding += _describe_waits(alive, dead)
    return failed


def _round_wait(waited: float) -> float:
    """Return :data:`WAIT`, or, if this process read noticeably later, how long it waited."""
    return WAIT if _is_in_time(waited, WAIT) else math.ceil(10 * waited) / 10


def _describe_waits(alive: float, dead: float) -> str:
    """Return what was found with shorter waits, as the end of a sentence."""
    if not alive:
        return f"; read after {dead:g} s it does not come, either" if dead < WAIT else ""
    return f"; read after {alive:g} s it comes, after {dead:g} s it does not"


#: Why answers are lost.
_FORGOTTEN = "a firewall forgets half-closed connections, or a middlebox stops passing bytes on"
_AT_ONCE = "a middlebox closes both directions at the FIN"
_TIME_OUT = (
    "a short time-out of half-closed connections (socat: -t; HAProxy: timeout server-fin), or a"
    " middlebox that closes while it holds bytes (stunnel)"
)


async def _compare_without_fin(path: Path, sizes: list[int]) -> Failed | None:
    """Return the failure of the same without FIN, if it fails, too.

    The fewer streams were cut with FIN, the more often it is asked.
    """
    for _ in range(max(1, _ROUNDS - len(sizes))):
        path.close()
        sent = [unread for size in sizes if (unread := await _send(path, size, finish=False))]
        for failed in filter(None, await gather([_read(path, each, WAIT) for each in sent])):
            words = f"read after {WAIT:g} s, with FIN and without: {failed.finding}"
            return Failed(words, failed.cause, failed.fault, failed.facts, failed.end, "sizes")
    return None


async def _come_alone(path: Path, sizes: list[int]) -> bool:
    """Return whether streams come while no other connection is opened or open.

    Where the path does not take one now, the next smaller one is sent.
    """
    for largest in (_ALONE * sizes)[:_ALONE]:
        path.close()
        unread = await _send_largest(path, largest)
        if unread is None or await _read(path, unread, WAIT):
            return False
    return True


async def _send_largest(path: Path, most: int) -> _Unread | None:
    """Send the largest stream of up to ``most`` bytes that the path takes; ``None``: none."""
    for size in (each for each in reversed(SIZES) if each <= most):
        if (unread := await _send(path, size)) is not None:
            return unread
    return None


async def _ask(path: Path, sizes: list[int], seconds: float) -> float:
    """Send streams and FIN; return how long one waited at most that did not come; 0: all come."""
    path.close()
    sent = [unread for size in sizes if (unread := await _send(path, size))]
    return min((each.waited for each in await _read_all(path, sent, seconds)), default=0.0)


async def _all_come(path: Path, sizes: list[int], seconds: float) -> bool | None:
    """Return whether all streams come that are read after so many seconds.

    :return: ``None``: it is not known.
    """
    came = cut = 0
    for _ in range(_ATTEMPTS):
        waited = await _ask(path, sizes, seconds)
        came += not waited
        cut += waited > 0 and _is_in_time(waited, seconds)
        if came > cut:
            return True
        if cut == _CUTS:
            return False
    return None


async def _search(path: Path, cut: list[int], longest: float) -> tuple[float, float]:
    """Return the longest wait after which all answers came, and the shortest one after which not.

    The first is 0 where there is none. Several streams are asked each time: that one comes may be
    by chance.

    :param cut: the sizes of streams that were cut.
    :param longest: the wait after which they were.
    """
    sizes = (_STREAMS * cut)[: path.allowed(_STREAMS)]
    alive, dead = -1, len(SHORTER)
    while alive + 1 < dead:
        middle = (alive + dead) // 2
        come = await _all_come(path, sizes, SHORTER[middle])
        if come is None:
            break
        alive, dead = (middle, dead) if come else (alive, middle)
    waits = (0.0, *SHORTER, longest)
    return waits[alive + 1], waits[dead + 1]
