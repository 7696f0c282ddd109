"""Connections end after so many messages, short or long.

Theory of operation. A server that answers a number of reads and then ends the connection cuts
streams at any size, and every probe in another place. So messages are sent, each once the last one
was answered: short ones as fast as they are answered, then long ones with pauses. A limit of
messages cuts both after the same number. A limit of bytes cuts the long ones after fewer messages,
a limit of age cuts those with pauses after fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.task import deferLater

from echosvc._text import plural
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path

_ENDS = ("FIN", "RST", "silence")
#: So many messages are sent at most, for so many seconds.
_MOST, _SECONDS = 100, 4.0
#: Bytes of a short and of a long message.
_SHORT, _LONG = 1, 1000
#: The long ones take longer by this factor, and each at least so many seconds.
_SLOWER, _PAUSE = 2.0, 0.005


@dataclass(frozen=True)
class _Cut:
    """Where a connection was cut.

    :ivar count: messages that were answered.
    :ivar end: how it was cut.
    :ivar seconds: how long the messages took.
    """

    count: int
    end: str
    seconds: float


@cause(order=66, seconds=2 * _SECONDS)
async def explain_by_message_count(path: Path, failed: Failed) -> Cause | None:
    """Return that connections end after so many messages, however long they are."""
    if failed.end not in _ENDS or not path.context.history.answered:
        return None
    if (known := path.context.knowledge.message_count) is not None:
        return _describe(known, failed.end)
    short = await _count(path, _SHORT, 0.0)
    if short is None:
        return None
    pause = max(_PAUSE, _SLOWER * short.seconds / (short.count + 1))
    long = await _count(path, _LONG, pause)
    if long is None or (long.count, long.end) != (short.count, short.end):
        return None
    count = 1 + short.count  # the prefix was detected by the first one
    path.context.knowledge.message_count = count
    return _describe(count, short.end)


def _describe(count: int, end: str) -> Cause:
    finding = (
        f"connections end by {end} after {plural(count, 'message')}, short or long, fast or slow"
    )
    advice = "the server, or a middlebox, answers so many reads of a connection, and then ends it"
    return Cause("messages", finding, advice, {"messages": count})


async def _count(path: Path, size: int, pause: float) -> _Cut | None:
    """Exchange messages of ``size`` bytes over one connection until it is cut.

    :param pause: seconds after each.
    :return: ``None``: it is not cut.
    """
    path.close()
    connection, began = await path.open(), path.reactor.seconds()
    for number in range(_MOST):
        try:
            with path.patience(path.answer_time):
                await connection.exchange(path.payload(size, connection))
        except Failed as failed:
            seconds = path.reactor.seconds() - began
            return _Cut(number, failed.end, seconds) if failed.end in _ENDS else None
        if path.reactor.seconds() > began + _SECONDS:
            break
        await deferLater(path.reactor, pause)
    return None
