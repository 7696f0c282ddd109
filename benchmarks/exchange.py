"""What a message of a load costs without the kernel: ``python -m benchmarks.exchange``.

Each message is made, counted as sent, compared with its reply and counted as answered, in memory.
The time is that of the processor, so that other programs disturb it little; the best of several
runs is printed.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from echosvc.probe.traffic.exchange import Exchange
from echosvc.probe.traffic.messages import Messages, Ring
from echosvc.probe.traffic.replies import ReplyFormat
from echosvc.probe.traffic.schedule import ClosedLoop, OpenLoop, Schedule
from echosvc.probe.traffic.tally import Tally
from echosvc.wire.template import Template

_RUNS = 5


@dataclass(frozen=True)
class Case:
    """One way to load a server.

    :ivar at_rate: messages have intended times; else each is sent when one is answered.
    """

    prefix: str
    depth: int = 1
    size: int = 64
    count: int = 100_000
    at_rate: bool = False

    @property
    def words(self) -> str:
        """The case in words."""
        pace = "at a rate" if self.at_rate else f"{self.depth} in flight"
        return f"{self.size} bytes, {pace}, prefix {self.prefix!r}"

    def exchange(self) -> Exchange:
        """Return a connection of this case."""
        replies = ReplyFormat("chunk", Template.parse(self.prefix))
        messages = Messages(Ring(1, self.size, replies.excluded), 1, self.size)
        pace = OpenLoop(Schedule.at_rate(1e6), 0.0) if self.at_rate else ClosedLoop(self.depth)
        return Exchange(messages, replies, pace, Tally())

    def measure(self) -> float:
        """Return the seconds of processor time that a message takes."""
        exchange, prefix, answered, now = self.exchange(), self.prefix.encode(), 0, 0.0
        began = time.process_time()
        while answered < self.count:
            now += 1e-6 * self.depth
            request = exchange.due(now)
            if request:
                answered += len(exchange.received(prefix + request, now + 0.000123))
        return (time.process_time() - began) / answered


CASES = (
    Case("", at_rate=True),
    Case("Sending: ", at_rate=True),
    Case(""),
    Case("Sending: "),
    Case("Sending: ", depth=16),
    Case("Sending: ", size=65536, count=3000),
)


def main() -> int:
    """Print what a message of each case costs."""
    for case in CASES:
        best = min(case.measure() for _ in range(_RUNS))
        rate = case.size / best / 1024 / 1024
        print(f"{best * 1e6:6.2f} us a message, {rate:5.0f} MiB/s: {case.words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
