"""Bytes that were sent on one connection come on another one that is open at the same time.

Theory of operation. A connection whose answers go to another one loses them: its stream has a hole,
or stops, and the other one has too many. So where bytes are missing or inserted, and other
connections were open, several are opened, and on all of them short messages are exchanged at once,
again and again. A payload is random, so its bytes on another connection prove that a middlebox
mixes connections up.
"""

from __future__ import annotations

from collections.abc import Sequence

from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.answers import ask_together, is_unanswered
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import ANOTHER, Failed
from echosvc.probe.engine.path import Path, gather
from echosvc.probe.engine.turns import LimitReached

#: Under which name it is reported.
_NAME = "connections"
#: How long probes that are asked beside others are waited for, seconds.
_ALONE = 40.0
#: How many connections exchange messages at once, at most, and the bytes of each.
_CONNECTIONS, _SIZE = 8, 64
#: How often this is done where something is wrong, and nothing is proved.
_TRIES = 4
#: How often they do, for so many seconds at most.
_ROUNDS, _SECONDS = 60, 3.0
#: What becomes of streams.
_MOVED = (FaultKind.LOST, FaultKind.INSERTED, FaultKind.GARBLED)
#: How long an answer is waited for: seconds, and round trips in addition.
_WAIT, _ROUND_TRIPS = 0.3, 8


@cause(order=5)
async def explain_by_known_mixing(path: Path, failed: Failed) -> Cause | None:
    """Return that a middlebox mixes connections up, where that is known already.

    It may keep connections that have ended, so bytes may be missing though no other one is open.
    """
    mixed = _is_foreign(failed) or _may_be_mixed(failed) or isinstance(failed, LimitReached)
    if not path.context.knowledge.mixes or not mixed:
        return None
    return Cause(_NAME, failed.finding, failed.cause, failed.facts)


@cause(order=7, seconds=20.0 + _ALONE)
async def explain_by_mixing(path: Path, failed: Failed) -> Cause | None:
    """Return that bytes of one connection came on another one.

    It is a failure of `connections`. Later probes open one at a time where they can.
    """
    if not _is_foreign(failed):
        if path.most_open < 2 or not path.context.history.answered or not _may_be_mixed(failed):
            return None
        proof = await _find_mixed(path)
        if proof is None:
            return None
        failed = proof
    path.context.knowledge.mixes = True
    path.close()
    await path.wait_until_alone(_ALONE)
    return Cause(_NAME, failed.finding, failed.cause, failed.facts, avoidable=True)


def _is_foreign(failed: Failed) -> bool:
    """Return whether it is known that bytes of another connection came."""
    return failed.facts.get("owner") == ANOTHER


async def _find_mixed(path: Path) -> Failed | None:
    """Return that bytes of another connection came, on connections that are opened for that."""
    for _ in range(_TRIES):
        path.close()
        wrong = await _find_wrong(path)
        mixed = next(filter(_is_foreign, wrong), None)
        if mixed is not None or not wrong:
            return mixed
    return None


def _may_be_mixed(failed: Failed) -> bool:
    """Return whether bytes are missing, or too many, as where they go to another connection."""
    fault = failed.fault
    if fault is None:
        return is_unanswered(failed) and failed.end == "silence"
    return failed.end == "silence" if fault.kind is FaultKind.CUT else fault.kind in _MOVED


async def _find_wrong(path: Path) -> list[Failed]:
    """Exchange messages on several connections at once; return what was wrong with answers."""
    asked = await ask_together(path, path.allowed(_CONNECTIONS), path.retry_time)
    connections = [each.connection for each in asked if each.connection is not None]
    wrong: list[Failed] = []
    until = path.reactor.seconds() + _SECONDS
    for _ in range(_ROUNDS):
        if len(connections) < 2 or path.reactor.seconds() > until:
            break
        ends = await gather([_exchange(path, each) for each in connections])
        wrong += [end for end in ends if end is not None]
        connections = _unharmed(connections, ends)
    return wrong


def _unharmed(
    connections: Sequence[ProbeConnection], ends: Sequence[Failed | None]
) -> list[ProbeConnection]:
    """Return the connections whose messages were answered: one may have got too much."""
    return [each for each, end in zip(connections, ends, strict=True) if end is None]


async def _exchange(path: Path, connection: ProbeConnection) -> Failed | None:
    """Exchange a message; return what is wrong with its answer."""
    try:
        seconds = _WAIT + _ROUND_TRIPS * connection.rtt
        await connection.exchange(path.payload(_SIZE, connection), seconds)
    except Failed as failed:
        return failed
    return None
