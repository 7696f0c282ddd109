"""Loads of a server in memory, on a clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from echosvc.endpoints.client import ClientTarget
from echosvc.net.timer import ReactorTimer, Timer
from echosvc.probe.load.generator import Load
from echosvc.probe.load.options import LoadOptions
from echosvc.probe.traffic.load_result import LoadResult
from echosvc.wire.template import Template
from tests.support.memory_network import MemoryEndpoint, MemoryServer, NetworkTestCase

NO_PREFIX = Template.literal(b"")


class LoadTestCase(NetworkTestCase):
    """Runs loads in memory. Time passes only as far as something is due."""

    def make_load(self, server: MemoryServer, delay: float = 0.0005, **options: Any) -> Load:
        endpoint: Any = MemoryEndpoint(self.clock, server, delay)
        options = {"connections": 2, "duration": 0.2, "prefix": NO_PREFIX, "seed": 1, **options}
        asked = LoadOptions(max_cpu_wait=1.0, **options)
        target = ClientTarget(endpoint, "nowhere:1", endpoint)

        def timer(reactor: Any, call: Callable[[], object]) -> Timer:
            return ReactorTimer(reactor, call, self.clock.seconds)

        return Load(self.clock, target, asked, "nowhere", now=self.clock.seconds, timer=timer)

    def load(self, server: MemoryServer, delay: float = 0.0005, **options: Any) -> LoadResult:
        """The result of a whole load."""
        return self.result(self.make_load(server, delay, **options).run())

    def near(self, found: float, expected: float, tolerance: float) -> None:
        self.assertLessEqual(abs(found - expected), tolerance, (found, expected))

    def begin(self, load: Load, seconds: float) -> Deferred[LoadResult]:
        """A load that is under way for so long."""
        running = Deferred.fromCoroutine(load.run())
        end = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and calls[0].getTime() <= end:
            self.clock.advance(max(0.0, calls[0].getTime() - self.clock.seconds()))
        return running


def faults(result: LoadResult) -> dict[str, int]:
    """The counters of a result that are not 0, but for those of sizes."""
    names = (
        "lost", "damaged", "abandoned", "reordered", "late", "unanswered", "duplicated",
        "unexpected_bytes",
    )  # fmt: skip
    counted = {name: getattr(result.tally, name) for name in names}
    return {name: count for name, count in counted.items() if count}
