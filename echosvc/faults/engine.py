"""The schedule of one connection: what is done with what comes, and when. No Twisted, no I/O.

Who owns the sockets says what came and at what time, and asks what may leave now and when to ask
again. Time is a number of seconds that only grows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from echosvc.faults.kind import DOWN, UP, Demand
from echosvc.faults.spec import FaultSpec
from echosvc.faults.stage import CARRIES, Action, Context, Item, Stage, Timer

#: Bytes that a direction holds before its sender has to wait, where no fault asks for more or less.
LIMIT = 1 << 18
#: For a latency, the window of a long path; and for a rate, what passes in so many seconds, at
#: least so many bytes: a longer queue would be another latency.
WINDOW, RATE_SECONDS, RATE_LEAST = 1 << 22, 0.5, 4096
#: What an item costs beside its bytes, in bytes.
_ITEM_COST = 64
#: The most that is to be read at once.
LONGEST_READ = 1 << 16


class ActiveFault(NamedTuple):
    """A fault that is set.

    :ivar name: its name among those that are set at the same time.
    :ivar spec: the fault.
    :ivar since: when it was set, seconds of the clock.
    :ivar base: how many connections had been accepted by then.
    """

    name: str
    spec: FaultSpec
    since: float
    base: int


class FaultEvent(NamedTuple):
    """A fault that has happened.

    :ivar fault: the fault.
    :ivar connection: the number of the connection, from 1 on; 0 = it happened to the listener.
    :ivar direction: ``up``, ``down``; "" = it happened to the connection.
    :ivar offset: how many bytes of this direction had come to the fault.
    """

    fault: ActiveFault
    connection: int
    direction: str
    offset: int


class Direction:
    """One direction of a connection: its stages, and the queue of what leaves.

    :ivar name: ``up`` or ``down``.
    :ivar limit: bytes that it holds before the sender has to wait.
    :ivar queued: what it holds: bytes, and the cost of each item.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.limit, self.queued = LIMIT, 0
        self._end: Action | None = None
        self._stages: dict[ActiveFault, Stage] = {}
        self._queue: deque[Item] = deque()
        self._last = -math.inf

    @property
    def stages(self) -> Mapping[ActiveFault, Stage]:
        """The stages, by the faults that they belong to."""
        return self._stages

    @property
    def is_full(self) -> bool:
        """Whether the sender has to wait."""
        return self.queued > self.limit

    @property
    def due(self) -> float:
        """When the next item may leave; ``math.inf`` = not before something else happens."""
        return self._queue[0].due if self._queue else math.inf

    def push(self, item: Item) -> None:
        """Take what comes from the sender."""
        self._feed(item, tuple(self._stages.values()))

    def _feed(self, item: Item, stages: Sequence[Stage]) -> None:
        items: Iterable[Item] = (item,)
        for stage in stages:
            items = [leaving for each in items for leaving in stage.process(each)]
        for each in items:
            self._enqueue(each)

    def _enqueue(self, item: Item) -> None:
        if not self._takes(item.action):
            return
        item = item.later(self._last)
        self._last = item.due
        self._queue.append(item)
        self.queued += len(item.data) + _ITEM_COST
        self._end = None if item.action in CARRIES else item.action

    def _takes(self, action: Action) -> bool:
        """Return whether something may follow: nothing but another end follows a FIN."""
        if self._end is Action.FIN:
            return action not in CARRIES and action is not Action.FIN
        return self._end is None

    def take(self, now: float) -> Item | None:
        """Remove and return the next item, if it may leave now."""
        if not self._queue or self._queue[0].due > now:
            return None
        item = self._queue.popleft()
        self.queued -= len(item.data) + _ITEM_COST
        return item

    def set_stages(self, stages: dict[ActiveFault, Stage], now: float) -> None:
        """Replace the stages. What one that is gone has held back leaves now."""
        for fault in [each for each in self._stages if each not in stages]:
            names = list(self._stages)
            behind = [self._stages[each] for each in names[names.index(fault) + 1 :]]
            held = self._stages.pop(fault).release()
            if held:
                self._feed(Item(now, Action.SEND, held), behind)
            self._release(fault, now)
        self._stages = stages

    def _release(self, fault: ActiveFault, now: float) -> None:
        """Let what waits for a fault in the queue leave at once."""
        if not any(each.holder == fault for each in self._queue):
            return
        self._queue = deque(
            each._replace(due=now, holder=None) if each.holder == fault and each.due > now else each
            for each in self._queue
        )
        self._last = now if self._last == math.inf else self._last

    def clear(self) -> None:
        """Drop everything, now and from now on."""
        self._queue.clear()
        self.queued, self._end = 0, Action.SILENCE


class ConnectionFaults:
    """What the faults do to one connection.

    :param number: its number, from 1 on.
    :param seed: what all draws depend on.
    :param report: called with each event.
    :param now: when it was accepted, seconds of the clock.
    :ivar up: what the client sends.
    :ivar down: what the server sends.
    :ivar instead: what is done in place of relaying: ``close``, ``reset`` or ``silence``; "" =
        nothing.
    """

    def __init__(
        self, number: int, seed: object, report: Callable[[FaultEvent], None], now: float
    ) -> None:
        self.number, self._seed, self._report = number, seed, report
        self._accepted = now
        self.up, self.down = Direction(UP), Direction(DOWN)
        self.instead = ""
        self._contexts: dict[ActiveFault, Context] = {}
        self._timers: dict[ActiveFault, Timer] = {}

    def set_faults(self, faults: Sequence[ActiveFault], now: float) -> None:
        """Replace the faults; those that stay go on where they are."""
        old = self._contexts
        self._contexts = {each: old.get(each) or self._context(each) for each in faults}
        for direction in (self.up, self.down):
            self._set_direction(direction, now)
        self._timers = {
            fault: timer
            for fault, context in self._contexts.items()
            if (timer := self._timers.get(fault) or fault.spec.kind.timer(context)) is not None
        }

    def accept(self) -> None:
        """Decide what is done in place of relaying. Called once, with the first faults set."""
        for fault, context in self._contexts.items():
            self.instead = self.instead or fault.spec.kind.accepts(context)

    def _set_direction(self, direction: Direction, now: float) -> None:
        kept = direction.stages
        stages = {
            fault: stage
            for fault, context in self._contexts.items()
            if (stage := kept.get(fault) or fault.spec.kind.stage(context, direction.name))
        }
        direction.limit = _limit(
            [each.spec.kind.demand(self._contexts[each], direction.name) for each in stages]
        )
        direction.set_stages(stages, now)

    def _context(self, fault: ActiveFault) -> Context:
        def report(direction: str, offset: int) -> None:
            self._report(FaultEvent(fault, self.number, direction, offset))

        key = f"{self._seed}/{fault.spec}/{self.number - fault.base}"
        return Context(fault.spec.values, fault, key, self._accepted, fault.since, report)

    # -- what comes -----------------------------------------------------------

    def received(self, direction: Direction, data: bytes, now: float) -> None:
        """Take bytes that came."""
        for timer in self._timers.values():
            timer.moved(now)
        direction.push(Item(now, Action.SEND, data))

    def ended(self, direction: Direction, now: float) -> None:
        """Take the FIN of the sender."""
        direction.push(Item(now, Action.FIN))

    def broke(self, direction: Direction, now: float) -> None:
        """Take the end of the sender's connection by a reset."""
        direction.push(Item(now, Action.BREAK))

    # -- what leaves ----------------------------------------------------------

    @property
    def timer_due(self) -> float:
        """When the next timer is due."""
        return min((each.due for each in self._timers.values()), default=math.inf)

    def take_timer(self, now: float) -> Action | None:
        """Return what a timer asks for now; ``None`` = nothing more."""
        for timer in self._timers.values():
            if timer.due <= now and (action := timer.happen()) is not None:
                return action
        return None

    @property
    def read_size(self) -> int:
        """The most that is to be read at once, so that no queue exceeds its limit by much."""
        return max(1, min(LONGEST_READ, self.up.limit, self.down.limit))


def _limit(demands: Sequence[Demand]) -> int:
    """Return how many bytes a direction holds."""
    seconds = sum(each.seconds for each in demands)
    rate = min((each.rate for each in demands), default=math.inf)
    limit = WINDOW if seconds else LIMIT
    if rate < math.inf:
        limit = min(limit, max(RATE_LEAST, int(rate * (seconds + RATE_SECONDS))))
    return max([limit, *(each.size for each in demands)])
