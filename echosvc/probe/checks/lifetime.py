"""Probe of the life of connections: after how long is a busy one cut."""

from __future__ import annotations

from echosvc._text import format_duration
from echosvc.probe.causes.lifetime import EndedTogether
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.endings import busy_age, find_lifetime, is_repeated, tolerance
from echosvc.probe.engine.findings import Finding, Skipped
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.watch import watch_lives


@probe(
    "lifetime",
    order=170,
    summary="after how long busy connections are cut (with --lifetime)",
    min_duration=lambda settings: 2.1 * settings.lifetime + 2.0,
    duration=lambda settings: settings.lifetime,
    enabled=lambda settings: settings.lifetime,
)
async def lifetime(path: Path) -> Finding:
    """Find the age at which a connection is cut though it is busy.

    An age that was found must come again on other connections: a restart does not.
    """
    longest = path.settings.lifetime
    if not longest:
        raise Skipped("not asked for: --lifetime MAX")
    endings = await watch_lives(path, longest)
    ended = sum(each.busy for each in endings)
    if not ended:
        facts = {"lifetime_seconds": None, "survived": longest}
        return Finding(f"busy connections live {format_duration(longest)}", info=True, facts=facts)
    path.close()
    age = busy_age(endings)
    again = find_lifetime(await watch_lives(path, age + 0.2 + 2 * tolerance(age)), busy=2)
    if again is not None and is_repeated(age, again):
        path.context.knowledge.lifetime = again.shortest
        return Finding(again.describe(), info=True, facts=again.facts)
    finding = f"{ended} of 2 busy connections ended after {format_duration(age)}"
    raise EndedTogether(finding, endings, searched=True)
