"""One message over a connection of its own, judged soon: by what the own kernel knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.size_limit import Answer
from echosvc.probe.engine.tcp_info import Stall, TCPInfo
from echosvc.probe.engine.verifier import Verifier

#: How long an answer is waited for after the last byte came: seconds, and round trips in addition.
QUIET_TIME, ROUND_TRIPS = 1.0, 8
#: Seconds between two looks at what the kernel knows.
_STEP = 0.05
#: What counts of the time between two looks at most: this process was held up if it is longer, and
#: has not read what came.
_LONG_STEP = 2 * _STEP
#: A sender that can write nothing for so long is blocked, seconds; round trips come in addition.
_BLOCKED_TIME = 0.4
#: Looks at bytes that are on their way, in quiet times, before they count as silence.
_PATIENCE = 4


@dataclass(frozen=True)
class Trial:
    """What became of one message.

    :ivar info: what the kernel knew in the end; ``None``: nothing.
    :ivar came: bytes of the message that came back.
    """

    answer: Answer
    info: TCPInfo | None = None
    came: int = 0


async def open_within(path: Path, seconds: float) -> ProbeConnection | None:
    """Open a connection and detect its prefix; ``None``: that takes longer.

    :raises Failed: it fails.
    """
    opening = Deferred.fromCoroutine(path.open())
    try:
        return await opening.addTimeout(seconds, path.reactor)
    except defer.TimeoutError:
        return None


async def try_message(
    path: Path, connection: ProbeConnection, size: int, quiet: float = QUIET_TIME
) -> Trial:
    """Send a message over a connection, and return soon what becomes of it.

    :param quiet: seconds of silence, besides round trips, after which it is lost.
    """
    payload = path.payload(size, connection, limited=False)
    verifier = connection.verifier(payload)
    sending = connection.send(payload)
    sending.addErrback(lambda _: None)
    try:
        trial = await receive_or_give_up(path, connection, verifier, quiet)
    finally:
        sending.cancel()
    if trial.answer is Answer.WHOLE:
        await connection.verify(verifier)
    return trial


async def receive_or_give_up(
    path: Path,
    connection: ProbeConnection,
    verifier: Verifier,
    quiet: float,
    go_on: Callable[[], object] = lambda: None,
) -> Trial:
    """Receive until everything came, or nothing comes any more.

    :param go_on: called before each wait.
    """
    quiet += ROUND_TRIPS * connection.rtt
    clock, silent, lost = path.reactor, 0.0, None
    while lost is None and not verifier.complete and not verifier.wrong:
        go_on()
        began = clock.seconds()
        try:
            verifier.feed(await connection.receive(_STEP))
            silent = 0.0
        except ConnectionEnded as end:
            if end.reason != "silence":
                break
            silent += min(clock.seconds() - began, _LONG_STEP)
            lost = _given_up(connection.client.tcp_info, silent, quiet)
    answer = lost or (Answer.WHOLE if verifier.complete else Answer.DAMAGED)
    return Trial(answer, connection.client.tcp_info, verifier.offset)


def _given_up(info: TCPInfo | None, silent: float, quiet: float) -> Answer | None:
    """Return what became of a message that is not there yet; ``None``: it may still come.

    :param silent: seconds without a byte.
    :param quiet: how many an answer may take once its message has arrived.
    """
    stall = info.stall if info else Stall.TAKEN
    if stall in (Stall.DROPPED, Stall.FIN_DROPPED, Stall.UNSENT):
        return Answer.DROPPED
    if silent < quiet or (stall is Stall.SENDING and silent < _PATIENCE * quiet):
        return None
    return Answer.SILENCE if info else Answer.UNKNOWN


async def wait_until_blocked(path: Path, connection: ProbeConnection) -> None:
    """Wait until nothing more is taken of what is being sent, while nothing is read."""
    left = -1
    while connection.client.unsent != left:
        left = connection.client.unsent
        await deferLater(path.reactor, _BLOCKED_TIME + 3 * connection.rtt)
