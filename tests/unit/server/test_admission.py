"""Who is let in, in what order the reasons count, and that places come back."""

from __future__ import annotations

import resource
from types import SimpleNamespace

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from echosvc.config.schema import DEFAULT_MAX_CONNECTIONS, Config
from echosvc.server.admission import RESERVED_FDS, Admission, default_max_connections
from echosvc.server.events import EventLog
from echosvc.server.factory import EchoFactory


def v4(host: str) -> IPv4Address:
    return IPv4Address("TCP", host, 5)


class AdmissionTests(SynchronousTestCase):
    def door(self, **settings: object) -> Admission:
        self.clock = Clock()
        return Admission(Config(**settings), EventLog("quiet", self.clock.callLater))

    def connection(self, address: object) -> object:
        return SimpleNamespace(remote_address=address)

    def why(self, door: Admission, address: object, ask: str = "admits") -> str:
        """Why this address is refused; "" if it is not."""
        self.clock.advance(10)
        with capturedLogs() as events:
            admitted = getattr(door, ask)(address)
        self.assertEqual(admitted, not events)
        return formatEvent(events[0]) if events else ""

    def test_who_was_refused_leaves_no_timer_once_nobody_listens(self) -> None:
        clock = Clock()
        factory = EchoFactory(clock=clock, deny=("0.0.0.0/0",), log="quiet")
        factory.doStart()
        self.assertIsNone(factory.buildProtocol(v4("192.0.2.1")))
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        factory.doStop()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_by_default_everybody_may_come_in(self) -> None:
        door = self.door()
        for address in (v4("192.0.2.1"), IPv6Address("TCP", "::1", 5), UNIXAddress(None)):
            self.assertTrue(door.admits(address))

    def test_denied_is_denied_whatever_is_allowed(self) -> None:
        door = self.door(allow=("192.0.2.0/24",), deny=("192.0.2.7",))
        self.assertEqual(self.why(door, v4("192.0.2.1")), "")
        self.assertIn("denied remote = 192.0.2.7:5", self.why(door, v4("192.0.2.7")))
        self.assertIn("not allowed", self.why(door, v4("192.0.3.1")))
        self.assertEqual(door.refused, 2)

    def test_a_dual_stack_client_is_ipv4_and_a_unix_one_always_in(self) -> None:
        door = self.door(allow=("192.0.2.0/24",))
        self.assertTrue(door.admits(IPv6Address("TCP", "::ffff:192.0.2.1", 5)))
        self.assertTrue(door.admits(UNIXAddress("/run/a")))
        self.assertFalse(door.admits(IPv6Address("TCP", "::1", 5)))

    def test_places_in_all_come_back(self) -> None:
        door = self.door(max_connections=2)
        connections = [self.connection(v4("192.0.2.1")) for _ in range(2)]
        for connection in connections:
            self.assertFalse(door.full)
            door.opened(connection)
        self.assertIn("limit of 2 connections", self.why(door, v4("192.0.2.1")))
        self.assertIn("limit of 2 connections", self.why(door, UNIXAddress(None)))
        door.closed(connections[0])
        self.assertEqual(self.why(door, v4("192.0.2.1")), "")

    def test_more_places_than_descriptors_are_warned_of(self) -> None:
        with capturedLogs() as events:
            self.door(max_connections=1 << 30)
        self.assertIn("more than descriptors allow", formatEvent(events[0]))

    def test_zero_is_no_limit(self) -> None:
        door = self.door(max_connections=0)
        door.open = 10**9
        self.assertFalse(door.full)

    def test_a_peer_has_its_places_and_others_theirs(self) -> None:
        door = self.door(max_per_peer=1)
        connection = self.connection(v4("192.0.2.1"))
        door.opened(connection)
        self.assertIn("limit of 1 for one peer", self.why(door, v4("192.0.2.1")))
        self.assertEqual(self.why(door, v4("192.0.2.2")), "")
        door.closed(connection)
        self.assertEqual(self.why(door, v4("192.0.2.1")), "")

    def test_a_unix_peer_is_not_counted_for_itself(self) -> None:
        door = self.door(max_per_peer=1)
        for _ in range(3):
            self.assertTrue(door.admits(UNIXAddress(None)))
            door.opened(self.connection(UNIXAddress(None)))
        door.closed(self.connection(UNIXAddress(None)))

    def test_who_waits_for_a_place_is_told_once_there_is_one(self) -> None:
        door = self.door(max_connections=1)
        told: list[str] = []
        tell = lambda: told.append("room")  # noqa: E731
        forgotten = lambda: told.append("forgotten")  # noqa: E731
        connection = self.connection(v4("192.0.2.1"))
        door.opened(connection)
        with capturedLogs() as events:
            door.wait_for_slot(tell)
            door.wait_for_slot(forgotten)
        self.assertEqual(len(events), 1)
        door.cancel_wait(forgotten)
        door.cancel_wait(forgotten)
        self.assertEqual(told, [])
        door.closed(connection)
        self.assertEqual(told, ["room"])
        door.opened(connection)
        door.closed(connection)
        self.assertEqual(told, ["room"])

    def test_only_proxies_may_speak_for_others(self) -> None:
        door = self.door(proxy_protocol="require", proxy_from=("192.0.2.1",))
        ask = "admits_proxy"
        self.assertEqual(self.why(door, v4("192.0.2.1"), ask), "")
        self.assertEqual(self.why(door, UNIXAddress(None), ask), "")
        self.assertIn("not one of the proxies", self.why(door, v4("192.0.2.2"), ask))
        door.limit, door.open = 1, 1
        self.assertIn("limit of 1", self.why(door, v4("192.0.2.1"), ask))

    def test_a_flood_of_refusals_is_one_line_a_second_and_a_count(self) -> None:
        door = self.door(deny=("0.0.0.0/0",))
        with capturedLogs() as events:
            for _ in range(1000):
                door.admits(v4("192.0.2.1"))
            self.clock.advance(1)
        self.assertEqual([each.get("count") for each in events], [None, 999])
        self.assertEqual(door.refused, 1000)


class PlacesTests(SynchronousTestCase):
    def test_descriptors_are_left_for_other_things(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
        self.assertEqual(default_max_connections(), 500 - RESERVED_FDS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, hard))
        self.assertEqual(default_max_connections(), 1)

    def test_there_are_not_more_than_the_most(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < DEFAULT_MAX_CONNECTIONS + RESERVED_FDS:
            self.skipTest(f"the limit of descriptors is {hard}")
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.assertEqual(default_max_connections(), DEFAULT_MAX_CONNECTIONS)
