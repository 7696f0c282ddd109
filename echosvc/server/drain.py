"""The drain: how a service ends without the loss of a connection or a byte.

Theory of operation. What sends clients here, such as a load balancer or Kubernetes, learns late
that the service ends, and goes on to open connections meanwhile. What notices it by a failing
health check needs one that fails while connections are still accepted; what falls back to ending
servers as long as they are ready needs one that passes. So there are two delays, before and after
the service says that it is not ready. Then the listeners close, and live connections end: by
themselves, or one after the other, so that their clients do not all connect anew at once. Each
phase is bounded in time::

    drain_delay   accepting, ready
    unready_delay accepting, not ready
                  the listeners close; connections in their queues are accepted first
    drain_spread  one connection after the other is ended politely
    drain         connections may go on
    linger        the others are ended politely; after that, aborted
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from echosvc.connection.connection import Connection
from echosvc.connection.outcome import Outcome
from echosvc.server.state import ServerState

#: After the drain: seconds, besides ``linger``, that a polite close may take.
_CLOSE_GRACE = 1.0
#: Seconds between two looks at what ``drain_spread`` is to have ended, at least.
MIN_SPREAD_INTERVAL = 0.01


class Drain:
    """One drain of a server.

    :param state: the server.
    :param clock: what the phases run on.
    :param close_listeners: called once, when no more is to be accepted; the Deferred fires when
        the listeners are closed. Called before :meth:`run` returns, where nothing delays that.
    :param accepting: a listener is open, so the delays are of use.
    """

    def __init__(
        self,
        state: ServerState,
        clock: IReactorTime,
        close_listeners: Callable[[], Deferred[Any]],
        accepting: bool = True,
    ) -> None:
        self._state = state
        self._clock = clock
        self._close_listeners = close_listeners
        self._accepting = accepting
        self._hurried = False
        self._waiting: Deferred[Any] | None = None

    def end_now(self) -> None:
        """End every connection at once and skip what is left of the phases."""
        self._hurried = True
        if self._waiting is not None:
            self._waiting.cancel()
        self._state.abort_all()

    async def run(self) -> None:
        """Go through the phases; done when no connection is left."""
        state, config = self._state, self._state.config
        await self._still_accepting(config.drain_delay)
        state.ready = False
        if config.drain_delay or config.unready_delay:
            state.events.not_ready()
        await self._still_accepting(config.unready_delay)
        closed = self._close_listeners()
        await self._spread(state.connections, config.drain_spread)
        await self._idle_within(config.drain)
        state.end_all()
        await self._idle_within(config.linger + _CLOSE_GRACE)
        state.abort_all()
        await state.when_idle()
        await closed
        state.events.terminated()

    async def _still_accepting(self, seconds: float) -> None:
        if seconds and self._accepting and not self._hurried:
            await self._within(seconds, Deferred())

    async def _idle_within(self, seconds: float) -> None:
        """Wait until no connection lives, at most ``seconds``."""
        if self._hurried:
            seconds = 0
            self._state.abort_all()  # those accepted since
        await self._within(seconds, self._state.when_idle())

    async def _within(self, seconds: float, event: Deferred[Any]) -> None:
        """Wait for an event, at most ``seconds``."""
        if event.called:
            return
        self._waiting = event
        limit = self._clock.callLater(seconds, event.cancel)
        with suppress(CancelledError):
            await event
        self._waiting = None
        if limit.active():
            limit.cancel()

    async def _spread(self, connections: Sequence[Connection], seconds: float) -> None:
        """End connections politely, one after the other, evenly over ``seconds``.

        The last of them ends when the time is over, or before, where no connection lives.
        """
        if not seconds:
            return
        started, ended, total = self._clock.seconds(), 0, len(connections)
        while ended < total and self._state.busy and not self._hurried:
            next_end = started + seconds * (ended + 1) / total
            interval = max(MIN_SPREAD_INTERVAL, next_end - self._clock.seconds())
            await self._within(interval, self._state.when_idle())
            passed = self._clock.seconds() - started
            due = min(total, int(total * passed / seconds))
            for connection in connections[ended:due]:
                connection.close_with(Outcome.DRAINED)
            ended = due
