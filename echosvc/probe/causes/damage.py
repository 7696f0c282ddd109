"""A fault of streams that was reported already makes other probes fail, too.

Theory of operation. A path that loses bytes of each stream does so whatever is asked. Where a probe
finds a fault of the same kind and length behind as many bytes of its connection, it is the same
one. Where the kind is the same and the place is not, plain streams are sent again: if their faults
of this kind are in different places, the place means nothing. If they are always in the place that
is known, or there are none, the new fault is another one, and it is the probe's own.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.damage import Damage, are_beside
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.plain_stream import send_plain_stream
from echosvc.probe.engine.tcp_info import Stall
from echosvc.probe.settings import MIB

#: Under which name a fault of plain streams is reported that is no probe's.
NAME = "stream"
#: How many plain streams are sent at most.
_TIMES = 5
#: Their size, bytes: beyond the fault by as much, within these limits.
_LEAST, _MOST = MIB, 16 * MIB
#: Figures of failures that say what their bytes are.
_EXPLAINED = {"changed", "owner"}


@cause(order=2)
async def explain_by_same_damage(path: Path, failed: Failed) -> Cause | None:
    """Return the fault of streams that was reported before, where this one is the same."""
    fault, known = failed.fault, path.context.knowledge.damages
    if fault is None or _EXPLAINED & failed.facts.keys():
        return None
    same = (each for each in known if each.is_same(fault, failed.end))
    return next((_refer(each, failed) for each in same), None)


@cause(order=64)
async def explain_by_same_stall(path: Path, failed: Failed) -> Cause | None:
    """Return the stream that was reported to stop since packets of ours are dropped.

    What drops some packets stops each stream at another place. It is not sent again to find that
    out, since each time takes a time-out.
    """
    fault, dropped = failed.fault, Stall.DROPPED.value
    if fault is None or failed.end != "silence" or stall_of(failed) != dropped:
        return None
    for each in path.context.knowledge.damages:
        if each.stall == dropped and each.is_alike(fault, failed.end):
            return _refer(each, failed)
    return None


def stall_of(failed: Failed) -> str:
    """Return where a stream stopped, as the kernel knew it at the failure; or ""."""
    return str(failed.facts.get("tcp", {}).get("stall", ""))


@cause(order=90, seconds=20.0)
async def explain_by_scattered_damage(path: Path, failed: Failed) -> Cause | None:
    """Return a fault of the same kind that was reported, where its place means nothing."""
    fault, known = failed.fault, path.context.knowledge.damages
    if fault is None or fault.kind is FaultKind.CUT or _EXPLAINED & failed.facts.keys():
        return None
    size = min(max(2 * fault.offset, _LEAST), _MOST)
    for each in known:
        if each.is_alike(fault, failed.end):
            scattered = await _is_scattered(path, size, each)
            return _refer(each, failed) if scattered else None
    return None


def _refer(known: Damage, failed: Failed) -> Cause:
    """Return a failure as that of the result that reports the same fault."""
    return replace(Cause(NAME, failed.finding, failed.cause), name=known.name)


async def _is_scattered(path: Path, size: int, known: Damage) -> bool:
    """Return whether plain streams have faults like the known one in different places."""
    found = [known.fault]
    for _ in range(_TIMES):
        failed = await send_plain_stream(path, size)
        if failed and failed.fault is not None and known.is_alike(failed.fault, failed.end):
            found.append(failed.fault)
        if any(not are_beside(one, other) for one, other in combinations(found, 2)):
            return True
    return False
