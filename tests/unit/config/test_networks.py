"""Who may connect: networks of both families, and how many of one peer."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc.config.networks import NetworkError, Networks
from echosvc.server.admission import PerPeerCounter

IPV4 = st.ip_addresses(v=4).map(str)
IPV6 = st.ip_addresses(v=6).map(str)


class NetworksTests(SynchronousTestCase):
    def test_an_address_is_in_its_network_and_no_other(self) -> None:
        networks = Networks(["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"])
        for host in ("192.0.2.0", "192.0.2.255", "2001:db8::1", "198.51.100.7"):
            self.assertIn(host, networks)
        for host in ("192.0.3.0", "2001:db9::1", "198.51.100.6", "::1"):
            self.assertNotIn(host, networks)

    @given(IPV4, st.integers(0, 32))
    def test_an_ipv4_client_of_a_dual_stack_listener_is_ipv4(self, host: str, bits: int) -> None:
        network = ipaddress.ip_network(f"{host}/{bits}", strict=False)
        self.assertIn(f"::ffff:{host}", Networks([str(network)]))

    @given(IPV4)
    def test_ipv6_networks_do_not_hold_ipv4_clients(self, host: str) -> None:
        self.assertNotIn(host, Networks(["::/0"]))
        self.assertNotIn(f"::ffff:{host}", Networks(["::/0"]))

    def test_a_mapped_network_is_its_ipv4_network(self) -> None:
        networks = Networks(["::ffff:10.0.0.0/104"])
        self.assertIn("10.1.2.3", networks)
        self.assertIn("::ffff:10.1.2.3", networks)
        self.assertNotIn("11.1.2.3", networks)

    def test_a_zone_does_not_matter(self) -> None:
        self.assertIn("fe80::1%eth0", Networks(["fe80::/10"]))

    def test_none_is_empty(self) -> None:
        self.assertFalse(Networks())
        self.assertNotIn("192.0.2.1", Networks())

    def test_what_is_no_network_is_told_in_one_line(self) -> None:
        for text in ("", "nonsense", "10.0.0.0/33", "10.0.0/8", "1.2.3.4/", "::/129", "a\nb"):
            with self.assertRaises(NetworkError) as caught:
                Networks([text])
            self.assertIn(repr(text), str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))
        with self.assertRaises(NetworkError):
            Networks([8])  # type: ignore[list-item]

    def test_a_network_has_no_zone(self) -> None:
        for text in ("fe80::1%eth0", "fe80::%eth0/64", "fe80::1%eth0/64"):
            with self.assertRaisesRegex(NetworkError, "has a zone"):
                Networks([text])

    def test_bits_behind_the_prefix_are_asked_about(self) -> None:
        with self.assertRaisesRegex(NetworkError, r"10\.0\.0\.0/8 meant"):
            Networks(["10.0.0.1/8"])


def enter(count: PerPeerCounter, host: str) -> bool:
    """Count one in, if there is room."""
    room = count.allows(host)
    if room:
        count.add(host)
    return room


class PeerCountTests(SynchronousTestCase):
    def test_each_peer_has_its_places(self) -> None:
        count = PerPeerCounter(2)
        self.assertEqual([enter(count, "192.0.2.1") for _ in range(3)], [True, True, False])
        self.assertTrue(enter(count, "192.0.2.2"))
        count.remove("192.0.2.1")
        self.assertTrue(enter(count, "192.0.2.1"))
        self.assertFalse(enter(count, "192.0.2.1"))

    def test_an_ipv6_peer_is_a_64(self) -> None:
        count = PerPeerCounter(1)
        self.assertTrue(enter(count, "2001:db8::1"))
        self.assertFalse(enter(count, "2001:db8::ffff:2"))
        self.assertFalse(enter(count, "2001:db8:0:0:1::1%eth0"))
        self.assertTrue(enter(count, "2001:db8:0:1::1"))

    def test_an_ipv4_peer_is_one_through_either_family(self) -> None:
        count = PerPeerCounter(1)
        self.assertTrue(enter(count, "::ffff:192.0.2.1"))
        self.assertFalse(enter(count, "192.0.2.1"))
        self.assertFalse(enter(count, "::ffff:c000:201"))
        self.assertTrue(enter(count, "::ffff:192.0.2.2"))

    @given(st.lists(st.tuples(st.booleans(), st.one_of(IPV4, IPV6)), max_size=50))
    def test_nothing_is_kept_of_peers_that_have_gone(self, steps: list[tuple[bool, str]]) -> None:
        count, live = PerPeerCounter(3), []
        for enters, host in steps:
            if enters and enter(count, host):
                live.append(host)
            elif live:
                count.remove(live.pop())
        for host in live:
            count.remove(host)
        self.assertEqual(len(count), 0)

    def test_without_a_limit_nothing_is_counted(self) -> None:
        count = PerPeerCounter(0)
        self.assertTrue(all(enter(count, "192.0.2.1") for _ in range(1000)))
        self.assertEqual(len(count), 0)
        count.remove("192.0.2.1")
