"""What a load generator knows of itself: whether it could send when it should. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from echosvc.probe.traffic.checked import (
    checked_amount,
    checked_count,
    checked_flag,
    checked_member,
)
from echosvc.probe.traffic.histogram import Histogram


@dataclass(frozen=True)
class GeneratorStats:
    """What one generator, or several together, knows of itself.

    :ivar at_rate: messages had intended times: fixed or Poisson arrivals.
    :ivar cpu_share: processor time that the process used, as a part of one core; of several
        generators the highest.
    :ivar wait_share: the part of the time in which the process was ready to run and waited for a
        processor, as Linux counts it; 0 where that is not known. Of several the highest.
    :ivar missed: messages that were due on a connection that took data, and were never sent.
    :ivar unsent: messages that were due while the peer took or answered nothing, and were never
        sent.
    :ivar lag: how late the generator was, once for each time that it sent what was due: from the
        intended time of the first message, or from when its connection took data again.
    :ivar held: messages that were due while as many were in flight as may be, and were never sent.
    :ivar paused: for how many seconds the process stood still: it was stopped, or got no processor.
        Of several generators the longest.
    """

    at_rate: bool = False
    cpu_share: float = 0.0
    wait_share: float = 0.0
    missed: int = 0
    unsent: int = 0
    lag: Histogram = field(default_factory=Histogram)
    held: int = 0
    paused: float = 0.0

    @property
    def lag_p99(self) -> float:
        """The 99th percentile of its own lag, seconds; 0 without a rate."""
        return self.lag.percentiles([99.0])[99.0] / 1e6

    def __add__(self, other: GeneratorStats) -> GeneratorStats:
        """Return what both know."""
        lag = Histogram()
        lag.add(self.lag)
        lag.add(other.lag)
        return GeneratorStats(
            self.at_rate or other.at_rate,
            max(self.cpu_share, other.cpu_share),
            max(self.wait_share, other.wait_share),
            self.missed + other.missed,
            self.unsent + other.unsent,
            lag,
            self.held + other.held,
            max(self.paused, other.paused),
        )

    def dump(self) -> dict[str, Any]:
        """Return the same for JSON."""
        return {
            "at_rate": self.at_rate,
            "cpu_share": self.cpu_share,
            "wait_share": self.wait_share,
            "missed": self.missed,
            "unsent": self.unsent,
            "lag": self.lag.dump(),
            "held": self.held,
            "paused": self.paused,
        }

    @classmethod
    def load(cls, dumped: Any) -> GeneratorStats:
        """Return what was dumped.

        :raises ValueError: it is something else.
        """
        return cls(
            checked_member(dumped, "at_rate", checked_flag),
            checked_member(dumped, "cpu_share", checked_amount),
            checked_member(dumped, "wait_share", checked_amount),
            checked_member(dumped, "missed", checked_count),
            checked_member(dumped, "unsent", checked_count),
            checked_member(dumped, "lag", Histogram.load),
            checked_member(dumped, "held", checked_count),
            checked_member(dumped, "paused", checked_amount),
        )
