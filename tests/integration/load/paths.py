"""Loads over real sockets, in this process, through a relay that injects faults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from echosvc import EchoFactory, load
from echosvc.faults.relay import Relay
from echosvc.faults.spec import FaultSpec
from echosvc.probe.traffic.load_result import LoadResult
from tests.support.reactor import serving, within
from tests.support.waiting import LIMIT

#: However busy the machine is, its figures are not what these tests are about.
ANY_GENERATOR = {"max_send_lag": 1000.0, "max_cpu_wait": 1.0}


@asynccontextmanager
async def relayed(faults: FaultSpec | None = None, **server: Any) -> AsyncIterator[str]:
    """The endpoint of a relay before a server of these settings."""
    async with AsyncExitStack() as stack:
        factory = EchoFactory(log="quiet", **server)
        address = await stack.enter_async_context(serving(factory))
        relay = Relay(reactor, [address], faults)
        stack.push_async_callback(lambda: within(relay.stop()))
        yield f"tcp:127.0.0.1:{relay.listen()}"


async def loaded(endpoint: str, **options: Any) -> LoadResult:
    """The result of a load of so many messages as are due, however long they take."""
    options = {"connections": 1, "rate": 200.0, "duration": 0.5, "grace": 10.0, **options}
    running = Deferred.fromCoroutine(load(endpoint, **ANY_GENERATOR, **options))
    return await within(running, 2 * LIMIT)


def wrong(result: LoadResult) -> dict[str, int]:
    """The counters of faults that are not 0."""
    names = ("lost", "damaged", "reordered", "duplicated", "late", "abandoned", "unexpected_bytes")
    counted = {name: getattr(result.tally, name) for name in names}
    return {name: count for name, count in counted.items() if count}
