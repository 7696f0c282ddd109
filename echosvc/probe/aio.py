"""``check`` for programs that run on asyncio, and not on a reactor of Twisted's."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from echosvc.endpoints.strings import EndpointError
from echosvc.probe.check import Asked, check
from echosvc.probe.engine.connection import PARTING
from echosvc.probe.result import CheckResult

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11

#: Seconds between two looks whether the last connections have ended, and for all looks.
_LOOK, _LAST_LOOK = 0.01, PARTING + 0.5


class GuestReactor(AsyncioSelectorReactor):
    """A reactor on a loop that somebody else runs: never installed, started or stopped.

    So there may be one for each loop, one after the other or beside the process's own.

    :param loop: the running one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._pool: ThreadPool | None = None
        super().__init__(loop)
        self.seconds = monotonic

    def installWaker(self) -> None:
        """Do nothing: the loop is woken by its own means."""

    def getThreadPool(self) -> ThreadPool:
        """Give threads that work at once: those of a reactor wait until it runs."""
        if self._pool is None:
            self._pool = ThreadPool(0, 10, "echosvc.check_async")
            self._pool.start()
        return self._pool

    async def quiet(self) -> None:
        """Wait until the last connections have ended, as long as their ends may take."""
        last, reactor = monotonic() + _LAST_LOOK, cast(Any, self)
        while (reactor.getReaders() or reactor.getWriters()) and monotonic() < last:
            await asyncio.sleep(_LOOK)

    async def leave(self) -> None:
        """Leave nothing on the loop, and no thread."""
        self.disconnectAll()
        for call in self.getDelayedCalls():
            call.cancel()
        pool, self._pool = self._pool, None
        if pool is not None:  # it waits for a name that is still looked up
            await asyncio.get_running_loop().run_in_executor(None, pool.stop)


async def check_async(
    endpoint: str, *, prefix: str | bytes | None = None, **settings: Unpack[Asked]
) -> CheckResult:
    """Ask what a path does to bytes, in a coroutine of asyncio's.

    :param endpoint: a string such as ``tcp:192.0.2.7:8107``; an endpoint of Twisted's would
        belong to another reactor.
    :param prefix: the server's, a template or bytes; ``None``: it is learned.
    :param settings: as for :func:`~echosvc.check`.
    :raises EndpointError: the endpoint cannot be understood.
    :raises SettingsError: settings that make no sense.
    :raises TemplateError: a prefix that is no template.
    """
    if not isinstance(endpoint, str):
        raise EndpointError("check_async takes a string, such as tcp:HOST:PORT")
    reactor, over = GuestReactor(asyncio.get_running_loop()), asyncio.Event()

    async def made() -> CheckResult:
        try:
            return await check(endpoint, reactor=reactor, prefix=prefix, **settings)
        finally:
            over.set()

    checking = Deferred.fromCoroutine(made())
    try:
        result = await checking.asFuture(asyncio.get_running_loop())
        await reactor.quiet()
        return result
    finally:
        while not over.is_set():  # what takes one cancelling for a finding meets the next
            checking.cancel()
            await asyncio.sleep(0)
        await reactor.leave()
