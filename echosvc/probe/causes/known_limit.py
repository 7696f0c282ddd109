"""A limit of open connections that is known already: a connection is not answered for that reason.

Theory of operation. Where packets beyond a limit are dropped, a connection that was closed may
still count for a while: a router, for example, that translates addresses keeps a port for some time
after a connection. So there is silence now and then though no more are open than are allowed. It
proves nothing new. The probe is asked again once a connection is answered, with one connection less
where it had opened as many as are allowed.
"""

from __future__ import annotations

from twisted.internet.task import deferLater

from echosvc.probe.causes.limit import OPEN
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.answers import ask
from echosvc.probe.engine.connect_errors import NotConnected
from echosvc.probe.engine.findings import Failed, Unanswered
from echosvc.probe.engine.path import Path

#: How many connections are asked whether they are answered again, and the seconds between two.
_TRIES, _PAUSE = 16, 0.5


@cause(order=9, seconds=20.0)
async def explain_by_known_limit(path: Path, failed: Failed) -> Cause | None:
    """Return the limit of open connections that is known, where a first message meets silence."""
    limit = path.context.knowledge.connection_limit
    if limit is None or failed.end != "silence" or not _is_opening(failed):
        return None
    full = path.most_open >= limit
    if not await is_answered_again(path):
        return None
    if full:
        path.context.knowledge.connection_limit = max(1, limit - 1)
    return Cause("limit", failed.finding, avoidable=True, kind=OPEN)


async def is_answered_again(path: Path) -> bool:
    """Return whether a connection is answered, of some that are asked one after the other."""
    for _ in range(_TRIES):
        await deferLater(path.reactor, _PAUSE)
        if (await ask(path, path.retry_time)).connection is not None:
            return True
    return False


def _is_opening(failed: Failed) -> bool:
    return isinstance(failed, NotConnected) or (isinstance(failed, Unanswered) and failed.first)
