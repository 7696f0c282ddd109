"""Connections that are watched until they end: busy ones, and some that rest."""

from __future__ import annotations

from time import perf_counter

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from echosvc._text import plural, quote
from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.endings import SAME_MOMENT, Ending
from echosvc.probe.engine.fault import SAMPLE_SIZE, FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path, gather
from echosvc.probe.engine.payload import AnyPayload

#: Seconds between two messages of a busy connection, of a second one, and of a third one.
BUSY_INTERVAL, SLOWER_INTERVAL, SLOWEST_INTERVAL = 0.1, 0.25, 0.4
#: How many connections rest beside them, and how many are watched at most.
_RESTING, _MOST_WATCHED = 3, 6
#: Bytes of the message that shows that a connection lives.
_SMALL_SIZE = 100
#: So many connections may wait for their turn at once, where their pace is limited.
_MOST_OPENING = 10
#: The second busy connection is opened so much later, seconds, that a limit of age, which a busy
#: machine keeps late, does not end both at one moment, as a restart does.
_LATER = SAME_MOMENT + 0.05
#: After a failed attempt to connect, seconds until the next one.
_RETRY_INTERVAL = 0.2


class BusyConnection:
    """A connection on which one byte goes to and fro, again and again, until it ends.

    :param path: over which it was opened.
    :param interval: seconds between an answer and the next message.
    :ivar ending: how it ended; ``None`` while it lives.
    """

    def __init__(
        self, path: Path, connection: ProbeConnection, interval: float = BUSY_INTERVAL
    ) -> None:
        self._path, self._connection, self._interval = path, connection, interval
        self.ending: Ending | None = None
        self._waiting: list[Deferred[None]] = []
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _run(self) -> None:
        while self.ending is None:
            try:
                await self._connection.request(seconds=self._path.settings.timeout)
            except Failed as failed:
                self.ending = ending_of(self._connection, failed.end or "a wrong answer", busy=True)
            self._wake()
            await deferLater(self._path.reactor, self._interval)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    async def outlives(self, moment: float) -> bool:
        """Wait until it is answered after ``moment``, or has ended; return whether it lives."""
        while self.ending is None and self._connection.client.last_byte <= moment:
            waiting: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            await waiting
        return self.ending is None

    async def watch(self, seconds: float) -> Ending | None:
        """Return how it ended; ``None``: it is older than ``seconds`` and lives."""
        await self.outlives(self._connection.client.made + seconds)
        return self.ending

    def close(self) -> None:
        """Send nothing more, and end the connection."""
        self._running.cancel()
        self._connection.close()


def ending_of(connection: ProbeConnection, reason: str, busy: bool = False) -> Ending:
    """Return how a connection ended that has just been found to have ended."""
    client = connection.client
    ended = client.ended or client.last_byte
    return Ending(busy, client.made, client.last_byte, ended, reason)


async def rest(connection: ProbeConnection, seconds: float) -> Ending | None:
    """Let a connection rest until its last byte is ``seconds`` old; return how it ended.

    :return: ``None``: it has not ended, or that cannot be seen without sending something.
    :raises Failed: something came, though nothing was sent.
    """
    connection.client.correct_last_byte()
    left = connection.client.last_byte + seconds - perf_counter()
    try:
        data = await connection.receive(max(0.0, left))
    except ConnectionEnded as end:
        return None if end.reason == "silence" else ending_of(connection, end.reason)
    connection.refuse_foreign(data, "though nothing was sent")
    raise Failed(
        f"{plural(len(data), 'byte')} came that were not requested, while idle:"
        f" {quote(data[:SAMPLE_SIZE])}",
        "the server, or a middlebox, sends something by itself: a keep-alive, or a late answer",
    )


async def use_again(path: Path, connection: ProbeConnection) -> str:
    """Exchange bytes on a connection that has rested.

    :return: "", or how the connection ended: ``FIN``, ``RST``, ``silence``.
    :raises Failed: it was answered, but wrongly.
    """
    payload = path.payload(_SMALL_SIZE, connection)
    try:
        await connection.exchange(payload, path.settings.timeout)
    except Failed as failed:
        if failed.fault is not None and failed.fault.kind is not FaultKind.CUT:
            raise
        if failed.end in ("FIN", "RST"):
            return failed.end
        await _exchange_without_rest(path, payload)
        return "silence"
    return ""


async def _exchange_without_rest(path: Path, payload: AnyPayload) -> None:
    """Exchange what was not answered after a rest over a new connection, without a rest.

    :raises Failed: it is not answered there, either: the rest is not the cause.
    """
    connection = await open_beside(path)
    try:
        await connection.exchange(payload, path.settings.timeout)
    finally:
        connection.close()


async def open_beside(path: Path) -> ProbeConnection:
    """Open a connection while others are busy: what comes on them does not prolong the time-out.

    :raises Failed: there was no answer within the time-out.
    """
    timeout = path.settings.timeout
    opening = Deferred.fromCoroutine(path.open())
    turns = _MOST_OPENING / path.pace if path.pace else 0.0
    try:
        return await opening.addTimeout(timeout + turns, path.reactor)
    except defer.TimeoutError:
        raise Failed(
            f"a connection beside others that are open got no answer within {timeout:g} s",
            "a limit of connections, of a middlebox or of the server",
            end="silence",
        ) from None


async def open_patiently(path: Path) -> ProbeConnection:
    """Open a connection; while what carries it restarts, try again until the time-out.

    :raises Failed: there was none within the time-out.
    """
    give_up = path.reactor.seconds() + path.settings.timeout
    while True:
        try:
            return await open_beside(path)
        except Failed:
            if path.reactor.seconds() > give_up:
                raise
        await deferLater(path.reactor, _RETRY_INTERVAL)


def count_resting(path: Path) -> int:
    """Return how many connections rest where :func:`watch_lives` watches."""
    return _RESTING if path.is_unlimited and path.settings.connections > _MOST_WATCHED else 1


async def watch_lives(path: Path, seconds: float) -> list[Ending]:
    """Watch busy connections and some that rest; return how they ended.

    The busy ones are opened one after the other. Each of them sends at another rate. There are
    three, and two where the number of connections is limited.

    :param seconds: the age after which a connection is not watched any more.
    :raises Failed: no connection can be opened.
    """
    count = count_resting(path)
    first = BusyConnection(path, await open_patiently(path))
    resting = [await open_patiently(path) for _ in range(count)]
    later = min(0.5, max(_LATER, seconds / 10))
    intervals = (SLOWER_INTERVAL, SLOWEST_INTERVAL)[: 1 + (count > 1)]
    busy = [first]
    try:
        for interval in intervals:
            await deferLater(path.reactor, later)
            busy.append(BusyConnection(path, await open_patiently(path), interval))
        watched = [each.watch(seconds) for each in busy]
        ends = await gather([*watched, *(rest(each, seconds) for each in resting)])
    finally:
        for each in busy:
            each.close()
    return [end for end in ends if end is not None]
