"""Probe of the life of connections: whether a busy one is cut, and after how long."""

from __future__ import annotations

from echosvc._text import format_duration
from echosvc.probe.causes.lifetime import EndedTogether
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.findings import Finding, Skipped
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.watch import watch_lives


@probe(
    "lifetime",
    order=170,
    summary="busy connections live --lifetime seconds",
    min_duration=lambda settings: settings.lifetime + 2.0,
    duration=lambda settings: settings.lifetime,
    enabled=lambda settings: settings.lifetime,
)
async def lifetime(path: Path) -> Finding:
    """Check that busy connections live as long as was asked for.

    Whether an age or a restart has ended one is found by the cause of the same name.
    """
    longest = path.settings.lifetime
    if not longest:
        raise Skipped("not asked for: --lifetime MAX")
    endings = await watch_lives(path, longest)
    busy = [each for each in endings if each.busy]
    if busy:
        ages = ", ".join(format_duration(each.age) for each in busy)
        raise EndedTogether(f"{len(busy)} of 2 busy connections ended: after {ages}", endings)
    text, facts = f"busy connections live {format_duration(longest)}", {"survived": longest}
    return Finding(text, facts=facts)
