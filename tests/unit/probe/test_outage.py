"""An outage says how many connections had worked before, in which time, and why none does now."""

from __future__ import annotations

from typing import Any

from echosvc.probe.causes.outage import explain_by_outage
from echosvc.probe.causes.registry import Cause
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

TIMEOUT = 10.0


class Dropping(MemoryServer):
    """Answers, and then does not.

    :ivar dropped: packets of new connections are dropped; :ivar hangs: they are made, and not
        answered.
    """

    dropped = hangs = False

    def admit(self) -> bool:
        return not self.dropped

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        if not self.hangs:
            super().received(connection, data)


class DroppedTests(NetworkTestCase):
    def outage(
        self,
        answered: int,
        pause: float,
        later: float = 0.0,
        how: str = "dropped",
        tls: bool = False,
    ) -> Cause:
        """What is found where so many connections were answered before none is.

        :param pause: seconds after each.
        :param later: seconds after them in which no connection is opened.
        :param how: what happens to connections then, an attribute of the server.
        """
        server = Dropping()
        path = self.path(server)
        path.context.encrypted = tls
        for _ in range(answered):
            self.result(path.open())
            path.close()
            self.clock.advance(pause)
        self.clock.advance(later)
        setattr(server, how, True)
        found: Any = self.result(explain_by_outage(path, self.failure(path.open())))
        return found

    def test_connections_are_counted_that_worked_before_the_first_that_was_dropped(self) -> None:
        cause = self.outage(20, pause=0.25)
        self.assertEqual((cause.name, cause.final), ("outage", True))
        self.assertRegex(
            cause.finding,
            r"^nothing has answered any more for [\d.]+ s, after 20 connections in [45][\d.]* s:"
            r" no connection to nowhere:1",
        )
        self.assertEqual(cause.facts["answered_before"], 20)
        self.assertGreater(cause.facts["seconds"], TIMEOUT)

    def test_one_connection_has_no_time(self) -> None:
        self.assertIn("s, after 1 connection: ", self.outage(1, pause=0.0).finding)

    def test_what_was_long_ago_is_said_to_be_so(self) -> None:
        finding = self.outage(3, pause=1.0, later=90.0).finding
        self.assertIn("after 3 connections, the last of them more than 60 s before: ", finding)

    def test_it_waits_longer_where_many_connections_came_within_a_second(self) -> None:
        few, many = (self.outage(count, pause=0.02).facts["seconds"] for count in (5, 20))
        self.assertLess(few, TIMEOUT + 20)
        self.assertGreater(many, TIMEOUT + 30)

    def test_what_drops_packets_is_no_server_that_has_ended(self) -> None:
        advice = self.outage(20, pause=0.25).advice
        self.assertTrue(
            advice.startswith("the host is gone, or a firewall drops packets to it; or")
        )
        self.assertIn("or a limit of connections a second or a minute", advice)

    def test_a_server_that_hangs_has_not_ended(self) -> None:
        advice = self.outage(5, pause=0.25, how="hangs").advice
        self.assertTrue(advice.startswith("connections are still made: the server hangs, or a mid"))

    def test_where_tls_may_hang_that_is_said(self) -> None:
        advice = self.outage(5, pause=0.25, tls=True).advice
        self.assertIn("or what speaks TLS there hangs", advice)
