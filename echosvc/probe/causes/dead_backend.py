"""One of several servers is dead: some connections are answered, others are not."""

from __future__ import annotations

from echosvc._text import plural
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.answers import (
    Answer,
    ask_in_turn,
    count_answered,
    describe_ends,
    is_unanswered,
)
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.servers import describe_servers

#: How many connections are asked, and the seconds between two of them: a limit of connections a
#: second shall not be the cause.
_ASKED, _PAUSE = 10, 0.2
#: How many other connections are tried where one is not answered.
_RETRIES = 4


@cause(order=12, seconds=20.0)
async def explain_by_dead_backend(path: Path, failed: Failed) -> Cause | None:
    """Return that some connections are not answered, though no two are open at once."""
    history = path.context.history
    if not is_unanswered(failed) or not (history.answered or history.opened):
        return None
    answers = await ask_in_turn(path, _ASKED, path.answer_time, _PAUSE)
    if not _come_and_go(answers):
        return None
    path.context.knowledge.retries = _RETRIES
    dead, asked = len(answers) - count_answered(answers), plural(len(answers), "connection")
    prefixes = [each.connection.prefix for each in answers if each.connection is not None]
    servers, facts = await describe_servers(path, prefixes)
    finding = f"{dead} of {asked} got no answer: they {describe_ends(answers, path.answer_time)}"
    facts |= {"unanswered": dead, "asked": len(answers)}
    return Cause(
        "identity",
        f"{finding}; {servers}",
        "one of several servers is dead, and a middlebox passes connections to it all the same",
        facts,
        avoidable=True,
    )


def _come_and_go(answers: list[Answer]) -> bool:
    """Return whether answers came both before and after a connection without one.

    Otherwise the path has shut, or was shut until then, which has another cause.
    """
    answered = [answer.connection is not None for answer in answers]
    if all(answered) or not any(answered):
        return False
    first, last = answered.index(False), len(answered) - 1 - answered[::-1].index(False)
    return True in answered[first:last] or (True in answered[:first] and True in answered[last:])
