"""Why connections end at some time: at an age, after a rest, or all at once by a restart.

An experiment watches busy connections and one that rests, for as long as the connection lived that
was ended while a probe used it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from echosvc._text import format_duration, plural
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.endings import (
    Ending,
    Lifetime,
    busy_age,
    count_moments,
    ended_at_once,
    find_lifetime,
    is_repeated,
    tolerance,
)
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.watch import count_resting, watch_lives

#: A connection that ended sooner did not end because of its age, seconds.
_MIN_AGE = 0.5
#: After the end of a connection that did not rest, nothing older is watched, seconds.
_MAX_AGE = 120.0
#: What was on its way at the end may come for a while: by this part of the age, or these seconds.
_LATE_PART, _LATE_SECONDS = 0.25, 1.0
#: A connection that is ended after a rest had rested for this part of that time at least, by what
#: the client saw: what it read late had come before.
_PAUSE_PART = 0.8
#: A connection is watched for so much longer: a busy machine sees its end late, seconds.
_MARGIN = 0.5
#: Connections are watched for so many times the time that one lived; again where some of them end,
#: and that proves nothing.
_WATCHES = (1, 2)
#: Streams that were cut may have met a restart: connections are watched for so long, seconds. Once
#: one was seen, for so many times the age that connections had reached.
_LEAST_WATCH, _RESTART_FACTOR = 3.5, 2.5
#: A path that restarts so often does it again.
_MOST_RESTARTS = 3
#: An experiment takes as long as the connection has lived: at most a week, seconds.
_LONGEST = 7 * 86400.0

ADVICE = (
    "a limit of life of a middlebox (Envoy: max_downstream_connection_duration), or of the server"
    " (--max-lifetime)"
)
IDLE_ADVICE = "an idle time-out of a middlebox, or of the server; --find-idle finds it"


class EndedTogether(Failed):
    """Connections that rested ended, and so did the busy one beside them.

    :ivar endings: of all of them.
    """

    def __init__(
        self,
        finding: str,
        endings: Sequence[Ending],
        facts: dict[str, Any] | None = None,
    ) -> None:
        why = "connections end on this path, whether they rest or not"
        super().__init__(finding, why, facts=facts)
        self.endings = endings
        self.age = busy_age(endings)


@cause(order=40, seconds=_LONGEST)
async def explain_by_lifetime(path: Path, failed: Failed) -> Cause | None:
    """Return that connections reach a certain age only, or rest for a certain time only."""
    age = failed.age or 0.0
    wrong = failed.fault is not None and failed.fault.kind is not FaultKind.CUT
    if wrong or isinstance(failed, EndedTogether):
        return None
    known = path.context.knowledge.lifetime
    if known and _may_be_age(failed, known):
        return _lifetime_cause(path, Lifetime(known, known, failed.end, False), avoidable=False)
    if not _MIN_AGE <= age <= _MAX_AGE:
        return None
    for longer in _WATCHES:
        endings = await watch_lives(path, longer * _watch_time(path, failed, age))
        found = _judge_ends(path, failed, endings)
        rested = not any(each.busy for each in endings)
        if found is not None or not endings or (rested and len(endings) == count_resting(path)):
            return found
        path.close()
    return None


def _judge_ends(path: Path, failed: Failed, endings: Sequence[Ending]) -> Cause | None:
    """Return what the ends of watched connections prove about that of another one."""
    lifetime = find_lifetime(endings, busy=2)
    if lifetime is not None:
        may_be = lifetime.varies or _may_be_age(failed, lifetime.longest)
        return _lifetime_cause(path, lifetime, avoidable=False) if may_be else None
    if sum(each.busy for each in endings) > 1:
        return _restart_cause(path, endings)
    return _idle_cause(path, endings, failed.pause)


def _idle_cause(path: Path, endings: Sequence[Ending], pause: float) -> Cause | None:
    """Return that a connection ended because no byte came for a while, if one at rest does, too.

    :param pause: seconds in which no byte came on the connection that ended.
    """
    if any(each.busy for each in endings) or len(endings) < count_resting(path):
        return None  # where several rest, a time-out ends all of them
    ending = endings[0]
    if pause < _PAUSE_PART * ending.idle:
        return None
    after = format_duration(ending.idle)
    finding = f"an idle connection is cut after {after}, by {ending.reason}"
    facts = {"idle_seconds": round(ending.idle, 3), "how": ending.reason}
    return Cause("idle", finding, IDLE_ADVICE, facts)


def _enough(age: float) -> float:
    """Return after which age a connection is not watched any more."""
    return age + _MARGIN + 2 * tolerance(age)


def _watch_time(path: Path, failed: Failed, age: float) -> float:
    """Return until which age connections are watched where one ended at this age."""
    cut = failed.fault is not None and failed.end in ("FIN", "RST")
    seconds = max(_enough(age), _LEAST_WATCH if cut else 0.0)
    again = _RESTART_FACTOR * path.context.knowledge.restart_age  # it may come later this time
    return max(seconds, min(again, _MAX_AGE))


def _may_be_age(failed: Failed, lifetime: float) -> bool:
    """Return whether a connection may have ended because of this limit of life.

    A client that reads nothing for a while sees the end later by as much.
    """
    age, late = failed.age or 0.0, max(_LATE_SECONDS, _LATE_PART * lifetime) + failed.pause
    return lifetime - 2 * tolerance(lifetime) <= age <= lifetime + late


@cause(order=3, seconds=_LONGEST)
async def explain_common_end(path: Path, failed: Failed) -> Cause | None:
    """Return whether connections that ended together have reached an age, or ended by a restart."""
    if not isinstance(failed, EndedTogether):
        return None
    age = busy_age(failed.endings)
    at_once = ended_at_once(failed.endings)
    try:
        for longer in _WATCHES[:1] if at_once else _WATCHES:
            path.close()
            endings = await watch_lives(path, longer * _enough(age))
            if (lifetime := find_lifetime(endings, busy=2)) is not None:
                break
    except Failed as again:
        return _restart_cause(path, failed.endings, f"; since then: {again.finding}")
    if lifetime is not None and (lifetime.varies or is_repeated(age, lifetime)):
        return _lifetime_cause(path, lifetime, avoidable=True)
    return _restart_cause(path, failed.endings) if lifetime is None else None


def _lifetime_cause(path: Path, lifetime: Lifetime, avoidable: bool) -> Cause:
    path.context.knowledge.lifetime = lifetime.shortest
    return Cause("lifetime", lifetime.describe(), ADVICE, lifetime.facts, avoidable=avoidable)


def _restart_cause(path: Path, endings: Sequence[Ending], since: str = "") -> Cause | None:
    if not ended_at_once(endings):
        return None
    knowledge = path.context.knowledge
    knowledge.restarts += 1
    knowledge.restart_age = max(knowledge.restart_age, *(each.age for each in endings))
    count = plural(len(endings), "connection")
    how = " or ".join(sorted({each.reason for each in endings}))
    moments = count_moments(endings)
    when = "the same moment" if moments == 1 else f"{moments} moments"
    finding = f"all {count}, busy or not, ended at {when}, by {how}{since}"
    advice = "a restart, a reload or a failover of a middlebox or of the server"
    facts = {"how": how, "connections": len(endings)}
    return Cause(
        "restart",
        finding,
        advice,
        facts,
        avoidable=not since and knowledge.restarts < _MOST_RESTARTS,
    )
