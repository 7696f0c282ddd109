"""A soak: its connections are opened, watched and replaced until it is stopped."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred

from echosvc._text import quote
from echosvc.endpoints.client import ClientTarget
from echosvc.net.timer import Timer, make_timer
from echosvc.probe.engine.findings import Failed, Unanswered
from echosvc.probe.load.connection import ConnectionEnd, LoadConnection
from echosvc.probe.load.opener import Opening, RecognizingOpener, describe_opening_error
from echosvc.probe.load.pacer import Pacer
from echosvc.probe.load.server_form import ServerForm
from echosvc.probe.load.slot import Slot, SlotEvents, Slots
from echosvc.probe.soak.backoff import RATE, AttemptRate, wait_before_attempt
from echosvc.probe.soak.beat import Beat
from echosvc.probe.soak.end_watcher import EndWatcher
from echosvc.probe.soak.events import Ended, Event, Started
from echosvc.probe.soak.result import MISMATCH, SILENCE, TIMEOUT, Mark, SoakResult
from echosvc.probe.soak.settings import SoakSettings, validate
from echosvc.probe.soak.stall_watch import StallWatch
from echosvc.probe.soak.statistics import Statistics
from echosvc.probe.soak.timeline import Timeline
from echosvc.probe.traffic.exchange import Exchange
from echosvc.probe.traffic.messages import Messages, Rings
from echosvc.probe.traffic.schedule import Pace
from echosvc.probe.traffic.sent_message import SentMessage

#: How often silences are looked for: a part of the longest one, within limits in seconds.
_TICK_PART, _SHORTEST_TICK, _LONGEST_TICK = 0.25, 0.01, 0.25
#: A tick that is late by this part of the longest silence proves that this process stood still.
_STALL_PART = 0.5
#: How long the ends of connections are waited for at the end, seconds.
CLOSE_TIMEOUT = 1.0
#: Seconds in which all connections are opened first, if they are not too many: at most so many a
#: second, so that this process keeps up with them.
_OPENING_TIME, _OPENING_RATE = 1.0, 0.8 * RATE


class SoakError(Exception):
    """A soak cannot go on, because no reply could ever be verified; its text says why."""


class _Place:
    """One of the connections, and those that replace it.

    :ivar watcher: of the connection that is open.
    :ivar last_answer: when the last message was answered, or the connection was opened.
    :ivar closed: since when no connection has been open; infinity: none was tried yet.
    """

    watcher: EndWatcher

    def __init__(self, number: int) -> None:
        self.number, self.last_answer, self.closed = number, 0.0, math.inf


class Soak(SlotEvents):
    """Keeps connections open, and notes when they are not answered.

    :param target: the server.
    :param settings: what is asked for.
    :param endpoint: the server's name in the result.
    :param listen: called with each event.
    :param now: the clock, which never goes back.
    :param wall: the time of day, as Unix time.
    :param timer: makes the timer of what is due.
    :raises SoakSettingsError: settings that make no sense.
    """

    wants_answers = True

    def __init__(
        self,
        reactor: Any,
        target: ClientTarget,
        settings: SoakSettings,
        endpoint: str,
        listen: Callable[[Event], object] = lambda _: None,
        *,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        timer: Callable[[Any, Callable[[], object]], Timer] = make_timer,
    ) -> None:
        validate(settings)
        self._reactor, self._settings, self._endpoint = reactor, settings, endpoint
        self._listen, self._now, self._wall = listen, now, wall
        self._make_timer = timer
        self._target, framing = target, settings.framing
        self._opener = RecognizingOpener(
            reactor, target, settings.timeout, now, framing, settings.prefix
        )
        self._rings = Rings(random.getrandbits(62), settings.size, framing == "line")
        self._stopped: Deferred[None] = Deferred()
        self._all_closed: Deferred[None] = Deferred()
        self._timers: set[Any] = set()
        self._places: dict[Slot, _Place] = {}
        self._record()

    def _record(self) -> None:
        """Make what notes all that happens."""
        settings, now = self._settings, self._now()
        self._began, epoch = now, self._wall() - now
        silence = settings.longest_silence
        self._tick = min(max(_TICK_PART * silence, _SHORTEST_TICK), _LONGEST_TICK)
        self._stalls = StallWatch(self._tick + _STALL_PART * silence, now)
        self._timeline = Timeline(
            settings.connections, settings.interval, silence, now, epoch, self._listen
        )
        self._statistics = Statistics(self._timeline, now, epoch, self._listen)

    # -- the run ----------------------------------------------------------------------------------

    async def run(self) -> SoakResult:
        """Keep the connections open until the soak is stopped, or its time is over.

        :raises SoakError: the first connection is answered by what cannot be verified.
        """
        began = self._began + self._timeline.epoch
        self._listen(Started(began, self._endpoint, self._settings.as_dict()))
        pacer = Pacer(self._reactor, self._now, self._make_timer)
        try:
            self._begin(pacer)
            await self._stopped
            await self._drain()
        finally:
            self._close(pacer)
        return self._conclude()

    def _begin(self, pacer: Pacer) -> None:
        """Open the connections one after the other, within an interval if they are not too many."""
        settings = self._settings
        shared = Slots(
            self._reactor, self._opener, self._statistics.tally, pacer, self._make_exchange,
            count(1), self._now, reserve=AttemptRate(self._now).reserve,
            next_wait=self._next_wait,
        )  # fmt: skip
        spread = min(settings.interval, _OPENING_TIME) / settings.connections
        spread = max(spread, 1 / _OPENING_RATE)
        for index in range(settings.connections):
            slot = Slot(shared, Beat(settings.interval, self._began + index * spread), self)
            self._places[slot] = _Place(index + 1)
            self._later(index * spread, self._open, slot)
        self._later(self._tick, self._check_all)
        if settings.duration:
            self._later(settings.duration, self.stop)

    def stop(self, complete: bool = True) -> None:
        """End the soak; answers that are due are waited for at most :data:`CLOSE_TIMEOUT` s.

        :param complete: it has lasted as long as was asked for.
        """
        if not self._stopped.called:
            self._complete = complete
            self._seconds = self._now() - self._began
            self._stopped.callback(None)

    def mark(self, name: str = "") -> Mark:
        """Put a mark into the timeline."""
        return self._timeline.mark(name, self._now())

    @property
    def statistics(self) -> Statistics:
        """What was counted so far."""
        return self._statistics

    def _later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            call(*arguments)

        timer = self._reactor.callLater(seconds, fire)
        self._timers.add(timer)

    def _cancel_timers(self) -> None:
        while self._timers:
            self._timers.pop().cancel()

    async def _drain(self) -> None:
        """Let every connection end as it should, for a limited time.

        A silence that is no gap yet will not be one any more.
        """
        self._cancel_timers()
        for slot in self._places:
            slot.drain()
        if self._open_connections():
            with suppress(defer.TimeoutError):
                await self._all_closed.addTimeout(CLOSE_TIMEOUT, self._reactor)

    def _open_connections(self) -> int:
        return sum(slot.connection is not None for slot in self._places)

    def _close(self, pacer: Pacer) -> None:
        self._cancel_timers()
        for slot in self._places:
            slot.give_up()
        pacer.close()

    def _conclude(self) -> SoakResult:
        now = self._now()
        self._timeline.finish(now)
        span = self._seconds, self._complete
        result = self._statistics.result(self._endpoint, self._settings, *span, now)
        self._listen(Ended(now + self._timeline.epoch, result))
        return result

    # -- opening ----------------------------------------------------------------------------------

    def _open(self, slot: Slot) -> None:
        place = self._places[slot]
        place.closed = self._now()
        self._timeline.begin(place.number, place.closed)
        slot.begin()
        slot.open()

    def _make_exchange(self, number: int, pace: Pace, form: ServerForm) -> Exchange:
        """Return the exchange of a connection that was just opened."""
        messages = Messages(self._rings.get(form.replies.excluded), number, self._settings.size)
        return Exchange(messages, form.replies, pace, self._statistics.tally)

    def _next_wait(self, slot: Slot) -> float:
        """Return how long a slot waits before the next attempt."""
        elapsed = self._now() - self._places[slot].closed
        return wait_before_attempt(elapsed, self._settings.max_wait, random.random())  # noqa: S311

    # -- what the slots report --------------------------------------------------------------------

    def opened(self, slot: Slot, connection: LoadConnection, opening: Opening) -> None:
        """Note that a connection is open, and was answered."""
        place = self._places[slot]
        frame = self._settings.size + 4 * (self._settings.framing == "length")
        place.watcher = EndWatcher(connection, frame, self._now)
        place.last_answer = opening.answered
        who = place.number, connection.local, connection.peer, opening.form.server
        self._timeline.open(*who, opening.answered)

    def failed(self, slot: Slot, cause: str, error: BaseException) -> None:
        """Note that no connection could be opened."""
        if isinstance(error, Failed) and error.end == "silence":
            cause = SILENCE  # it was opened
        detail = self._describe_failure(cause, error)
        never = not self._timeline.servers and not self._stopped.called
        if cause == MISMATCH and never:
            self._stopped.errback(SoakError(detail))
            return
        self._timeline.fail(self._places[slot].number, cause, self._now(), detail)

    def _describe_failure(self, cause: str, error: BaseException) -> str:
        """Return why no connection could be opened, where words say more than the cause."""
        known = isinstance(error, Unanswered) and self._timeline.servers and not error.came
        wordy = isinstance(error, Failed) and not known
        if not isinstance(error, Exception) or not (wordy or cause == "tls"):
            return ""
        words, likely = describe_opening_error(error, self._target, self._settings.timeout)
        return f"{words}; likely: {likely}" if likely else words

    def answered(self, slot: Slot, connection: LoadConnection, messages: list[SentMessage]) -> None:
        """Note that messages were answered, and how late."""
        now, place = self._look(), self._places[slot]
        self._timeline.check(place.number, max(place.last_answer, messages[0].sent), now)
        self._timeline.answer(place.number, messages[-1].number, now)
        place.last_answer = now
        if connection.exchange.is_damaged:
            self._give_up(slot, connection, MISMATCH)

    def ended(self, slot: Slot, end: ConnectionEnd) -> None:
        """Note that a connection has ended."""
        place = self._places[slot]
        place.closed = self._look()
        if end.is_error:
            detail = self._describe_mismatch(end.number) if end.how == MISMATCH else ""
            self._timeline.end(place.number, place.watcher.end(end.how, detail), end.when)
        if self._stopped.called and not self._open_connections() and not self._all_closed.called:
            self._all_closed.callback(None)

    def _give_up(self, slot: Slot, connection: LoadConnection, how: str) -> None:
        self._places[slot].watcher.look()
        connection.give_up(how)

    def _describe_mismatch(self, number: int) -> str:
        """Return the first wrong bytes of a connection in words; "": they are not kept."""
        for each in self._statistics.tally.mismatches.best:
            if each.connection == number:
                return (
                    f"{each.kind} at byte {each.offset} of the reply to message {each.message}:"
                    f" {quote(each.expected)} was due, and {quote(each.seen)} came"
                )
        return ""

    # -- time passes ------------------------------------------------------------------------------

    def _look(self) -> float:
        """Return the time; note whether this process stood still until now."""
        now = self._now()
        stalled = self._stalls.seconds(now)
        if stalled:
            self._timeline.stall(stalled, now)
        return now

    def _check_all(self) -> None:
        """Look for silences, and for wrong bytes after which nothing came."""
        self._later(self._tick, self._check_all)
        now = self._look()
        self._timeline.epoch = self._wall() - now
        for slot, place in self._places.items():
            connection = slot.connection
            if connection is not None:
                self._check(slot, place, connection, now)
            else:
                self._timeline.check(place.number, place.closed, now)
        self._timeline.advance(now)
        self._statistics.advance(now)

    def _check(self, slot: Slot, place: _Place, connection: LoadConnection, now: float) -> None:
        since = self._timeline.since(connection.exchange.silent_since)
        self._timeline.check(place.number, since, now)
        if now - since > self._settings.timeout:
            damaged = connection.exchange.is_damaged
            self._give_up(slot, connection, MISMATCH if damaged else TIMEOUT)
