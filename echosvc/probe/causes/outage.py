"""Nothing answers any more: for a while, or as long as was waited for."""

from __future__ import annotations

from typing import Any

from echosvc._text import format_duration, plural
from echosvc.probe.causes.known_limit import is_answered_again
from echosvc.probe.causes.limit import RATE
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.answers import (
    ask,
    ask_together,
    count_answered,
    is_unanswered,
    wait_until_answered,
)
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.history import ConnectionHistory
from echosvc.probe.engine.path import Path

#: How long answers are waited for, seconds; and after many connections, where a limit of
#: connections a second is likely: such a limit may last for half a minute.
_WAIT, _LONG_WAIT = 6.0, 30.0
#: So many connections may have reached a limit, in a second or in ten; so many reach it again.
_MANY, _MOST = 10, 60
#: Over so many seconds the connections are counted that were answered before, for the pace of the
#: later ones, and for people: limits are often those of a minute.
_SPAN, _MINUTE = 10.0, 60.0
#: How much of the rate that a path has allowed is used from then on, if there was no other rate;
#: what that is reduced by otherwise; connections a second at least.
_SHARE, _LESS, _LEAST = 0.8, 0.5, 0.2


@cause(order=16, seconds=100.0)
async def explain_by_outage(path: Path, failed: Failed) -> Cause | None:
    """Return that nothing answers any more, or that nothing has answered for a while."""
    history = path.context.history
    came = failed.fault is not None and failed.fault.kind is not FaultKind.CUT
    if not history.answered or came:
        return None
    await path.wait_for_backlog(failed=True)
    opened = history.opened
    first = await ask(path, path.answer_time)
    if first.connection is not None or first.failed is None or first.is_alive:
        return None  # something answers, if not as it should
    if path.context.knowledge.connection_limit is not None and await is_answered_again(path):
        return None  # at a limit, one may be silent
    ended = _describe_end(path, first.failed, history.opened > opened)
    return await _wait_for_end(path, first.failed, is_unanswered(failed), ended)


async def _wait_for_end(path: Path, failed: Failed, refused: bool, ended: str) -> Cause:
    """Wait until connections are answered again, and return what that shows.

    :param failed: the failure of the newest connection.
    :param refused: the probe failed since a connection was refused. A limit of connections a
        second refuses some, and ends none that was answered.
    :param ended: what has happened if it is no limit, and lasts.
    """
    history, known = path.context.history, path.context.knowledge.pace
    began, many = history.refused_at, history.burst(_SPAN)[0]
    before, facts = _describe_before(history)
    often = refused and (max(history.reached, many) >= _MANY or known > 0)
    at_once = history.reached >= _MANY
    again = await wait_until_answered(path, _LONG_WAIT if often else _WAIT)
    seconds = path.reactor.seconds() - began
    facts["seconds"] = round(seconds, 3)
    if again is None:
        lasting = format_duration(seconds)
        finding = f"nothing has answered any more for {lasting}, {before}: {failed.finding}"
        advice = f"{ended}; or {_RATE_OR_BYTES}" if refused else ended
        return Cause("outage", finding, advice, facts, final=True, kind="lasting")
    words = f"no connection was answered for {format_duration(seconds)}, {before}"
    proven = often and (known > 0 or await _shuts_again(path, many, facts))
    if proven or (refused and at_once):
        pace = _LESS * known if known else _SHARE * many / _SPAN
        path.context.knowledge.pace = pace = max(pace, _LEAST)
        advice = _RATE if proven else f"{_RATE_OR_BYTES}; or {_RESTART}"
        advice += f"; the check goes on at a pace of {pace:.2g} a second, so it takes longer"
        return Cause("limit", words, advice, facts, avoidable=True, kind=RATE)
    advice = f"{_RESTART}; or {_RATE_OR_BYTES}" if refused else _RESTART
    return Cause("outage", words, advice, facts, avoidable=True, kind="passing")


async def _shuts_again(path: Path, many: int, facts: dict[str, Any]) -> bool:
    """Return whether connections alone, opened at once, make the path shut once more.

    What a restart, or a limit of bytes, has shut stays open. A limit of open connections answers
    the next one once those are closed.

    :param many: how many were answered before it had shut.
    """
    path.close()
    answers = await ask_together(path, min(2 * many, _MOST), path.answer_time)
    path.close()
    facts["answered_again"] = count_answered(answers)
    if count_answered(answers) == len(answers):
        return False
    if (await ask(path, path.answer_time)).connection is not None:
        return False
    await wait_until_answered(path, _LONG_WAIT)
    return True


def _describe_before(history: ConnectionHistory) -> tuple[str, dict[str, Any]]:
    """Return how many connections were answered before, and in which time; and the facts."""
    count, seconds = history.burst(_MINUTE)
    facts: dict[str, Any] = {"answered": history.answered}
    if not count:
        ago = f"the last of them more than {_MINUTE:g} s before"
        return f"after {plural(history.answered, 'connection')}, {ago}", facts
    facts |= {"answered_before": count, "seconds_before": round(seconds, 3)}
    words = f"after {plural(count, 'connection')}"
    return f"{words} in {format_duration(seconds)}" if count > 1 else words, facts


def _describe_end(path: Path, failed: Failed, connected: bool) -> str:
    """Return why nothing answers any more, if it is no limit.

    :param failed: the failure of the newest connection.
    :param connected: it was made, with TLS where that is spoken.
    """
    if failed.end != "silence":
        return _ENDED
    if connected:
        return _HANGS
    return _UNKNOWN if path.context.encrypted else _DROPPED


_RESTART = "a restart of the server, or of a middlebox"
_RATE = (
    "a limit of connections a second or a minute (xinetd cps, HAProxy conn_rate, a firewall);"
    " --pace N"
)
_RATE_OR_BYTES = (
    "a limit of connections a second or a minute (xinetd cps, HAProxy conn_rate, a firewall;"
    " --pace N), or one of bytes in a time"
)
_ENDED = "the server has ended, or a middlebox has"
_HANGS = "connections are still made: the server hangs, or a middlebox does"
#: The kernel of a server that has ended refuses connections.
_DROPPED = "the host is gone, or a firewall drops packets to it"
_UNKNOWN = "the host is gone, a firewall drops packets to it, or what speaks TLS there hangs"
