"""Experiments that watch connections until they end: an age, a rest, or a restart."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from echosvc import EchoFactory
from echosvc.endpoints import client_endpoint
from echosvc.probe.causes.lifetime import EndedTogether, explain_by_lifetime, explain_common_end
from echosvc.probe.checks.idle import idle
from echosvc.probe.engine.endings import Ending
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import Failed, Skipped
from echosvc.probe.engine.path import Path
from echosvc.probe.settings import CheckSettings
from tests.support.checking import TIMEOUT
from tests.support.reactor import serving, within

#: How old connections become, or how long they may rest, seconds.
MOST = 0.6


@asynccontextmanager
async def a_path(asked: dict[str, Any] | None = None, **server: Any) -> AsyncIterator[Path]:
    """A path to a server of these settings."""
    async with serving(EchoFactory(log="quiet", **server)) as (host, port):
        target = client_endpoint(reactor, f"tcp:{host}:{port}")
        path = Path(reactor, target, CheckSettings(timeout=TIMEOUT, **(asked or {})))
        try:
            yield path
        finally:
            path.close()


def cut(age: float, pause: float = 0.0) -> Failed:
    """What a probe meets whose connection is ended."""
    failed = Failed("then came FIN", end="FIN")
    failed.age, failed.pause = age, pause
    return failed


def run(work: Any) -> Deferred[Any]:
    return within(Deferred.fromCoroutine(work))


@pytest_twisted.ensureDeferred
async def test_busy_connections_that_end_at_an_age_have_a_limit_of_life():
    async with a_path(max_lifetime=MOST) as path:
        cause = await run(explain_by_lifetime(path, cut(MOST)))
        assert (cause.name, cause.facts["how"]) == ("lifetime", "FIN")
        assert path.context.knowledge.lifetime >= 0.9 * MOST  # the client is told of it later
        began = time.monotonic()
        again = await run(explain_by_lifetime(path, cut(path.context.knowledge.lifetime)))
        assert again.name == "lifetime"
        assert time.monotonic() - began < MOST  # it is known, and not watched again


@pytest_twisted.ensureDeferred
async def test_a_connection_that_rested_and_ended_has_an_idle_time_out():
    async with a_path(idle_timeout=MOST, idle_action="close") as path:
        cause = await run(explain_by_lifetime(path, cut(2 * MOST, pause=2 * MOST)))
        assert (cause.name, cause.facts["how"]) == ("idle", "FIN")
        path.close()
        assert await run(explain_by_lifetime(path, cut(2 * MOST, pause=0.1))) is None


@pytest_twisted.ensureDeferred
async def test_where_connections_live_on_there_is_another_cause():
    async with a_path() as path:
        assert await run(explain_by_lifetime(path, cut(MOST))) is None


@pytest.mark.parametrize(
    "failed",
    [
        cut(0.1),
        cut(1000.0),
        Failed("1 byte lost", fault=Fault(FaultKind.LOST, 5, 1)),
        EndedTogether("all ended", ()),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_end_at_an_age_is_not_watched(failed):
    async with a_path(max_lifetime=MOST) as path:
        assert await run(explain_by_lifetime(path, failed)) is None
        assert path.context.history.opened == 0


def together(age: float) -> EndedTogether:
    """A busy connection and one at rest that ended together."""
    ends = [Ending(busy, 0.0, age - 0.1 if busy else 0.1, age, "FIN") for busy in (True, False)]
    return EndedTogether("all ended", ends)


@pytest_twisted.ensureDeferred
async def test_connections_that_ended_together_reached_an_age_or_were_restarted():
    async with a_path(max_lifetime=MOST) as path:
        cause = await run(explain_common_end(path, together(MOST)))
        assert (cause.name, cause.avoidable) == ("lifetime", True)
        assert await run(explain_common_end(path, cut(MOST))) is None
    async with a_path() as path:
        cause = await run(explain_common_end(path, together(MOST)))
        assert (cause.name, cause.avoidable) == ("restart", True)
        assert cause.finding == "all 2 connections, busy or not, ended at the same moment, by FIN"


@pytest_twisted.ensureDeferred
async def test_idle_times_are_asked_of_one_connection_after_the_other_where_no_more_are_allowed():
    async with a_path({"idle": (0.1, 2 * MOST)}, idle_timeout=MOST, idle_action="close") as path:
        path.context.knowledge.connection_limit = 1
        with pytest.raises(Failed) as caught:
            await run(idle(path))
    assert caught.value.facts["survived"] == [0.1]
    assert caught.value.finding.startswith("survived 0.1 s; not 1.2 s: FIN after ")


@pytest_twisted.ensureDeferred
async def test_idle_times_that_connections_do_not_reach_are_not_asked():
    async with a_path({"idle": (2.0,)}) as path:
        path.context.knowledge.lifetime = 1.0
        with pytest.raises(Skipped, match=r"^see lifetime: connections live 1 s at most"):
            await run(idle(path))
        assert path.context.history.opened == 0
