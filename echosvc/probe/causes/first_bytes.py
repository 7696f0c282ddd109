"""The first bytes of a connection are held back until there are more of them."""

from __future__ import annotations

from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.findings import Failed, HeldBack
from echosvc.probe.engine.path import Path


@cause(order=8)
async def explain_by_first_bytes(path: Path, failed: Failed) -> Cause | None:  # noqa: ARG001
    """Return that something looks at the first bytes, where another first message is answered.

    The experiment was made by the first exchange. Since then the first message of each connection
    is longer, or ends its line
    (:attr:`~echosvc.probe.engine.knowledge.Knowledge.first_message`).
    """
    if not isinstance(failed, HeldBack):
        return None
    return Cause("first-bytes", failed.finding, failed.cause, avoidable=True, info=True)
