"""The first bytes of a connection are held back until there are more of them."""

from __future__ import annotations

from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.connection import LONG_MESSAGE, HeldBack
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path


@cause(order=8)
async def explain_by_first_bytes(path: Path, failed: Failed) -> Cause | None:
    """Return that something looks at the first bytes, where a long first message is answered.

    The first message of all later connections is long.
    """
    if not isinstance(failed, HeldBack):
        return None
    knowledge = path.context.knowledge
    knowledge.first_message = LONG_MESSAGE
    try:
        await path.open()
    except Failed:
        knowledge.first_message = 1
        return None
    return Cause("first-bytes", failed.finding, failed.cause, avoidable=True, info=True)
