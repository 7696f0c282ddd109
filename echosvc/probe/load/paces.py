"""When each connection of a load sends: its share of the whole."""

from __future__ import annotations

from echosvc.probe.load.options import LoadOptions
from echosvc.probe.traffic.schedule import ARRIVALS, ClosedLoop, OpenLoop, Pace, Schedule, Step

#: So many messages that were never sent are counted at most.
MAX_COUNTED = 1_000_000
#: Above the number of any connection's place.
_PLACES = 1 << 20


def make_pace(options: LoadOptions, place: int, seed: int) -> Pace:
    """Return the pace of one place; at a rate it waits for its beginning.

    At a fixed rate the messages go to the places by turns. Poisson arrivals need no turns: the sum
    of independent Poisson processes is one, so each place has its own, with its part of the rate.

    :param place: from 0, of all places of the run, on all machines.
    :param seed: of the run.
    """
    if not options.rate:
        return ClosedLoop(options.in_flight)
    count = options.connections
    if options.arrivals == ARRIVALS[0]:
        whole = Schedule.at_rate(options.rate, options.duration)
        return OpenLoop(whole.share(place, count), depth=options.in_flight)
    step = Step(options.rate / count, options.duration)
    schedule = Schedule((step,), options.arrivals, seed * _PLACES + place)
    return OpenLoop(schedule, depth=options.in_flight)


def count_due(pace: Pace, now: float) -> int:
    """Return how many messages are due and were not sent, at most :data:`MAX_COUNTED`.

    They are taken from the pace.
    """
    found = 0
    if isinstance(pace, OpenLoop):
        while found < MAX_COUNTED and pace.take(now, 0) is not None:
            found += 1
    return found


class ConnectRate:
    """Spreads the openings of connections over time.

    :param rate: connections a second; 0: no limit.
    """

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._next = 0.0

    def reserve(self, now: float) -> float:
        """Return how many seconds the next opening must wait, and count it as made."""
        when = max(now, self._next)
        self._next = when + self._interval
        return when - now
