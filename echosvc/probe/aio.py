"""On asyncio, not on a Twisted reactor: ``check``, and a reactor for what else runs on one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, cast

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from echosvc.endpoints.strings import EndpointError
from echosvc.probe.check import CheckOptions, check
from echosvc.probe.engine.connection import CLOSE_TIMEOUT
from echosvc.probe.result import CheckResult

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11

_Result = TypeVar("_Result")

#: Seconds between two checks whether the last connections have ended, and until it is given up.
_CHECK_INTERVAL, _MAX_IDLE_WAIT = 0.01, CLOSE_TIMEOUT + 0.5


class GuestReactor(AsyncioSelectorReactor):
    """A reactor on a running loop: it is never installed, started or stopped.

    So there may be one for each loop, beside the process's own reactor.

    :param loop: the running one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._pool: ThreadPool | None = None
        super().__init__(loop)
        self.seconds = monotonic

    def installWaker(self) -> None:
        """Do nothing: the loop has its own waker."""

    def getThreadPool(self) -> ThreadPool:
        """Return a pool that is started: that of a reactor starts when the reactor runs."""
        if self._pool is None:
            self._pool = ThreadPool(0, 10, "echosvc.check_async")
            self._pool.start()
        return self._pool

    async def wait_until_idle(self) -> None:
        """Wait until the last connections have ended, at most as long as their ends may take."""
        last, reactor = monotonic() + _MAX_IDLE_WAIT, cast(Any, self)
        while (reactor.getReaders() or reactor.getWriters()) and monotonic() < last:
            await asyncio.sleep(_CHECK_INTERVAL)

    async def shut_down(self) -> None:
        """Remove everything from the loop, and stop the threads."""
        self.disconnectAll()
        for call in self.getDelayedCalls():
            call.cancel()
        pool, self._pool = self._pool, None
        if pool is not None:  # it waits for look-ups that still run
            await asyncio.get_running_loop().run_in_executor(None, pool.stop)


async def run_on_asyncio(
    endpoint: object, name: str, start: Callable[[Any], Coroutine[Any, Any, _Result]]
) -> _Result:
    """Run what runs on a reactor in a coroutine of asyncio, on a reactor of its own.

    :param endpoint: a string; an endpoint of Twisted's would belong to another reactor.
    :param name: of the function that is called.
    :param start: returns the coroutine, for a reactor.
    :raises EndpointError: the endpoint is no string.
    """
    if not isinstance(endpoint, str):
        raise EndpointError(f"{name} takes a string, such as tcp:HOST:PORT")
    reactor, ended = GuestReactor(asyncio.get_running_loop()), asyncio.Event()

    async def run() -> _Result:
        try:
            return await start(reactor)
        finally:
            ended.set()

    running = Deferred.fromCoroutine(run())
    try:
        result: _Result = await running.asFuture(asyncio.get_running_loop())
        await reactor.wait_until_idle()
        return result
    finally:
        while not ended.is_set():  # a probe may handle one cancellation as a finding
            running.cancel()
            await asyncio.sleep(0)
        await reactor.shut_down()


async def check_async(
    endpoint: str, *, prefix: str | bytes | None = None, **settings: Unpack[CheckOptions]
) -> CheckResult:
    """Check what a path does to bytes, in a coroutine of asyncio.

    :param endpoint: a string such as ``tcp:192.0.2.7:8107``; an endpoint of Twisted's would
        belong to another reactor.
    :param prefix: the server's, a template or bytes; ``None``: it is detected.
    :param settings: as for :func:`~echosvc.check`.
    :raises EndpointError: the endpoint cannot be understood.
    :raises SettingsError: settings that make no sense.
    :raises TemplateError: a prefix that is no template.
    """

    def start(reactor: GuestReactor) -> Coroutine[Any, Any, CheckResult]:
        return check(endpoint, reactor=reactor, prefix=prefix, **settings)

    return await run_on_asyncio(endpoint, "check_async", start)
