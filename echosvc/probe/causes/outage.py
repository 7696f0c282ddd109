"""Nothing answers any more: for a while, or as long as was waited for."""

from __future__ import annotations

from twisted.internet.task import deferLater

from echosvc._text import format_duration, plural
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.answers import Answer, ask, is_unanswered
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.history import SPAN
from echosvc.probe.engine.path import Path

#: Seconds between two questions.
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
#: How long answers are waited for, seconds; and after many connections, where a limit of
#: connections a second is likely: such a limit may last for half a minute.
_WAIT, _LONG_WAIT = 6.0, 30.0
#: So many connections within a second may have reached a limit.
_MANY_A_SECOND = 10
#: How much of the rate that a path has allowed is used from then on, if there was no other rate;
#: what that is reduced by otherwise; connections a second at least.
_SHARE, _LESS, _LEAST = 0.8, 0.5, 0.2


@cause(order=16, seconds=60.0)
async def explain_by_outage(path: Path, failed: Failed) -> Cause | None:
    """Return that nothing answers any more, or that nothing has answered for a while."""
    history = path.context.history
    came = failed.fault is not None and failed.fault.kind is not FaultKind.CUT
    if not history.answered or came:
        return None
    await path.wait_for_backlog(failed=True)
    first = await ask(path, path.answer_time)
    if first.connection is not None or first.failed is None or first.came:
        return None  # something answers, if not as it should
    return await _wait_for_end(path, first.failed, is_unanswered(failed))


async def _wait_for_end(path: Path, failed: Failed, refused: bool) -> Cause:
    """Wait until connections are answered again, and return what that shows.

    :param failed: the failure of the newest connection.
    :param refused: the probe failed since a connection was refused. A limit of connections a
        second refuses some, and ends none that was answered.
    """
    history = path.context.history
    began, alive, answered = history.refused_at, history.alive, history.answered
    last, many = history.burst(1.0), history.burst()
    known = path.context.knowledge.pace
    often = refused and (last[0] >= _MANY_A_SECOND or known > 0)
    until = await _ask_again(path, began + (_LONG_WAIT if often else _WAIT))
    seconds = path.reactor.seconds() - began
    before = f"after {plural(many[0], 'connection')} in {format_duration(many[1])}"
    facts = {"answered": answered, "seconds": round(seconds, 3)}
    if until is None:
        finding = (
            f"nothing has answered any more for {format_duration(seconds)}, {before}:"
            f" {failed.finding}"
        )
        return Cause("outage", finding, _describe_end(often), facts, final=True)
    words = f"no connection was answered for {format_duration(seconds)}, {before}"
    if not often:
        return Cause("outage", words, _RESTART, facts, avoidable=True)
    pace = _LESS * known if known else _SHARE * many[0] / SPAN
    path.context.knowledge.pace = max(pace, _LEAST)
    return Cause(
        "limit", words, _RATE if alive else f"{_RATE}; or {_RESTART}", facts, avoidable=True
    )


async def _ask_again(path: Path, until: float) -> Answer | None:
    """Return the first answer that comes before a moment; ``None``: there is none."""
    for pause in _PAUSES:
        if path.reactor.seconds() > until:
            break
        await deferLater(path.reactor, pause)
        answer = await ask(path, path.answer_time)
        if answer.connection is not None:
            return answer
    return None


_RESTART = "a restart of the server, or of a middlebox"
_RATE = "a limit of connections a second (xinetd cps, HAProxy conn_rate, a firewall); --pace N"
_ENDED = "the server has ended, or a middlebox has"


def _describe_end(often: bool) -> str:
    return f"{_ENDED}; or {_RATE}" if often else _ENDED
