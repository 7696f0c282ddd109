"""Probe of resets: whether the server's reset arrives as one."""

from __future__ import annotations

from echosvc._text import format_duration
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.idle_end import (
    SHORT_WAIT,
    after_expected_end,
    idle_wait,
    wait_for_end,
)
from echosvc.probe.engine.path import Path


@probe("reset", order=140, summary="the server's reset arrives (needs --idle-action reset there)")
async def reset(path: Path) -> Finding:
    """Check that the server's reset arrives as one."""
    asked = "reset" in path.settings.only
    connection = await path.open()
    if not connection.client.had_socket:
        raise Skipped("this transport has no resets")
    wait = idle_wait(path, "reset")
    reason, after = await wait_for_end(path, connection, wait)
    return _judge(reason, after, wait) if asked else _not_asked(reason, after)


def _judge(reason: str, after: float, wait: float) -> Finding:
    """Return that a reset came that was asked for.

    :raises Failed: none did.
    """
    if reason == "RST":
        return Finding(
            f"the server's reset arrives as RST, after {format_duration(after)}",
            facts={"how": reason},
        )
    if reason == "silence":
        raise Failed(
            f"no reset arrives within {wait:g} s",
            "a middlebox drops it, or the server has no --idle-action reset",
            facts={"how": reason},
        )
    failed = Failed(
        f"{reason} arrives in place of a reset, after {format_duration(after)}",
        "a middlebox turns an abort into a clean end: what was cut off looks whole;"
        " or the server has no --idle-action reset",
        facts={"how": reason},
    )
    raise after_expected_end(failed)


def _not_asked(reason: str, after: float) -> Finding:
    """Return that a reset came, of the server or of a middlebox.

    :raises Skipped: none came.
    """
    seconds = format_duration(after)
    if reason == "RST":
        return Finding(
            f"RST after {seconds}: of the server, if it has --idle-action reset, or of a middlebox",
            info=True,
            facts={"how": reason},
        )
    came = f"none within {SHORT_WAIT:g} s" if reason == "silence" else f"{reason} after {seconds}"
    raise Skipped(f"{came}: needs --idle-action reset at the server; then ask by --only reset")
