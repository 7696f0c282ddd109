"""A whole load: connections are opened, messages exchanged, what is owed waited for, all counted.

Theory of operation. A run has three phases. All connections are opened, a limited number at a time;
unless the prefix was given, each is recognised, and the first one before the others are opened. If
none of the first ones can be opened, or be verified, the run ends; if no more can be for the time
of ``timeout``, it goes on with those that are open. Messages are sent, from one start on that is
the same for all connections. Then nothing new becomes due: what is due is sent, what is owed is
waited for, at most for the time of ``grace``, and each connection is closed by FIN.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from itertools import count
from time import monotonic, time
from typing import Any

from twisted.internet.defer import Deferred

from echosvc._version import __version__
from echosvc.endpoints.client import ClientTarget
from echosvc.net.timer import Timer, make_timer
from echosvc.probe.load.connection import ConnectionEnd, LoadConnection
from echosvc.probe.load.opener import (
    DirectOpener,
    Opener,
    Opening,
    RecognizingOpener,
    describe_opening_error,
)
from echosvc.probe.load.options import LoadOptions
from echosvc.probe.load.pacer import Pacer
from echosvc.probe.load.paces import ConnectRate, count_due, make_pace
from echosvc.probe.load.pauses import Pauses
from echosvc.probe.load.processor import ProcessorTime
from echosvc.probe.load.server_form import ServerForm, server_name
from echosvc.probe.load.slot import Slot, SlotEvents, Slots
from echosvc.probe.traffic.exchange import ABANDONED, Exchange
from echosvc.probe.traffic.generator_stats import GeneratorStats
from echosvc.probe.traffic.load_result import LoadResult
from echosvc.probe.traffic.merge import RunResult, Shard
from echosvc.probe.traffic.messages import Messages, Rings
from echosvc.probe.traffic.replies import ReplyFormat
from echosvc.probe.traffic.schedule import ClosedLoop, OpenLoop, Pace
from echosvc.probe.traffic.tally import Tally
from echosvc.probe.traffic.verdict import OWN_ERRORS

#: So many connections are being opened at once before the start.
MAX_OPENING = 100
#: Seconds between two looks whether this process runs, where nothing else asks for looks.
_LOOK = 0.5
#: Silence on a connection that is noted as a gap, seconds.
NOTED_GAP = 1.0
#: At a rate, seconds from the beginning of the run to the first message, and more for each
#: connection: all have begun by then.
_LEAD, _LEAD_EACH = 0.005, 0.00005
#: Seconds between two looks whether the run is over.
_POLL = 0.02
#: Seconds that a greeting is waited for where the prefix was given, besides two round trips.
_GREETING_WAIT = 0.05
#: Seconds that the peer's FIN is waited for once nothing is owed.
_FIN_WAIT = 1.0


class Load(SlotEvents):
    """One run.

    :param reactor: what it runs on.
    :param target: the server.
    :param endpoint: its name in the result.
    :param now: the clock.
    :param timer: makes the timer of what is due.
    """

    def __init__(
        self,
        reactor: Any,
        target: ClientTarget,
        options: LoadOptions,
        endpoint: str,
        *,
        now: Callable[[], float] = monotonic,
        timer: Callable[[Any, Callable[[], object]], Timer] = make_timer,
    ) -> None:
        self._reactor, self._target, self.options = reactor, target, options
        self._endpoint, self._now = endpoint, now
        self._seed = random.getrandbits(48) if options.seed is None else options.seed
        self._tally = Tally(time() - now(), begin=math.inf)
        self._pacer = Pacer(reactor, now, timer)
        self._processor, self._shares, self._pauses = ProcessorTime(), (0.0, 0.0), Pauses()
        self._rate = ConnectRate(options.connect_rate)
        self._slots: list[Slot] = []
        self._unopened: list[Slot] = []
        self._opening: set[Slot] = set()
        self._at_once = 1 if options.prefix is None else MAX_OPENING
        self._opened, self._sleeping = Deferred[None](), Deferred[None]()
        self._first_error: BaseException | None = None
        self._failures, self._last_opened = 0, math.inf
        self._start = self._end = math.inf
        self._unsent_by: Counter[str] = Counter()
        self._failure, self._interrupted, self._is_over = "", False, False

    # -- what is known --------------------------------------------------------

    @property
    def tally(self) -> Tally:
        """What was counted so far."""
        return self._tally

    @property
    def elapsed(self) -> float:
        """For how many seconds messages have been sent."""
        return max(0.0, min(self._now(), self._end) - self._start)

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return sum(slot.connection is not None for slot in self._slots)

    def result(self) -> LoadResult:
        """Return what was found so far."""
        options, (index, total) = self.options, self.options.shard
        run = RunResult(
            __version__, self._endpoint, options.describe(),
            (Shard(self._seed, index - 1, total),), self._tally,
        )  # fmt: skip
        used, waited = self._shares if self._is_over else self._processor.shares()
        generator = GeneratorStats(
            options.rate > 0, used, waited, lag=self._pacer.lag,
            paused=self._pauses.seconds, **self._unsent_by,
        )  # fmt: skip
        return LoadResult(
            run, self.elapsed, min(options.warmup, self.elapsed), generator,
            options.bounds, self._interrupted, self._failure, answering=self._tally.answering,
        )  # fmt: skip

    # -- the run --------------------------------------------------------------

    async def run(self) -> LoadResult:
        """Run to the end; return the result."""
        try:
            if await self._open_all():
                await self._exchange()
        finally:
            self._finish(ABANDONED)
        return self.result()

    def interrupt(self) -> None:
        """End now: what is in flight is abandoned. :meth:`result` has what was found."""
        if not self._is_over:
            self._interrupted = True
            self._finish(ABANDONED)

    def _shared(self) -> Slots:
        """Return what the slots share.

        :raises ValueError: no messages can be made.
        """
        options, (index, total) = self.options, self.options.shard
        opener, known = self._make_opener()
        rings = Rings(self._seed, options.largest, options.framing == "line")
        if known is not None:
            rings.get(known.replies.excluded)  # now: it takes long
        deadline = options.grace or math.inf

        def make_exchange(number: int, pace: Pace, form: ServerForm) -> Exchange:
            ring, replies = rings.get(form.replies.excluded), form.replies
            messages = Messages(ring, number, options.size, options.max_size)
            return Exchange(
                messages, replies, pace, self._tally, deadline, NOTED_GAP, known is not None,
                self._pauses.since,
            )  # fmt: skip

        return Slots(
            self._reactor, opener, self._tally, self._pacer, make_exchange,
            count(index - 1, total), self._now, lifetime=options.lifetime, grace=options.grace,
            reserve=lambda: self._rate.reserve(self._now()),
        )  # fmt: skip

    def _make_opener(self) -> tuple[Opener, ServerForm | None]:
        """Return what opens connections, and how all servers answer, if that is known."""
        options = self.options
        where = self._reactor, self._target, options.timeout, self._now
        if options.prefix is None:
            return RecognizingOpener(*where, options.framing), None
        form = ServerForm(ReplyFormat(options.framing, options.prefix))
        return DirectOpener(*where, form), form

    # -- opening --------------------------------------------------------------

    async def _open_all(self) -> bool:
        """Try to open each connection once; return whether one is open."""
        try:
            shared = self._shared()
        except ValueError as error:
            self._failure = f"no messages can be made: {error}"
            return False
        options, places = self.options, self.options.share
        for index, place in enumerate(places, start=1):
            pace = make_pace(options, place, self._seed)
            first = options.lifetime * index / len(places)  # they are replaced one after the other
            self._slots.append(Slot(shared, pace, self, first))
        self._unopened = self._slots[::-1]
        self._open_more()
        await self._opened
        return not self._is_over and self._note_none_open()

    def _open_more(self) -> None:
        while self._unopened and len(self._opening) < self._at_once:
            slot = self._unopened.pop()
            self._opening.add(slot)
            slot.open()

    def _note_attempt(self, slot: Slot) -> None:
        """Note that a slot has tried; go on once all have."""
        if slot in self._opening:
            self._opening.remove(slot)
            self._open_more()
            if not self._opening:
                self._end_opening()

    def _end_opening(self) -> None:
        if not self._opened.called:
            self._opened.callback(None)

    def _note_none_open(self) -> bool:
        """Return whether a connection is open; note why, if none is."""
        error = self._first_error
        if self._tally.connections or not isinstance(error, Exception):
            return True
        words, cause = describe_opening_error(error, self._target, self.options.timeout)
        self._failure = f"{words} ({cause})" if cause else words
        return False

    def opened(self, slot: Slot, connection: LoadConnection, opening: Opening) -> None:  # noqa: ARG002
        """Note that a slot has a connection."""
        self._at_once, self._last_opened = MAX_OPENING, self._now()
        self._note_server(opening.form.server)
        self._note_attempt(slot)

    def ended(self, slot: Slot, end: ConnectionEnd) -> None:  # noqa: ARG002
        """Note who answered, where the fields of the given prefix say it."""
        given = self.options.prefix
        if given is not None and given.constant is None:
            self._note_server(server_name(end.prefix))

    def _note_server(self, name: str) -> None:
        if name:
            self._tally.count_server(name)

    def failed(self, slot: Slot, cause: str, error: BaseException) -> None:  # noqa: ARG002
        """Note that an attempt has failed."""
        self._first_error = self._first_error or error
        self._failures += 1
        if self._must_not_wait:
            self._end_opening()
        self._note_attempt(slot)

    @property
    def _must_not_wait(self) -> bool:
        """Whether too many attempts have failed to wait until each connection was tried."""
        if not self._tally.connections:  # there is no server, or none that can be verified
            return self._failures >= self._at_once
        return self._now() - self._last_opened >= self.options.timeout

    # -- exchanging -----------------------------------------------------------

    async def _exchange(self) -> None:
        await self._begin()
        await self._watch()
        self._shares = self._processor.shares()
        await self._drain()

    async def _watch(self) -> None:
        """Wait for the end; replace connections of a closed loop that are not answered.

        Such a loop sends nothing on them until they are answered, so nothing else would end them.
        After ``grace`` an answer is late; after twice the time none is waited for.
        """
        grace = 2 * self.options.grace
        while not self._is_over and (now := self._now()) < self._end:
            left = min(self._end - now, grace / 8 if grace else _LOOK)
            self._pauses.look(now, now + left)
            await self._sleep(left)
            for slot in self._slots if grace and not self.options.rate else ():
                if slot.connection is not None and self._silence(slot) >= grace:
                    slot.connection.give_up("timeout")

    def _silence(self, slot: Slot) -> float:
        """Return for how long a slot was not answered, while this process ran, seconds."""
        now = self._now()
        return now - slot.silent_since - self._pauses.since(slot.silent_since, now)

    async def _begin(self) -> None:
        """Begin to send on all connections, from one start on."""
        options, lead = self.options, _LEAD + _LEAD_EACH * len(self._slots)
        if options.prefix is not None:
            await self._learn_greeting()
        if options.start_at is not None:
            await self._sleep(options.start_at - time() - lead)
        if self._is_over:
            return
        now = self._now()
        self._start = now + lead * (options.rate > 0)
        if options.start_at is not None:
            self._start = max(self._start, now + options.start_at - time())
        self._end = self._start + options.duration
        self._tally.begin = self._start + options.warmup
        self._processor.restart()
        for slot in self._slots:
            if isinstance(slot.pace, OpenLoop):
                slot.pace.begin(self._start)
            slot.begin()

    async def _learn_greeting(self) -> None:
        """Wait whether the server speaks first, and learn what it says, if it does."""
        wait = _GREETING_WAIT + 2 * self._tally.connect.largest / 1e6
        await self._sleep(wait)
        connections = [slot.connection for slot in self._slots if slot.connection is not None]
        found, shared = {each.early for each in connections}, self._slots[0].shared
        longest = max(found, key=len, default=b"")
        if all(longest.startswith(each) for each in found):
            shared.greeting = longest
        else:
            shared.greeting_wait = wait

    async def _drain(self) -> None:
        """Send what is due, wait for what is owed, and end each connection.

        What is due is sent for the time of ``grace``; each message has as long to be answered.
        """
        options, fins = self.options, math.inf
        stop = self._end + options.grace * (options.rate > 0)
        while not self._is_over:
            clock = self._now()
            self._pauses.look(clock, clock + _POLL)
            now = clock - self._pauses.since(self._end, clock)
            if now >= stop:
                self._count_unsent(now)
            left = [slot for slot in self._slots if not slot.is_done]
            for slot in left:
                self._drain_slot(slot, now >= stop)
            if not left or now >= min(stop + options.grace, fins):
                break
            if fins == math.inf and not any(slot.awaited or not slot.is_stopped for slot in left):
                fins = now + _FIN_WAIT
            await self._sleep(_POLL)
        self._finish(self._unanswered)

    @property
    def _unanswered(self) -> str:
        """How a connection has ended that was not answered in time."""
        return "timeout" if self.options.grace else ABANDONED

    def _drain_slot(self, slot: Slot, is_late: bool) -> None:
        """Let a slot end once it has sent what is due; end it if it is not answered."""
        if is_late or isinstance(slot.pace, ClosedLoop) or slot.pace.next_time == math.inf:
            slot.drain()
            if self._silence(slot) >= self.options.grace:
                slot.give_up(self._unanswered)

    def _finish(self, how: str) -> None:
        """End everything, once.

        :param how: how connections have ended that still owe answers.
        """
        if self._is_over:
            return
        now = self._now()
        self._count_unsent(now)
        if self._end > now:
            self._shares = self._processor.shares()
        self._end, self._is_over = min(self._end, now), True
        self._pacer.close()
        for slot in self._slots:
            slot.give_up(how if slot.awaited else ABANDONED)
        for waiting in (self._opened, self._sleeping):
            if not waiting.called:
                waiting.callback(None)

    def _count_unsent(self, now: float) -> None:
        """Count what was due and is not sent: for whose fault?"""
        for slot in self._slots:
            if found := count_due(slot.pace, min(now, self._end)):
                self._unsent_by[self._find_fault(slot)] += found

    def _find_fault(self, slot: Slot) -> str:
        """Return why a slot has not sent all that was due."""
        connection = slot.connection
        if connection is None:
            return "missed" if slot.last_error in OWN_ERRORS else "unsent"
        if not connection.channel.takes:
            return "unsent"
        silent = self._silence(slot) > self.options.grace / 2
        if connection.is_full:
            return "unsent" if silent else "held"
        return "missed"

    def _sleep(self, seconds: float) -> Deferred[None]:
        """Return a Deferred that fires after some time, or when the run is over."""
        self._sleeping = waiting = Deferred[None]()
        call = self._reactor.callLater(max(0.0, seconds), waiting.callback, None)
        return waiting.addBoth(_cancel, call)


def _cancel(result: Any, call: Any) -> Any:
    """Cancel a call that is not needed any more; pass the result on."""
    if call.active():
        call.cancel()
    return result
