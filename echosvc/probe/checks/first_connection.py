"""The first connection of a check.

A balancer may pass one of several connections to a server that is dead. So one that fails decides
nothing: others are begun shortly after it, and beside it where it is silent. The first one that is
made is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from echosvc._text import plural
from echosvc.probe.engine.answers import wait_for
from echosvc.probe.engine.connect_errors import NotConnected
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.path import Path

#: How many others are tried, and the seconds between two of them.
_OTHERS, _PAUSE = 8, 0.05
#: Others are begun after this share of the time-out at most.
_SHARE = 0.3
#: Errors that another connection does not change.
_LASTING = (
    "ENOTFOUND", "EINVAL", "EACCES", "EPERM", "EADDRNOTAVAIL", "EAFNOSUPPORT", "ENOENT",
    "ENOTDIR", "ELOOP", "EPROTOTYPE",
)  # fmt: skip


@dataclass
class FirstConnection:
    """The first connection that was made.

    :ivar connection: this one.
    :ivar began: when it was begun, by ``perf_counter``.
    :ivar ends: how those ended that were not made.
    """

    connection: ProbeConnection
    began: float
    ends: list[str]

    def describe_others(self) -> str:
        """Return in words how many were not made; "": all were."""
        if not self.ends:
            return ""
        tried = plural(len(self.ends) + 1, "connection")
        words = sorted({"no answer" if end == "silence" else end for end in self.ends})
        return f"{len(self.ends)} of the first {tried} failed: {' or '.join(words)}"


async def connect_first(path: Path) -> FirstConnection:
    """Open a connection; where that fails, try several.

    :raises Failed: none of them is made; the failure is that of the first one.
    """
    attempts = _Attempts(path)
    try:
        return await attempts.run()
    finally:
        attempts.stop()


class _Attempts:
    """Attempts to connect, of which the first one that is successful ends all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failures: list[Exception] = []
        self._running: list[Deferred[None]] = []
        self._made: FirstConnection | None = None
        self._settled: Deferred[None] = Deferred()

    async def run(self) -> FirstConnection:
        path = self._path
        self._begin(0.0, None)
        share = _SHARE * path.settings.timeout
        await wait_for(self._settled, min(path.answer_time, share), path.reactor)
        if self._made is None and all(_is_passing(each) for each in self._failures):
            self._settled = Deferred()
            for number in range(_OTHERS):
                self._begin(number * _PAUSE, path.answer_time)
            await self._settled
        if self._made is None:
            raise self._failures[0]
        return self._made

    def stop(self) -> None:
        """End the attempts that still run."""
        for each in list(self._running):
            each.cancel()

    def _begin(self, wait: float, limit: float | None) -> None:
        attempt = Deferred.fromCoroutine(self._connect(wait))
        self._running.append(attempt)
        if limit is not None:
            attempt.addTimeout(wait + limit, self._path.reactor)
        attempt.addErrback(lambda failure: failure.trap(CancelledError, defer.TimeoutError))
        attempt.addCallback(lambda _: self._note_end(attempt))

    async def _connect(self, wait: float) -> None:
        await deferLater(self._path.reactor, wait)
        began = perf_counter()
        try:
            connection = await self._path.connect()
        except CancelledError:
            raise
        except Exception as failed:
            self._failures.append(failed)
            return
        ends = [each.end for each in self._failures if isinstance(each, NotConnected)]
        self._made = self._made or FirstConnection(connection, began, ends)

    def _note_end(self, attempt: Deferred[None]) -> None:
        self._running.remove(attempt)
        if (self._made is not None or not self._running) and not self._settled.called:
            self._settled.callback(None)


def _is_passing(failed: Exception) -> bool:
    """Return whether another connection may be made though this one was not."""
    return isinstance(failed, NotConnected) and failed.end not in _LASTING
