"""A limit of connections: of those that are open at once, or of those that are opened a second.

Theory of operation. What is open at once, and what is opened in a short time, are told apart by
two experiments. Connections that are opened one after the other, each once the last one is gone,
fail only at a limit of connections a second. Connections that are opened at once, and fail though
those one after the other do not, fail at a limit of open connections.

A connection may also be lost by chance, or at a dead server of several. So a limit must prove
itself: of a second, where all are answered that are opened slowly, and of twice as many that are
opened quickly a good part is not; of open connections, where it is the last ones that are not
answered, or where many are not, though one after the other hardly any is lost. Otherwise it is said
how many were not answered, and others are tried in their place.
"""

from __future__ import annotations

from twisted.internet.task import deferLater

from echosvc._text import format_duration, plural
from echosvc.probe.causes.lost_connections import (
    MANY_LOST,
    compare_paces,
    report_lost,
    report_one_lost,
)
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.answers import (
    Answer,
    ask,
    ask_in_turn,
    ask_together,
    count_answered,
    describe_ends,
    is_unanswered,
)
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path, gather
from echosvc.probe.engine.turns import LimitReached

#: A path may have a limit of each kind.
OPEN, RATE = "open", "rate"
_OPEN_ADVICE = (
    "a limit of open connections at a middlebox, or at the server (nginx limit_conn, HAProxy"
    " maxconn, Envoy connection_limit, xinetd per_source, ulimit -n); not more are opened from now"
    " on"
)
_RATE_ADVICE = (
    "a limit of connections a second at a middlebox, or at the server (HAProxy conn_rate, Envoy"
    " local_ratelimit, xinetd cps); fewer are opened from now on, or by --pace N"
)
#: How long other connections of the check are waited for, seconds: they count, too.
_ALONE = 40.0
#: How long no connection is opened once a limit a second was found, seconds.
_SETTLE_TIME = 2.0
#: So many connections a second are few; more are opened only where this took too long, seconds.
_SLOW_PACE, _SLOW_TIME = 4.0, 10.0
#: The most connections that are opened one after the other to find a limit.
_MOST = 60
#: How long it is waited for bytes that nobody has asked for, seconds.
_SURPLUS_TIME = 0.2
_AT_ONCE = "at once"
#: So many times more connections are lost at once where their number is the cause.
_FAR_MORE = 3
#: So many connections are opened in each of several places where one was lost and then none.
_ROUNDS = 6
#: How much of the rate that a path has allowed is used from then on.
_SHARE = 0.5


@cause(order=14, seconds=60.0 + _ALONE)
async def explain_by_limit(path: Path, failed: Failed) -> Cause | None:
    """Return how many connections are answered at once, or a second, where it is not all."""
    if isinstance(failed, LimitReached):  # it is reported already
        return Cause("limit", failed.finding, kind=OPEN)
    if not is_unanswered(failed) or not path.context.history.answered:
        return None
    count = max(path.settings.connections, path.most_open)
    knowledge = path.context.knowledge
    known, knowledge.connection_limit = knowledge.connection_limit, None
    try:
        if not await _is_answered(path):
            return None
        path.close()
        await path.wait_until_alone(_ALONE)
        often = max(count, min(_MOST, 2 * path.context.history.reached))
        found = await _explain_by_number(path, often, count) or await _slow_down(path, failed)
        if found is None and failed.at_opening:
            return report_one_lost(path, failed)
        return found or await _explain_by_chance(path, count)
    finally:
        knowledge.connection_limit = knowledge.connection_limit or known


async def _is_answered(path: Path) -> bool:
    """Return whether anything is answered at all. One connection may be lost by chance."""
    for _ in range(2):
        if (await ask(path, path.answer_time)).connection is not None:
            return True
    return False


async def _explain_by_number(path: Path, often: int, count: int) -> Cause | None:
    """Return what it is that some connections are not answered, in turn or at once.

    :param often: how many are opened one after the other.
    :param count: how many are opened at once.
    """
    began = path.reactor.seconds()
    in_turn = await ask_in_turn(path, often, path.answer_time)
    seconds, lost = path.reactor.seconds() - began, _share_lost(in_turn)
    if lost < MANY_LOST and (found := await _explain_by_open(path, count, lost)) is not None:
        return found
    if not 0 < lost < 1:
        return None
    return await _judge_rate(path, in_turn, seconds, "one after the other")


async def _explain_by_chance(path: Path, count: int) -> Cause | None:
    """Return that now and then a connection is not answered while others are opened and closed.

    :param count: in so many places connections are opened, one after the other in each.
    """
    began = path.reactor.seconds()
    asking = [ask_in_turn(path, _ROUNDS, path.answer_time) for _ in range(count)]
    answers = [answer for answers in await gather(asking) for answer in answers]
    seconds = path.reactor.seconds() - began
    path.close()
    if not 0 < _share_lost(answers) < MANY_LOST or any(each.came for each in answers):
        return None
    return await _judge_rate(path, answers, seconds, _AT_ONCE)


def _share_lost(answers: list[Answer]) -> float:
    """Return which part of the connections was not answered."""
    return 1 - count_answered(answers) / len(answers)


async def _judge_rate(path: Path, answers: list[Answer], seconds: float, how: str) -> Cause | None:
    """Return what it is that some of the connections were not answered.

    :return: ``None``: nothing is answered any more.
    """
    path.close()
    quickly = ask_together if how == _AT_ONCE else ask_in_turn
    limited, others = await compare_paces(path, len(answers), quickly)
    if limited is None:
        return None
    if limited:
        return await _rate(path, answers, seconds, how)
    return await report_lost(path, answers + others)


async def _rate(path: Path, answers: list[Answer], seconds: float, how: str) -> Cause:
    """Return a limit of connections a second, and keep to it from now on."""
    answered = count_answered(answers)
    path.context.knowledge.pace = _SHARE * answered / max(1.0, seconds)
    await deferLater(path.reactor, _SETTLE_TIME)
    finding = (
        f"{answered} of {plural(len(answers), 'connection')} {how}, within"
        f" {format_duration(seconds)}, were answered; the others"
        f" {describe_ends(answers, path.answer_time)}"
    )
    facts = {"answered": answered, "asked": len(answers), "seconds": round(seconds, 3)}
    return Cause("limit", finding, _RATE_ADVICE, facts, avoidable=True, kind=RATE)


async def _slow_down(path: Path, failed: Failed) -> Cause | None:
    """Return that a known limit of connections a second is lower than was thought."""
    knowledge = path.context.knowledge
    if not knowledge.pace:
        return None
    knowledge.pace *= _SHARE
    await deferLater(path.reactor, _SETTLE_TIME)
    return Cause("limit", failed.finding, _RATE_ADVICE, avoidable=True, kind=RATE)


async def _explain_by_open(path: Path, count: int, lost: float) -> Cause | None:
    """Open connections at once, then the same number slowly, and keep them open.

    A limit of open connections stops both; one of connections a second stops the first alone.

    :param lost: the part of those that were opened one after the other and were not answered.
    """
    began = path.reactor.seconds()
    first = await _count_at_once(path, count)
    seconds = path.reactor.seconds() - began
    if not 0 < count_answered(first) < count or any(each.came for each in first):
        return None
    await deferLater(path.reactor, _SETTLE_TIME)
    second = await _count_slowly(path, count)
    if count_answered(second) == count:
        return await _judge_rate(path, first, seconds, _AT_ONCE)
    if not (lost == 0 and _is_full(second)) and not _lose_more(first, second, lost):
        return await report_lost(path, first + second)
    counts = sorted({count_answered(first), count_answered(second)})
    if not 0 < counts[0] <= counts[-1] < count:
        return None
    path.context.knowledge.connection_limit = counts[0]
    number = " to ".join(map(str, counts))
    finding = (
        f"{number} of {plural(count, 'connection')} at once were answered; the others"
        f" {describe_ends(first, path.answer_time)}"
    )
    facts = {"limit": counts[0], "asked": count}
    return Cause("limit", finding, _OPEN_ADVICE, facts, avoidable=True, kind=OPEN)


def _is_full(answers: list[Answer]) -> bool:
    """Return whether those were answered that came first, and no other."""
    answered = [each.connection is not None for each in answers]
    return answered == sorted(answered, reverse=True)


def _lose_more(first: list[Answer], second: list[Answer], lost: float) -> bool:
    """Return whether far more are not answered at once than one after the other, both times.

    A router, for example, that translates addresses to a few ports may find no free one though
    there is one.

    :param lost: the part of those one after the other.
    """
    return min(map(_share_lost, (first, second))) > max(MANY_LOST, _FAR_MORE * lost)


async def _count_slowly(path: Path, count: int) -> list[Answer]:
    """Do the same at a pace that a limit of connections a second hardly is below."""
    knowledge = path.context.knowledge
    pace, knowledge.pace = knowledge.pace, max(_SLOW_PACE, count / _SLOW_TIME)
    try:
        return await _count_at_once(path, count)
    finally:
        knowledge.pace = pace


async def _count_at_once(path: Path, count: int) -> list[Answer]:
    """Ask ``count`` connections at once; return none if what is another's answer came on one."""
    answers = await ask_together(path, count, path.answer_time)
    answered = [each.connection for each in answers if each.connection is not None]
    for connection in answered:
        several = path.context.token in connection.prefix
        if several or await connection.listen(_SURPLUS_TIME / count):
            return []
    path.close()
    return answers
