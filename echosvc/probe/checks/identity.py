"""Probe of the servers that answer: their names, counted over several connections."""

from __future__ import annotations

from echosvc._text import plural
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.answers import ask_together, count_answered
from echosvc.probe.engine.findings import Finding, Skipped
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.servers import describe_servers


@probe("identity", order=30, summary="which servers answer, over several connections")
async def identity(path: Path) -> Finding:
    """Count the servers that answer over several connections."""
    prefixes = await _ask(path, path.allowed(path.settings.connections))
    if not any(prefixes):
        raise Skipped("the server has no prefix that would identify it")
    text, facts = await describe_servers(path, prefixes)
    return Finding(text, info=True, facts=facts)


async def _ask(path: Path, count: int) -> list[bytes]:
    """Return the prefixes of ``count`` connections that are open at once.

    :raises Failed: one of them is not answered.
    """
    if path.context.knowledge.connection_limit is not None:
        return [each.prefix for each in await path.open_many(count)]
    answers = await ask_together(path, count)
    failures = [answer.failed for answer in answers if answer.failed is not None]
    if failures:
        failed, dead = failures[0], count - count_answered(answers)
        of = f"{dead} of {plural(count, 'connection')}"
        failed.finding = f"{of} got no answer; the first of these: {failed.finding}"
        raise failed
    return [each.connection.prefix for each in answers if each.connection is not None]
