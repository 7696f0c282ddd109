"""How a connection ends on which nothing is sent: two probes wait for that, and only one long."""

from __future__ import annotations

from time import monotonic

from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path

#: How long an end is waited for by a probe that was not asked for by name, seconds.
SHORT_WAIT = 2.0


def after_expected_end(failed: Failed) -> Failed:
    """Return a failure that no time-out explains: an idle connection was to be ended."""
    failed.age = 0.0
    return failed


def idle_wait(path: Path, name: str) -> float:
    """Return how long the probe of this name waits for an end, in seconds.

    0: another probe has waited as long already, and none came.
    """
    timeout, known = path.settings.timeout, path.context.knowledge.idle_end
    wait = timeout if name in path.settings.only else min(SHORT_WAIT, timeout)
    return 0.0 if known is not None and known[0] == "silence" and known[1] >= wait else wait


async def wait_for_end(path: Path, connection: ProbeConnection, wait: float) -> tuple[str, float]:
    """Return how an idle connection ended, and after how many seconds.

    ``silence``: it did not end within ``wait`` seconds.
    """
    began, reason = monotonic(), "silence"
    try:
        while wait:
            await connection.receive(wait)
    except ConnectionEnded as end:
        reason = end.reason
    known = path.context.knowledge
    after = monotonic() - began
    if wait:
        known.idle_end = reason, wait if reason == "silence" else after
    return reason, after
