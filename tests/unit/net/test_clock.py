"""A reactor on a clock that nobody can set."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.python.runtime import seconds as wall_seconds
from twisted.trial.unittest import SynchronousTestCase

from echosvc.connection.scheduler import DeadlineScheduler
from echosvc.net.clock import use_monotonic_clock
from echosvc.net.reactor import LeanReactor


class ClockTests(SynchronousTestCase):
    def reactor(self, kind: Any) -> Any:
        made = kind()
        self.addCleanup(made.removeAll)
        return made

    def test_timers_are_kept_by_it(self) -> None:
        for kind in (SelectReactor, EPollReactor):
            reactor = self.reactor(kind)
            self.assertTrue(use_monotonic_clock(reactor))
            before = time.monotonic()
            call = reactor.callLater(5, lambda: None)
            self.assertTrue(before + 5 <= call.getTime() <= time.monotonic() + 5)
            self.assertTrue(4 < reactor.timeout() <= 5)
            fired: list[str] = []
            reactor.callLater(0, fired.append, "now")
            reactor.runUntilCurrent()
            self.assertEqual(fired, ["now"])

    def test_it_is_not_changed_under_what_is_scheduled(self) -> None:
        reactor = self.reactor(SelectReactor)
        call = reactor.callLater(5, lambda: None)
        self.assertFalse(use_monotonic_clock(reactor))
        self.assertIs(reactor.seconds, wall_seconds)
        call.cancel()

    def test_one_that_has_a_clock_of_its_own_keeps_it(self) -> None:
        for kind in (LeanReactor, AsyncioSelectorReactor):
            reactor = self.reactor(kind)
            use_monotonic_clock(reactor)
            self.assertTrue(use_monotonic_clock(reactor))
            self.assertLess(abs(reactor.seconds() - time.monotonic()), 1)

    def test_a_sweep_asks_it(self) -> None:
        reactor = self.reactor(SelectReactor)
        use_monotonic_clock(reactor)
        before = time.monotonic()
        self.assertTrue(before <= DeadlineScheduler(reactor, []).now() <= time.monotonic())
