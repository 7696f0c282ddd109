"""Probe of back-pressure: a sender that reads no replies is stopped.

Theory of operation. As much is sent as the path takes while nothing is read. Then everything is
read, while some more is sent: both directions are full for a while. Megabytes are in the kernels of
several machines then, and one of them may be short of memory, or of processor time, and stop for a
moment. So a stream that stops is no proof. It is asked whether the path stops for ever where both
directions are full. Otherwise the same is done again over new connections, and only what stops a
second time has failed.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred

from echosvc._text import format_bytes, format_duration
from echosvc.net.errors import is_network_error
from echosvc.probe.causes.deadlock import find_deadlock
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import FRAME_SIZE, WRITE_SIZE, ProbeConnection
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.lateness import Lateness
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import Payload
from echosvc.probe.engine.plain_stream import (
    blame_streams,
    compare_with_plain_stream,
    send_plain_stream,
)
from echosvc.probe.settings import MIB

#: A path that takes so many bytes that are not read has no bound.
MAX_UNREAD = 256 * MIB
#: More than kernels hold: where it comes back, a program has buffered it, bytes.
MAX_KERNELS = 64 * MIB
#: A sender that can write nothing for so long is blocked, seconds.
BLOCKED_TIME = 1.0
#: Where more has been taken than kernels hold, or this process was as late as this, seconds, what
#: buffers without bound may have had no processor: then it is waited for so many times longer.
_LATE, _LONGER = 0.05, 4
#: A path that still takes something after this time is too slow for its buffers to be filled,
#: seconds.
MAX_FILL_TIME = 60.0

#: What is sent while both directions are full and the replies are read: bytes at most, and for how
#: long at the rate at which the path was filled, seconds.
MAX_MORE, _MORE_TIME = 32 * MIB, 1.0
#: The longest plain stream that is sent to find out whether it has the same fault, bytes.
MAX_CONTROL = 16 * MIB
#: A rate that is measured over less time is not trusted, seconds.
_LEAST_TIME = 0.05
#: Streams that are read, to find out whether they end as well.
_READERS = 3
#: How often all this is done at most, and how often the stream must stop, where it does.
_TIMES, _STOPS = 4, 2


@probe(
    "back-pressure",
    order=90,
    summary="a sender that reads no replies is stopped, and loses nothing",
    min_duration=lambda _: 2 * MAX_FILL_TIME,
    needs=("path",),
)
async def back_pressure(path: Path) -> Finding:
    """Check that a sender that reads no replies is stopped, and loses nothing."""
    if path.context.knowledge.deadlock_size:
        raise Skipped("see deadlock: the path stops while both directions are full", "deadlock")
    began, taken, stops = path.reactor.seconds(), list[int](), list[Failed]()
    while len(taken) + len(stops) < (_TIMES if stops else 1):
        path.close()
        try:
            taken.append(await _fill_and_read(path))
        except Failed as failed:
            stops.append(await _judge_stop(path, failed, stops, len(taken)))
        if path.reactor.seconds() > began + MAX_FILL_TIME:
            break
    return _conclude(path, taken, stops)


async def _judge_stop(path: Path, failed: Failed, before: list[Failed], passed: int) -> Failed:
    """Return a failure that proves nothing yet.

    :param before: those that there were.
    :param passed: how often nothing was wrong.
    :raises Failed: it does prove something.
    """
    path.note_end(failed)
    ended = isinstance(failed, EndedUnread)
    stopped = failed.fault is not None and failed.fault.kind is FaultKind.CUT
    if not ended and (failed.end != "silence" or not stopped):
        raise failed
    count = len(before) + 1
    if count == _STOPS:
        failed.finding += f" ({count} of {count + passed} times)"
        failed.facts |= {"times": count + passed, "failed": count}
        raise failed
    if not ended and await find_deadlock(path, failed):
        raise failed
    return failed


def _conclude(path: Path, taken: list[int], stops: list[Failed]) -> Finding:
    """Return that everything arrived, and how often it did not.

    :raises Failed: it never did.
    """
    if not taken:
        raise stops[-1]
    text = (
        f"the sender is stopped after {format_bytes(taken[-1])}; once it reads, everything arrives"
    )
    facts: dict[str, Any] = {"stopped_after": taken[-1]}
    if not stops:
        return Finding(text, facts=facts)
    times = len(taken) + len(stops)
    ended = any(isinstance(stop, EndedUnread) for stop in stops)
    what = "the connection ended" if ended else f"nothing came for {path.settings.timeout:g} s"
    why = "a restart" if ended else "a machine was held up"
    text += f", but {len(stops)} of {times} times {what}: {why}, or it is a race"
    facts |= {"times": times, "failed": len(stops)}
    return Finding(text, info=True, facts=facts)


async def _fill_and_read(path: Path) -> int:
    """Return after how many bytes the sender was stopped, once everything has arrived.

    :raises Failed: it was not stopped, or not everything arrives.
    """
    connection = await path.open()
    payload = path.payload(MAX_UNREAD + MAX_MORE, connection, limited=False)
    sender = _UnreadSender(path, connection, payload)
    sent = await sender.run()
    taken = sent - connection.client.queued
    if sent >= MAX_UNREAD:
        await _judge_unbounded(path, connection, payload, taken)
    try:
        await sender.go_on(sent)
    except Failed as failed:
        stopped = f"the sender is stopped after {format_bytes(taken)}"
        failed.finding = f"{stopped}, but once it reads: {failed.finding}"
        failed.control = partial(compare_with_plain_stream, path, failed, _control_size(failed))
        raise
    return taken


def _control_size(failed: Failed) -> int:
    """Return the size of a plain stream in which the same fault would be found."""
    return min(max(2 * failed.fault.offset if failed.fault else 0, MIB), MAX_CONTROL)


async def _judge_unbounded(
    path: Path, connection: ProbeConnection, payload: Payload, taken: int
) -> NoReturn:
    """Raise what it means that the sender never had to wait.

    Only what comes back, once it is read, was buffered. What does not was discarded.
    """
    if not connection.client.had_socket:
        raise Skipped("this transport never says that it is full")
    finding = (
        f"{format_bytes(MAX_UNREAD)} went out, none of the answers was read, and the sender never"
        " had to wait"
    )
    verifier = connection.verifier(payload.resized(MAX_UNREAD))
    try:
        await connection.verify(verifier, enough=MAX_KERNELS)
    except Failed as failed:
        failed.finding = f"{finding}, but once it reads: {failed.finding}"
        failed.control = partial(compare_with_plain_stream, path, failed, _control_size(failed))
        raise
    cause = "a middlebox, or the server, buffers without bound"
    raise Failed(finding, cause, facts={"taken": taken})


class EndedUnread(Failed):
    """A connection ended of which nothing was read.

    :param offset: bytes that were sent.
    """

    def __init__(self, path: Path, offset: int, end: str) -> None:
        super().__init__(
            f"the connection ended after {format_bytes(offset)} of which nothing was read",
            "a middlebox, or the server, ends clients that do not read",
            facts={"bytes": offset},
            end=end,
        )
        size = min(max(offset, MIB), MAX_CONTROL)
        self.control = partial(_compare_with_reader, path, self, size)


async def _compare_with_reader(path: Path, failed: Failed, size: int) -> Failed:
    """Return the failure, or that of a stream of this size that is read: then reading is no cause.

    :raises Failed: there is no connection any more.
    """
    for _ in range(_READERS):
        if other := await send_plain_stream(path, size):
            return blame_streams(other, size)
    return failed


class _UnreadSender:
    """Sends and reads nothing until the path takes no more."""

    def __init__(self, path: Path, connection: ProbeConnection, payload: Payload) -> None:
        self._path, self._connection, self._payload = path, connection, payload
        self._blocked_time = max(BLOCKED_TIME, 3 * connection.rtt)
        self._size = FRAME_SIZE if path.settings.framing == "length" else WRITE_SIZE
        self._began = self._filled = path.reactor.seconds()

    async def run(self) -> int:
        """Return how many bytes were sent.

        :raises Failed: the connection ended.
        :raises Skipped: it takes too long.
        """
        for offset in range(0, MAX_UNREAD, self._size):
            try:
                waiting = self._connection.write(self._payload.at(offset, self._size))
                if not await self._wait_until_writable(waiting, offset):
                    return offset + self._size
                self._filled = self._path.reactor.seconds()
            except (CancelledError, Skipped):
                raise
            except Exception as error:
                if not is_network_error(error):
                    raise
                raise EndedUnread(self._path, offset, self._connection.end) from None
        return MAX_UNREAD

    async def go_on(self, sent: int) -> None:
        """Read what was sent, and send more meanwhile: both directions are full for a while.

        :raises Failed: not all of it comes back. Something may wait for ever where both are full.
        """
        end = sent + self._more(sent)
        verifier = self._connection.verifier(self._payload.resized(end))
        sending = Deferred.fromCoroutine(self._send(sent, end))
        sending.addErrback(lambda _: None)
        try:
            await self._connection.verify(verifier)
        finally:
            sending.cancel()

    def _more(self, sent: int) -> int:
        """Return how much is sent while the replies are read: whole writes."""
        seconds = max(self._filled - self._began, _LEAST_TIME)
        size = min(MAX_MORE, int(sent / seconds * _MORE_TIME))
        return size // self._size * self._size

    async def _send(self, start: int, end: int) -> None:
        for offset in range(start, end, self._size):
            if not await self._connection.send_message(self._payload.at(offset, self._size)):
                return

    async def _wait_until_writable(self, waiting: Deferred[None], offset: int) -> bool:
        """Wait until more may be sent; return ``False`` if the path takes nothing any more.

        Bytes in our own kernel count, too: a slow link sends them before it takes more.
        """
        client, seconds = self._connection.client, self._blocked_time
        while True:
            left = client.unsent
            with Lateness(self._path.reactor) as late:
                try:
                    await waiting.addTimeout(seconds, self._path.reactor)
                except defer.TimeoutError:
                    pass
                else:
                    return True
            if client.unsent != left:
                seconds = self._blocked_time
            elif seconds == self._blocked_time and (offset > MAX_KERNELS or late.longest > _LATE):
                seconds *= _LONGER
            else:
                return False
            self._check_fill_time(offset)
            waiting = client.write(b"")

    def _check_fill_time(self, offset: int) -> None:
        """Check that filling the path does not take too long.

        :raises Skipped: it does.
        """
        seconds = self._path.reactor.seconds() - self._began
        if seconds > MAX_FILL_TIME:
            taken = offset - self._connection.client.unsent
            raise Skipped(
                f"the path is too slow: after {format_duration(seconds)} without reading it had"
                f" taken {format_bytes(taken)}, and still took more"
            )
