"""Names and addresses of hosts: what the resolver, the kernel and certificates are given."""

from __future__ import annotations

import errno
import socket

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc.net.hosts import (
    HostError,
    ZoneError,
    ascii_host,
    is_address,
    is_host,
    is_ipv6,
    join_host_port,
    server_name,
    split_host_port,
    with_zone_index,
    without_zone,
)


class NameTests(SynchronousTestCase):
    def test_a_name_in_ascii_is_passed_on_as_it_is(self) -> None:
        for name in (
            "localhost", "LocalHost", "my_echo", "_srv._tcp.example", "a.example.", "-a-", "a--b",
            "xn--bcher-kva.test", "1.2", "0", "x" * 63, "tasks.my_stack_echo", "a%b", "a*b",
        ):  # fmt: skip
            self.assertEqual(ascii_host(name), name)

    def test_another_name_is_encoded_by_idna_and_upper_case_is_lower_case(self) -> None:
        for name, encoded in (
            ("bücher.test", "xn--bcher-kva.test"),
            ("BÜCHER.test", "xn--bcher-kva.test"),
            ("BÜCHER.Test.", "xn--bcher-kva.test."),
            ("bu\u0308cher.test", "xn--bcher-kva.test"),
            ("straße.example", "xn--strae-oqa.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("\uff4c\uff4f\uff43\uff41\uff4chost", "localhost"),
            ("my_bücher.my_echo", "xn--my_bcher-95a.my_echo"),
            ("ä.my_echo", "xn--4ca.my_echo"),
            ("i❤.ws", "xn--i-7iq.ws"),
        ):
            self.assertEqual(ascii_host(name), encoded)

    def test_what_no_resolver_can_be_asked_for_is_refused(self) -> None:
        for name in (
            "", ".", "..", "a..b", ".a", "a b", "a\tb", "a\nb", "a\0b", "a/b", "a\\b", "me@host",
            "a:b", "[::1]", "a?b", "a#b", "x" * 64, "ü" * 64, ".".join(["x" * 63] * 4), "\ud800",
            "a\u2028b", "\u00a0", "::1%", "::1%a b", "::1%a%b", ":::", "fe80::1%a/b",
        ):  # fmt: skip
            self.assertFalse(is_host(name), name)
            self.assertRaises(HostError, ascii_host, name)

    def test_addresses_are_told_from_names(self) -> None:
        for text, version in (
            ("127.0.0.1", 4), ("::1", 6), ("::", 6), ("fe80::1%lo", 6), ("FE80::1%3", 6),
            ("::ffff:192.0.2.1", 6), ("fe80::1%eth0.5", 6), ("fe80::1%br-lan", 6),
            ("127.1", 0), ("localhost", 0), ("1.2.3.4.", 0), ("1.2.3.4%lo", 0), ("::g", 0),
        ):  # fmt: skip
            self.assertEqual((is_address(text), is_ipv6(text)), (version > 0, version == 6), text)
            if version:
                self.assertEqual(ascii_host(text), text)

    @given(st.sampled_from(["a.example", "192.0.2.7", "::1", "fe80::1%lo"]), st.integers(0, 65535))
    def test_what_was_joined_is_split_again(self, host: str, port: int) -> None:
        self.assertEqual(split_host_port(join_host_port(host, port)), (host, port))

    def test_what_has_no_host_or_no_port_is_not_split(self) -> None:
        for text in ("", ":80", "host", "host:", "host:http", "host:-1", "host:\u0663", "unix:/a"):
            with self.subTest(text):
                self.assertIsNone(split_host_port(text))

    def test_with_a_port_an_ipv6_address_stands_in_brackets(self) -> None:
        self.assertEqual(join_host_port("fe80::1%lo", 80), "[fe80::1%lo]:80")
        self.assertEqual(join_host_port("localhost", 80), "localhost:80")

    @given(st.text(st.characters(codec=None), max_size=70))
    def test_any_text_is_ascii_without_spaces_or_refused(self, text: str) -> None:
        try:
            name = ascii_host(text)
        except HostError:
            return
        self.assertTrue(name.isascii() and name.isprintable() and " " not in name, name)
        self.assertTrue(all(len(label) <= 63 for label in name.split(".")) or is_address(name))
        name.encode("idna")  # what Python does with a name before it asks the resolver


class ZoneTests(SynchronousTestCase):
    def test_a_zone_by_name_and_by_number_is_the_interfaces_number(self) -> None:
        index, name = socket.if_nameindex()[0]
        for zone in (name, str(index)):
            self.assertEqual(with_zone_index(f"fe80::1%{zone}"), f"fe80::1%{index}")
        self.assertEqual(with_zone_index("fe80::1"), "fe80::1")
        self.assertEqual(with_zone_index(""), "")

    def test_a_zone_that_this_machine_has_not_is_named(self) -> None:
        for zone in ("nosuch0", "0", "2147483647", "99999999999999999999", "x" * 99, "-1"):
            with self.assertRaises(ZoneError) as caught:
                with_zone_index(f"fe80::1%{zone}")
            self.assertEqual(caught.exception.errno, errno.ENODEV)
            self.assertIn(repr(zone), str(caught.exception))

    def test_certificates_have_no_zones(self) -> None:
        self.assertEqual(without_zone("fe80::1%lo"), "fe80::1")
        self.assertEqual(without_zone("192.0.2.1"), "192.0.2.1")


class ServerNameTests(SynchronousTestCase):
    def test_it_is_ascii_without_the_final_dot_and_an_address_without_its_zone(self) -> None:
        for host, name in (
            ("localhost", "localhost"),
            ("localhost.", "localhost"),
            ("my_echo.", "my_echo"),
            ("BÜCHER.test.", "xn--bcher-kva.test"),
            ("fe80::1%lo", "fe80::1"),
            ("192.0.2.1", "192.0.2.1"),
        ):
            self.assertEqual(server_name(host), name)
