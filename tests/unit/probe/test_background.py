"""What probes find beside the others: that all is well, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from echosvc.probe.background import BackgroundProbes, EarlyFinding
from echosvc.probe.checks.registry import Probe
from echosvc.probe.engine.findings import Failed, Finding, Skipped

#: Seconds that the probe of the tests waits.
WAIT = 5.0


class Memory:
    """What the probes need of a path."""

    def __init__(self, clock: Clock) -> None:
        self.reactor, self.settings, self.closed = clock, SimpleNamespace(), 0

    @contextmanager
    def beside(self) -> Iterator[Memory]:
        yield self
        self.closed += 1


class BackgroundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.path: Any = Memory(self.clock)
        self.background = BackgroundProbes(self.path)

    def start(self, error: Exception | None = None, wait: float = WAIT) -> None:
        """Start a probe that waits, and then finds something or raises an error."""

        async def run(path: Any) -> Finding:
            await deferLater(path.reactor, wait)
            if error is not None:
                raise error
            return Finding("well")

        never: Any = None
        probe = Probe("rest", 1, "", never, lambda _: 0, lambda _: WAIT, bool, "", beside=run)
        other = Probe("other", 2, "", never, lambda _: 0, lambda _: 0, bool, "")
        self.background.start([probe, other])

    def finding(self, name: str = "rest") -> Deferred[EarlyFinding | None]:
        return Deferred.fromCoroutine(self.background.finding(name))

    def test_a_finding_is_waited_for(self) -> None:
        self.start()
        finding = self.finding()
        self.assertNoResult(finding)
        self.clock.advance(WAIT)
        early = self.successResultOf(finding)
        assert early is not None
        self.assertEqual(early.finding.text, "well")
        self.assertEqual(self.path.closed, 1)

    def test_a_failure_is_not_taken(self) -> None:
        for error in (KeyError(), Failed("bad"), Skipped("not here"), ConnectionError()):
            self.start(error)
            self.clock.advance(WAIT)
            self.assertIsNone(self.successResultOf(self.finding()))

    def test_what_takes_far_longer_than_it_waits_is_given_up(self) -> None:
        self.start(wait=1000.0)
        self.clock.advance(WAIT + 10)
        self.assertIsNone(self.successResultOf(self.finding()))
        self.assertEqual(self.path.closed, 1)

    def test_a_probe_that_cannot_be_asked_so_is_not(self) -> None:
        self.start()
        self.assertIsNone(self.successResultOf(self.finding("other")))
        self.assertIsNone(self.successResultOf(self.finding("unknown")))

    def test_a_stop_ends_the_connections(self) -> None:
        self.start()
        self.background.stop()
        self.assertEqual((self.path.closed, self.clock.getDelayedCalls()), (1, []))
