"""An outage says how many connections had worked before, and in which time."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.endpoints.client import ClientTarget
from echosvc.probe.causes.outage import explain_by_outage
from echosvc.probe.causes.registry import Cause
from echosvc.probe.engine.connect_errors import NotConnected
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.settings import Settings

TIMEOUT = 10.0


class Dropping:
    """An endpoint whose packets are dropped: no connection to it is made, and none is refused."""

    def connect(self, factory: object) -> Deferred[None]:
        return Deferred()


class OutageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        endpoint: Any = Dropping()
        target = ClientTarget(endpoint, "lb.example:9000")
        self.path = Path(self.clock, target, Settings(timeout=TIMEOUT))

    def result_of(self, waiting: Deferred[Any]) -> Deferred[Any]:
        """Let the time pass until a Deferred has fired, for two minutes at most."""
        for _ in range(1200):
            if waiting.called:
                break
            self.clock.advance(0.1)
        return waiting

    def outage(self, answered: int, pause: float, later: float = 0.0) -> Cause:
        """What is found where so many connections were answered before none is.

        :param pause: seconds between two answers.
        :param later: seconds after them in which no connection is opened.
        """
        for _ in range(answered):
            self.path.context.history.note_answered()
            self.clock.advance(pause)
        self.clock.advance(later)
        opening = Deferred.fromCoroutine(self.path.open_once())
        failed: Failed = self.failureResultOf(self.result_of(opening), NotConnected).value
        explaining = Deferred.fromCoroutine(explain_by_outage(self.path, failed))
        cause = self.successResultOf(self.result_of(explaining))
        assert cause is not None
        return cause

    def test_connections_are_counted_that_worked_before_the_first_whose_packets_were_dropped(
        self,
    ) -> None:
        cause = self.outage(20, pause=0.25)
        self.assertEqual((cause.name, cause.final), ("outage", True))
        self.assertRegex(
            cause.finding,
            r"^nothing has answered any more for [\d.]+ s, after 20 connections in 5 s:"
            r" no connection to lb.example:9000 was answered within 3 s$",
        )
        self.assertEqual(cause.facts["answered_before"], 20)
        self.assertGreater(cause.facts["seconds"], TIMEOUT)

    def test_a_limit_in_a_time_is_possible_where_packets_of_new_connections_are_dropped(
        self,
    ) -> None:
        advice = self.outage(20, pause=0.25).advice
        self.assertTrue(advice.startswith("the host is gone, or a firewall drops packets to it"))
        self.assertIn("or a limit of connections a second or a minute", advice)

    def test_one_connection_has_no_time(self) -> None:
        self.assertIn("s, after 1 connection: ", self.outage(1, pause=0.0).finding)

    def test_what_was_long_ago_is_said_to_be_so(self) -> None:
        finding = self.outage(3, pause=1.0, later=90.0).finding
        self.assertIn("after 3 connections, the last of them more than 60 s before: ", finding)

    def test_it_waits_longer_where_many_connections_came_within_a_second(self) -> None:
        few, many = (self.outage(count, pause=0.05).facts["seconds"] for count in (5, 20))
        self.assertLess(few, TIMEOUT + 20)
        self.assertGreater(many, TIMEOUT + 30)
