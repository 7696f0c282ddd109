"""Bytes of an earlier connection come on a new one: a connection to the server is used again."""

from __future__ import annotations

from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.findings import EARLIER, Failed
from echosvc.probe.engine.path import Path


@cause(order=4)
async def explain_by_reuse(path: Path, failed: Failed) -> Cause | None:  # noqa: ARG001
    """Return that the bytes that came are those of an earlier connection.

    It needs no experiment: a payload is random, so its bytes occur nowhere else.
    """
    if failed.facts.get("owner") != EARLIER:
        return None
    return Cause("reuse", failed.finding, failed.cause, failed.facts, avoidable=True)
