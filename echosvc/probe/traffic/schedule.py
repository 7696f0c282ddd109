"""When messages are due: intended times, at a rate or as soon as one is answered. No clock.

Theory of operation. An arrival is a place on an axis of operational time, on which one message is
due a unit: at 0, 1, 2 … for fixed arrivals, and at the sums of exponential gaps for a Poisson
process. The steps map this axis to seconds: a step of 100 messages a second for 10 s covers 1,000
units. So the arrivals do not depend on the steps, and a share takes every n-th of them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Protocol

#: The kinds of arrivals.
ARRIVALS = ("fixed", "poisson")


@dataclass(frozen=True)
class Step:
    """A part of a schedule.

    :ivar rate: messages a second; 0: a pause.
    :ivar seconds: how long it lasts.
    """

    rate: float
    seconds: float = math.inf

    def __post_init__(self) -> None:
        """Check the values."""
        if not (0 <= self.rate < math.inf and self.seconds > 0):
            raise ValueError(f"no step: {self.rate:g} messages a second for {self.seconds:g} s")


@dataclass(frozen=True)
class Schedule:
    """The intended times of messages at given rates.

    :ivar steps: one after the other; after the last one nothing is due.
    :ivar arrivals: ``fixed`` or ``poisson``.
    :ivar seed: of the Poisson process.
    :ivar first: the number of the first message of this share.
    :ivar stride: this share has every so many-th message.
    """

    steps: tuple[Step, ...]
    arrivals: str = ARRIVALS[0]
    seed: int = 0
    first: int = 0
    stride: int = 1

    def __post_init__(self) -> None:
        """Check the kind of arrivals."""
        if self.arrivals not in ARRIVALS:
            raise ValueError(f"arrivals are {' or '.join(ARRIVALS)}, not {self.arrivals!r}")

    @classmethod
    def at_rate(cls, rate: float, seconds: float = math.inf) -> Schedule:
        """Return a schedule of one fixed rate."""
        return cls((Step(rate, seconds),))

    def share(self, index: int, total: int) -> Schedule:
        """Return one of ``total`` shares. All shares together are the whole, message for message.

        A share may be shared again: first among machines, then among connections. With Poisson
        arrivals each share draws the gaps of the whole, 0.2 µs each.
        """
        if not 0 <= index < total:
            raise ValueError(f"there is no share {index} of {total}")
        return replace(self, first=self.first + self.stride * index, stride=self.stride * total)

    def times(self) -> Iterator[float]:
        """Yield the intended times, seconds since the start, in order."""
        if self.arrivals == ARRIVALS[0]:
            return self._in_seconds(count(self.first, self.stride))
        return self._in_seconds(islice(self._poisson(), self.first, None, self.stride))

    def _poisson(self) -> Iterator[float]:
        draw, place = random.Random(self.seed).expovariate, 0.0  # noqa: S311 - no secret
        while True:
            place += draw(1.0)
            yield place

    def _in_seconds(self, places: Iterable[float]) -> Iterator[float]:
        """Map places of the operational axis to seconds."""
        steps, rate, began, start, end = iter(self.steps), 0.0, 0.0, 0.0, 0.0
        seconds = 0.0
        for place in places:
            while place >= end:
                step = next(steps, None)
                if step is None:
                    return
                began, start = began + seconds, end
                rate, seconds = step.rate, step.seconds
                end = start + rate * seconds if rate else start
            yield began + (place - start) / rate


class Pace(Protocol):
    """When the messages of one connection are due."""

    @property
    def next_time(self) -> float:
        """When the next one is; infinity: once one is answered, or never."""

    def take(self, now: float, in_flight: int) -> float | None:
        """Return the intended time of the message that is due now; ``None``: none is."""


class ClosedLoop:
    """As many messages in flight as allowed; the next is due as soon as one is answered.

    :param depth: how many may be in flight on a connection.
    """

    next_time = math.inf

    def __init__(self, depth: int = 1) -> None:
        if depth < 1:
            raise ValueError(f"{depth} messages in flight are too few")
        self.depth = depth

    def take(self, now: float, in_flight: int) -> float | None:
        """Return the intended time of the message that is due now; ``None``: none is."""
        return now if in_flight < self.depth else None


class OpenLoop:
    """Messages at their intended times, as long as not too many of a connection are in flight.

    It outlives a connection: what becomes due while none is open is due on the next one.

    :param schedule: of one connection.
    :param start: the time of the caller's clock at which it starts; infinity: it waits for
        :meth:`begin`.
    :param depth: how many may be in flight on a connection; infinity: whether those before are
        answered or not.
    :ivar next_time: the intended time of the next message; infinity: there is none.
    """

    def __init__(
        self, schedule: Schedule, start: float = math.inf, depth: float = math.inf
    ) -> None:
        self._times, self._start, self.depth = schedule.times(), start, depth
        self._first = next(self._times, math.inf)
        self.next_time = start + self._first

    def begin(self, start: float) -> None:
        """Start, if it waits.

        :param start: the time of the caller's clock.
        """
        self._start, self.next_time = start, start + self._first

    def take(self, now: float, in_flight: int) -> float | None:
        """Return the intended time of the message that is due now; ``None``: none is."""
        intended = self.next_time
        if now < intended or in_flight >= self.depth:
            return None
        self.next_time = self._start + next(self._times, math.inf)
        return intended
