"""In this process, on the reactor that pytest-twisted runs.

The reactor is imported late: importing this module must not install one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from echosvc import EchoFactory


from tests.support.waiting import LIMIT


def within(waited: Deferred[Any], seconds: float = LIMIT) -> Deferred[Any]:
    """``waited``, bounded."""
    from twisted.internet import reactor

    return waited.addTimeout(seconds, reactor)


def in_thread(function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
    """Run what blocks, e.g. a plain socket's client, beside the reactor."""
    from twisted.internet.threads import deferToThread

    return within(deferToThread(function, *arguments))


async def turn(seconds: float = 0.0) -> None:
    """Let the reactor work."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    await deferLater(reactor, seconds)


async def until(true: Callable[[], object], limit: float = LIMIT) -> None:
    """:func:`wait_until` for code that runs on the reactor."""
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, f"not within {limit} s: {true}"
        await turn(0.002)


@contextmanager
def no_faults() -> Iterator[list[dict[str, Any]]]:
    """Fail where an exception was logged meanwhile; a test may take out those it expects."""
    from twisted.logger import globalLogPublisher

    faults: list[dict[str, Any]] = []

    def observe(event: dict[str, Any]) -> None:
        if "log_failure" in event:
            faults.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield faults
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not faults, "\n".join(str(fault["log_failure"].getTraceback()) for fault in faults)


@asynccontextmanager
async def serving(
    factory: EchoFactory, where: str = "tcp:0:interface=127.0.0.1"
) -> AsyncIterator[Any]:
    """The factory on a listener; gives the address for plain sockets."""
    from twisted.internet import reactor

    from echosvc.endpoints import server_endpoint

    with no_faults():
        port = await server_endpoint(reactor, where).listen(factory)
        address = port.getHost()
        try:
            yield (address.host, address.port) if hasattr(address, "port") else where[5:]
        finally:
            await within(port.stopListening())
            factory.abort_all()
            await within(factory.when_idle())
