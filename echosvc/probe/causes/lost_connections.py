"""Connections that are not answered though others are: by chance, or at a dead server of several.

Theory of operation. What is lost by chance is lost at any pace. A limit of connections a second
answers all that are opened slowly, and of many that are opened quickly a good part is not answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from echosvc._text import plural
from echosvc.probe.causes.registry import Cause
from echosvc.probe.engine.answers import (
    Answer,
    ask_slowly,
    count_answered,
    describe_ends,
    wait_until_answered,
)
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.servers import describe_servers

#: How many other connections are tried where one is not answered.
_RETRIES = 4
#: How long it is waited for until a limit of connections a second lets some in again, seconds.
_WAIT = 15.0
#: How many are opened quickly at most, as a multiple of those before and as a number.
_FACTOR, _MOST = 2, 60
#: The least part of them that is not answered at a limit, and the least number.
_PART, _LEAST = 0.2, 3
#: The part of connections that is not answered where it is not by chance.
MANY_LOST = 0.25
_ADVICE = (
    "one of several servers is dead, and a middlebox passes connections to it all the same; or a"
    " middlebox, or the server, loses some connections"
)

Ask = Callable[[Path, int, float], Awaitable[list[Answer]]]


async def compare_paces(path: Path, count: int, quickly: Ask) -> tuple[bool | None, list[Answer]]:
    """Return whether connections are answered if they are opened slowly alone; and all answers.

    What was opened quickly may have used a limit up: it is waited until it lets some in again.
    ``None``: it does not, which has another cause.

    :param count: of so many that were opened quickly some were not answered.
    :param quickly: opens connections quickly.
    """
    if await wait_until_answered(path, _WAIT) is None:
        return None, []
    path.close()
    slowly = await ask_slowly(path)
    if count_answered(slowly) < len(slowly):
        return False, slowly
    many = min(_FACTOR * count, _MOST)
    answers = await quickly(path, many, path.answer_time)
    path.close()
    lost = len(answers) - count_answered(answers)
    return lost >= max(_LEAST, _PART * len(answers)), slowly + answers


async def report_lost(path: Path, answers: list[Answer]) -> Cause:
    """Return that some connections were not answered, and try others in their place from now on.

    :param answers: to all that were asked.
    """
    path.context.knowledge.retries = _RETRIES
    dead, asked = len(answers) - count_answered(answers), plural(len(answers), "connection")
    prefixes = [each.connection.prefix for each in answers if each.connection is not None]
    servers, facts = await describe_servers(path, prefixes)
    finding = f"{dead} of {asked} got no answer: they {describe_ends(answers, path.answer_time)}"
    facts |= {"unanswered": dead, "asked": len(answers)}
    return Cause("identity", f"{finding}; {servers}", _ADVICE, facts, avoidable=True)


def report_one_lost(path: Path, failed: Failed) -> Cause:
    """Do the same where one connection was not answered, and all that were asked later are.

    Where the path is known to restart, that is the reason.
    """
    if path.context.knowledge.restarts:
        return Cause("restart", failed.finding, avoidable=True)
    path.context.knowledge.retries = _RETRIES
    finding = f"{failed.finding}; the connections that were opened after it are answered"
    return Cause("identity", finding, failed.cause, avoidable=True)
