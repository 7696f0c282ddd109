"""One of several servers is dead: some connections are answered, others are not."""

from __future__ import annotations

from echosvc.probe.causes.lost_connections import MANY_LOST, compare_paces, report_lost
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.answers import (
    Answer,
    ask_in_turn,
    ask_together,
    count_answered,
    is_unanswered,
)
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path

#: How many connections are asked, and the seconds between two of them: a limit of connections a
#: second shall not be the cause.
_ASKED, _PAUSE = 10, 0.2
#: Where none of so many connections was answered, no server is alive among several.
_ENOUGH = 6


@cause(order=12, seconds=40.0)
async def explain_by_dead_backend(path: Path, failed: Failed) -> Cause | None:
    """Return that some connections are not answered, though no two are open at once."""
    history = path.context.history
    if not is_unanswered(failed) or not (history.answered or 0 < history.opened < _ENOUGH):
        return None
    answers = await ask_in_turn(path, _ASKED, path.answer_time, _PAUSE)
    if not _come_and_go(answers) or _is_for_their_number(path, answers):
        return None
    path.close()
    limited, _ = await compare_paces(path, len(answers), ask_together)
    return await report_lost(path, answers) if limited is False else None


def _is_for_their_number(path: Path, answers: list[Answer]) -> bool:
    """Return whether few are lost one after the other, and the failure was one of many at once.

    Then it may be a limit of open connections, which other experiments show.
    """
    return path.most_open > 1 and count_answered(answers) > (1 - MANY_LOST) * len(answers)


def _come_and_go(answers: list[Answer]) -> bool:
    """Return whether answers came both before and after a connection without one.

    Otherwise the path has shut, or was shut until then, which has another cause.
    """
    answered = [answer.connection is not None for answer in answers]
    if all(answered) or not any(answered):
        return False
    first, last = answered.index(False), len(answered) - 1 - answered[::-1].index(False)
    return True in answered[first:last] or (True in answered[:first] and True in answered[last:])
