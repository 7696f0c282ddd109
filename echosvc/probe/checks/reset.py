"""Probe of resets: whether the server's reset arrives as one."""

from __future__ import annotations

from time import monotonic

from echosvc._text import format_duration
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path

#: How long the server's reset is waited for if the probe was not asked for by name, seconds.
RESET_WAIT = 2.0


@probe("reset", order=140, summary="the server's reset arrives (needs --idle-action reset there)")
async def reset(path: Path) -> Finding:
    """Check that the server's reset arrives as one."""
    asked = "reset" in path.settings.only
    wait = path.settings.timeout if asked else min(RESET_WAIT, path.settings.timeout)
    connection = await path.open()
    if not connection.client.had_socket:
        raise Skipped("this transport has no resets")
    reason, after = await _wait_for_end(connection, wait)
    if reason == "RST":
        return Finding(
            f"the server's reset arrives as RST, after {format_duration(after)}",
            facts={"how": reason},
        )
    if not asked:
        came = (
            f"FIN after {format_duration(after)}" if reason == "FIN" else f"none within {wait:g} s"
        )
        raise Skipped(f"{came}: needs --idle-action reset at the server; then ask by --only reset")
    if reason == "FIN":
        raise Failed(
            f"FIN arrives in place of a reset, after {format_duration(after)}",
            "a middlebox turns an abort into a clean end: what was cut off looks whole;"
            " or the server has no --idle-action reset",
            facts={"how": reason},
        )
    raise Failed(
        f"no reset arrives within {wait:g} s",
        "a middlebox drops it, or the server has no --idle-action reset",
        facts={"how": reason},
    )


async def _wait_for_end(connection: ProbeConnection, wait: float) -> tuple[str, float]:
    """Return how the connection ended, and after how many seconds."""
    began = monotonic()
    try:
        while True:
            await connection.receive(wait)
    except ConnectionEnded as end:
        return end.reason, monotonic() - began
