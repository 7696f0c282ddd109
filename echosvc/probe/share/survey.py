"""Opens connections until it is sure who answers how many of them, or until it may open no more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from echosvc.endpoints.client import ClientTarget
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.share.asking import Asker, AskingError, LocalError
from echosvc.probe.share.result import ShareResult
from echosvc.probe.share.settings import ShareSettings, ShareSettingsError, validate
from echosvc.probe.share.source_ports import SourcePorts
from echosvc.probe.share.tally import Observation, ShareTally

#: How long this machine may be unable to open connections, once one was answered, seconds. A port
#: that was used is free again after a minute (TIME_WAIT).
LOCAL_PATIENCE = 70.0
#: After how long it is tried again, seconds.
_RETRY = 1.0
#: Connections that have ended while an earlier one has not, at most: then it is waited for.
_MOST_HELD = 10_000


class Survey:
    """Opens connections, and counts who answers.

    :param reactor: what to run on.
    :param target: the path.
    :param settings: what is asked.
    :param endpoint: the path's name in the result.
    :param on_progress: called after each connection that counts.
    :raises ShareSettingsError: settings that make no sense.
    """

    def __init__(
        self,
        reactor: Any,
        target: ClientTarget,
        settings: ShareSettings,
        endpoint: str,
        on_progress: Callable[[Survey], object] = lambda _: None,
    ) -> None:
        validate(settings)
        if settings.source_ports is not None and target.tcp is None:
            raise ShareSettingsError("<source_ports>: only TCP has ports")
        self._reactor, self._settings, self._endpoint = reactor, settings, endpoint
        self._asker = Asker(reactor, target, settings)
        self._ports = SourcePorts(settings.source_ports)
        self._on_progress = on_progress
        self.tally = ShareTally(settings)
        self._running: dict[int, Deferred[None]] = {}
        self._ended: dict[int, Observation] = {}  # in another order than they began
        self._opened, self._trouble, self._over = 0, "", False
        self._error: Exception | None = None
        self._answered = False
        self._waiting: Deferred[None] | None = None
        self._started, self._began = datetime.now(timezone.utc), reactor.seconds()
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """How long it takes so far, or took."""
        return self._now() if self._seconds is None else self._seconds

    def result(self) -> ShareResult:
        """Return what was found so far."""
        unfinished = self._opened - self.tally.total
        return self.tally.result(
            self._endpoint, self._started, self.seconds, unfinished, self._trouble, not self._over
        )

    async def run(self) -> ShareResult:
        """Open connections until that is enough."""
        try:
            while not self._is_over():
                delay = self._delay()
                if delay > 0:
                    await self._wait(delay)
                else:
                    self._begin()
        finally:
            self._seconds = self._now()
            self._stop()
        if self._error is not None:
            raise self._error
        self._over = True
        return self.result()

    def _now(self) -> float:
        return float(self._reactor.seconds() - self._began)

    # -- when a connection is opened ------------------------------------------

    def _is_over(self) -> bool:
        if self.tally.stopped or self._trouble or self._error is not None:
            return True
        watched = self._settings.watch and self._now() >= self._settings.watch
        return bool(watched) or (not self._running and self._all_opened)

    @property
    def _all_opened(self) -> bool:
        most = self._settings.most_connections
        return 0 < most <= self._opened

    def _delay(self) -> float:
        """Return for how long no connection may be opened, seconds, unless one ends meanwhile."""
        most = self._settings.concurrency if self._asker.is_ready else 1
        full = len(self._running) >= most or len(self._ended) >= _MOST_HELD
        left = self._settings.watch - self._now() if self._settings.watch else float("inf")
        if full or self._all_opened or not self._ports.available:
            return left
        rate = self._settings.most_a_second
        return min(left, self._opened / rate - self._now() if rate else 0.0)

    async def _wait(self, seconds: float) -> None:
        """Wait for so long, or until a connection has ended."""
        self._waiting = Deferred()
        timer = None
        if seconds < float("inf"):
            timer = self._reactor.callLater(seconds, self._wake)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if timer is not None and timer.active():
                timer.cancel()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    # -- one connection -------------------------------------------------------

    def _begin(self) -> None:
        number, self._opened = self._opened, self._opened + 1
        running = Deferred.fromCoroutine(self._observe(number, self._ports.take()))
        if running.called:  # it could not even begin to wait
            running.addErrback(lambda _: None)
            return
        self._running[number] = running
        running.addErrback(lambda _: None)

    async def _observe(self, number: int, port: int) -> None:
        connection = None
        try:
            observation, connection = await self._ask(number, port)
            self._count(number, observation)
            if connection is not None:
                await self._close(connection, port)
        except CancelledError:
            raise
        except LocalError as error:
            self._trouble = self._trouble or str(error)
        except Exception as error:
            self._error = self._error or error
        finally:
            self._ports.put_back(port)
            self._running.pop(number, None)
            self._wake()

    async def _ask(self, number: int, port: int) -> tuple[Observation, ProbeConnection | None]:
        """Return how a connection ended; try again where this machine cannot open one."""
        first = self._reactor.seconds()
        while True:
            began = self._now()
            try:
                name, connection = await self._asker.ask(number, port)
            except AskingError as error:
                seconds = self._now() - began
                return Observation(began, seconds, None, error.cause, error.finding), None
            except LocalError:
                if not self._answered or self._reactor.seconds() - first > LOCAL_PATIENCE:
                    raise
                await deferLater(self._reactor, _RETRY)
                continue
            self._answered = True
            return Observation(began, self._now() - began, name), connection

    def _count(self, number: int, observation: Observation) -> None:
        """Count connections in the order in which they began."""
        self._ended[number] = observation
        while (due := self._ended.pop(self.tally.total, None)) is not None:
            if self.tally.stopped or self._seconds is not None:
                return
            self.tally.add(due)
            self._on_progress(self)

    async def _close(self, connection: ProbeConnection, port: int) -> None:
        """End a connection, and wait until it is gone.

        With a port of the settings, by a reset: otherwise the port could not be used again for a
        minute.
        """
        if port:
            connection.client.abort()
        else:
            connection.close()
        with suppress(Exception):
            await connection.client.when_closed()

    def _stop(self) -> None:
        """End what still runs."""
        for running in list(self._running.values()):
            running.cancel()
