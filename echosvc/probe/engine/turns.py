"""When the next connection may be opened.

The connections of a check must not make the failures that it reports. So the next one waits until
those that were closed are gone, until there are fewer than the path is known to allow, and until
its turn at the pace that was asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from twisted.internet import defer
from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater

from echosvc._text import plural
from echosvc.probe.engine.connection import CLOSE_TIMEOUT, ProbeConnection
from echosvc.probe.engine.context import ProbeContext
from echosvc.probe.engine.findings import Failed

#: How often it is checked whether a connection has ended, seconds.
_INTERVAL = 0.02
#: Seconds that a middlebox has to note that a connection is gone, where it counts them.
_GRACE = 0.05


class LimitReached(Failed):
    """A probe needs more connections at once than the path is known to allow."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"it needs more than {plural(limit, 'connection')} at once")


class Turns:
    """The turns of the connections of a path.

    :param context: the path's.
    :ivar most_open: how many connections were open, or being opened, at once, at most.
    :ivar beside: how many probes are asked beside the one whose turn it is.
    """

    def __init__(self, context: ProbeContext) -> None:
        self._context, self._clock = context, context.reactor
        self._connections: list[ProbeConnection] = []
        self._opening = self.most_open = self.beside = 0
        self._next = 0.0  # when the next connection may be opened

    def count_open(self) -> int:
        """Return how many connections are open, those that were closed but live on included."""
        self._connections = [each for each in self._connections if not each.is_gone]
        return len(self._connections)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Callable[[ProbeConnection], None]]:
        """Wait for a turn, within which one connection is opened and noted.

        :raises LimitReached: as many connections as are allowed stay open.
        """
        await self._wait_for_ends()
        await self._wait_for_others()
        await self._wait_for_room()
        self._opening += 1
        try:
            await self._wait_for_pace()
            self.most_open = max(self.most_open, self.count_open() + self._opening)
            yield self._note
        finally:
            self._opening -= 1

    def _note(self, connection: ProbeConnection) -> None:
        self._connections.append(connection)

    async def _wait_for_ends(self) -> None:
        """Wait until the connections that were closed are gone."""
        ending = [each for each in self._connections if each.closing and not each.is_gone]
        if not ending:
            return
        closed = DeferredList([each.client.when_closed() for each in ending], consumeErrors=True)
        with suppress(defer.TimeoutError):
            await closed.addTimeout(CLOSE_TIMEOUT + 1, self._clock)
        if self._context.knowledge.connection_limit is not None:
            await deferLater(self._clock, _GRACE + max(each.rtt for each in ending))

    async def _wait_for_others(self) -> None:
        """Wait until fewer connections are open than the path allows."""
        until = self._clock.seconds() + self._context.settings.timeout
        while (limit := self._context.knowledge.connection_limit) is not None:
            if self.count_open() + self._opening < limit:
                return
            if self._clock.seconds() > until:
                raise LimitReached(limit)
            await deferLater(self._clock, _INTERVAL)

    async def _wait_for_room(self) -> None:
        """Wait, where probes are asked beside each other, until there is room for one more.

        All together open no more than one probe alone does: a limit is not reached by both. Where
        each waits for the other, the one beside is given up soon.
        """
        most = self._context.settings.connections
        while self.beside and self.count_open() + self._opening >= most:
            await deferLater(self._clock, _INTERVAL)
            await self._wait_for_ends()  # those of a probe that is done have just been closed

    async def wait_until_alone(self, seconds: float) -> None:
        """Wait until no probe is asked beside the one whose turn it is, for a limited time."""
        until = self._clock.seconds() + seconds
        while self.beside and self._clock.seconds() < until:
            await deferLater(self._clock, _INTERVAL)

    @property
    def pace(self) -> float:
        """How many connections are opened a second at most: as set, or as is known; 0: any."""
        paces = (self._context.settings.pace, self._context.knowledge.pace)
        return min((each for each in paces if each), default=0.0)

    async def _wait_for_pace(self) -> None:
        """Wait for the next turn at the pace."""
        pace = self.pace
        if not pace:
            return
        now = self._clock.seconds()
        mine = max(now, self._next)
        self._next = mine + 1 / pace
        if mine > now:
            await deferLater(self._clock, mine - now)
