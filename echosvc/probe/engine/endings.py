"""What the ends of several connections prove together. No I/O, no Twisted.

Theory of operation. A connection that rests may be ended because it rests, because it has reached
an age, or because what carries it restarts. Two things tell these apart. Beside the connections
that rest there is a busy one, which was opened before them: if it outlives them, the rest was the
reason. If it ends too, new connections are watched for as long: an age comes again, a restart does
not. Of those, two are busy at different rates, so that a limit of messages or of bytes, which both
reach at different ages, is not taken for a limit of age.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from echosvc._text import format_duration

#: Two times are the same if they differ by no more than this part of them, or this many seconds.
SAME_PART = 0.02
SAME_SECONDS = 0.05
#: Ends are one event if they come within so many seconds, whatever the age of the connections.
SAME_MOMENT = 0.15


@dataclass(frozen=True)
class Ending:
    """How a connection was ended that was watched. All moments are seconds of one clock.

    :ivar busy: bytes were exchanged all the time.
    :ivar opened: the moment when it was made.
    :ivar last_byte: when its last byte came.
    :ivar ended: when it ended; if by silence, when its last byte came.
    :ivar reason: ``FIN``, ``RST``, ``silence``, or the error of TLS.
    """

    busy: bool
    opened: float
    last_byte: float
    ended: float
    reason: str

    @property
    def age(self) -> float:
        """Seconds that it has lived."""
        return self.ended - self.opened

    @property
    def idle(self) -> float:
        """Seconds since its last byte when it ended."""
        return self.ended - self.last_byte


def tolerance(seconds: float) -> float:
    """Return by how much two measurements of this time may differ, seconds."""
    return max(SAME_SECONDS, SAME_PART * seconds)


def count_moments(endings: Sequence[Ending]) -> int:
    """Return at how many moments connections ended."""
    count, first = 0, -math.inf
    for ended in sorted(each.ended for each in endings):
        if ended > first + SAME_MOMENT:
            count, first = count + 1, ended
    return count


def ended_at_once(endings: Sequence[Ending]) -> bool:
    """Return whether connections ended together: all at one moment, or as many at each of a few."""
    return len(endings) > 1 and 2 * count_moments(endings) <= len(endings)


@dataclass(frozen=True)
class Lifetime:
    """After which age connections are ended, though they are busy.

    :ivar shortest: the lowest age seen, seconds.
    :ivar longest: the highest one.
    :ivar reason: how they are ended.
    :ivar idle_too: one that rested was seen to end at that age, too.
    """

    shortest: float
    longest: float
    reason: str
    idle_too: bool

    @property
    def varies(self) -> bool:
        """Whether connections reach different ages."""
        return self.longest - self.shortest > tolerance(self.longest)

    def describe(self) -> str:
        """Return it in words."""
        ages = format_duration(self.longest)
        if self.varies:
            ages = f"{format_duration(self.shortest)} to {ages}"
        whose = ", busy or not" if self.idle_too else " though they are busy"
        return f"connections live {ages} at most{whose}: then {_describe_end(self.reason)}"

    @property
    def facts(self) -> dict[str, Any]:
        """The same for programs."""
        return {"lifetime_seconds": round(self.shortest, 3), "how": self.reason}


def _describe_end(reason: str) -> str:
    return "nothing comes any more" if reason == "silence" else f"comes {reason}"


def find_lifetime(endings: Sequence[Ending], busy: int) -> Lifetime | None:
    """Return the limit of life that the ends of connections prove; ``None``: they prove none.

    :param busy: how many busy connections were watched, at different rates.
    """
    ages = [each.age for each in endings if each.busy]
    if len(ages) < max(2, busy):
        return None
    shortest, longest = min(ages), max(ages)
    margin = max(tolerance(longest), longest - shortest, SAME_MOMENT)
    rested = [each for each in endings if not each.busy]
    idle_too = any(shortest - margin <= each.age <= longest + margin for each in rested)
    if not _is_one_age(endings) and (not idle_too or ended_at_once(endings)):
        return None  # each at an age of its own: a limit of messages; or all at once
    reason = next(each.reason for each in endings if each.busy)
    return Lifetime(shortest, longest, reason, idle_too)


def _is_one_age(endings: Sequence[Ending]) -> bool:
    """Return whether busy connections ended at one age.

    On a busy machine the ages of short lives differ more. Then they are one age if the moments of
    the ends differ by more than that, as the connections were opened one after the other.
    """
    busy = [each for each in endings if each.busy]
    ages, moments = [each.age for each in busy], [each.ended for each in busy]
    spread = max(ages) - min(ages)
    apart = min(SAME_MOMENT, (max(moments) - min(moments)) / 2)
    return spread <= max(tolerance(max(ages)), apart)


def is_repeated(first: float, lifetime: Lifetime) -> bool:
    """Return whether an age at which connections ended is that of new connections."""
    margin = max(2 * tolerance(lifetime.longest), SAME_MOMENT)
    return lifetime.shortest - margin <= first <= lifetime.longest + margin


def busy_age(endings: Sequence[Ending]) -> float:
    """Return the age at which busy connections ended; 0: none did."""
    ages = [each.age for each in endings if each.busy]
    return median(ages) if ages else 0.0
