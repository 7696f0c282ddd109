"""Sends what is due at its intended time, on all connections, with one timer."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from time import monotonic
from typing import Any

from echosvc.net.timer import Timer, make_timer
from echosvc.probe.load.connection import LoadConnection
from echosvc.probe.traffic.histogram import Histogram


class Pacer:
    """The intended times of all connections that take data.

    A connection whose peer takes nothing is not here: it sends by itself when it can, and comes
    back.

    :param reactor: what the timer is of.
    :param now: the clock of the intended times.
    :param timer: makes the timer.
    :ivar lag: how late this process was each time that it sent what was due.
    """

    def __init__(
        self,
        reactor: Any,
        now: Callable[[], float] = monotonic,
        timer: Callable[[Any, Callable[[], object]], Timer] = make_timer,
    ) -> None:
        self._now, self._timer = now, timer(reactor, self._send_all)
        self._waiting: list[tuple[float, int, LoadConnection]] = []
        self._set_for = math.inf
        self.lag = Histogram()

    def add(self, connection: LoadConnection) -> None:
        """Let a connection send at its next intended time, if there is one."""
        when = connection.next_time
        if connection.queued or when == math.inf:
            return
        connection.queued = True
        heappush(self._waiting, (when, connection.number, connection))
        if when < self._set_for:
            self._set(when)

    def close(self) -> None:
        """Send nothing more."""
        self._waiting.clear()
        self._timer.close()

    def _set(self, when: float) -> None:
        self._set_for = when
        self._timer.set(when)

    def _send_all(self) -> None:
        """Send on each connection whose time has come, and set the timer for the next one."""
        self._set_for, waiting, until = math.inf, self._waiting, self._now()
        while waiting and waiting[0][0] <= until:
            when, _, connection = heappop(waiting)
            connection.queued = False
            self._send(connection, when)
        if waiting and waiting[0][0] < self._set_for:
            self._set(waiting[0][0])

    def _send(self, connection: LoadConnection, when: float) -> None:
        if not connection.can_send:
            return
        now = self._now()
        if connection.send_due(now):
            self.lag.record(now - max(when, connection.ready_since))
        if connection.can_send:
            self.add(connection)
