"""PROXY headers: cut anywhere, never believed unchecked, never held without bound."""

from __future__ import annotations

import ipaddress
import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc.wire.proxy_header import (
    MAX_V1_SIZE,
    MAX_V2_SIZE,
    SIGNATURE,
    Header,
    HeaderParser,
    ProxyError,
    crc32c,
    encode_header,
)

PORTS = st.integers(0, 65535)
HOSTS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
VERSIONS = st.sampled_from([1, 2])
V4 = b"\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\1\x1f\x90\1\xbb"  # 192.0.2.1:8080 -> 198.51.100.1:443


def parse(data: bytes, *cuts: int) -> tuple[Header | None, HeaderParser]:
    """Feed it in pieces, until the header is there; the rest stays behind it."""
    parser = HeaderParser()
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        header = parser.feed(data[start:end])
        if header is not None:
            parser.rest += data[end:]
            return header, parser
    return None, parser


def one(data: bytes) -> Header:
    header, parser = parse(data)
    assert header is not None
    assert parser.rest == b""
    return header


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


class ExampleTests(SynchronousTestCase):
    def test_version_1(self) -> None:
        self.assertEqual(
            one(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"),
            Header(1, ("192.0.2.1", 56324), ("198.51.100.1", 443)),
        )
        self.assertEqual(
            one(b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 0\r\n"),
            Header(1, ("2001:db8::1", 56324), ("2001:db8::2", 0)),
        )

    def test_version_1_without_a_client(self) -> None:
        longest = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"
        for line in (b"PROXY UNKNOWN\r\n", longest, b"PROXY UNKNOWN \xff\x1b\r\n"):
            self.assertEqual(one(line), Header(1))

    def test_version_2(self) -> None:
        wanted = Header(2, ("192.0.2.1", 8080), ("198.51.100.1", 443))
        self.assertEqual(one(SIGNATURE + V4), wanted)

    def test_version_2_with_more_facts(self) -> None:
        more = tlv(2, b"example.com") + tlv(4, b"") + tlv(0x20, b"\1\0\0\0\0")
        header = one(v2(0x21, 0x11, V4[4:] + more))
        self.assertEqual(header.source, ("192.0.2.1", 8080))
        self.assertEqual(header.tlvs, ((2, b"example.com"), (4, b""), (0x20, b"\1\0\0\0\0")))

    def test_version_2_of_the_proxy_itself(self) -> None:
        """Whatever follows is to be skipped, and none of it believed."""
        for family, body in ((0, b""), (0x11, V4[4:]), (0xFF, b"anything")):
            self.assertEqual(one(v2(0x20, family, body)), Header(2))

    def test_version_2_of_a_client_without_an_address(self) -> None:
        self.assertEqual(one(v2(0x21, 0, tlv(4, b"xx"))), Header(2, tlvs=((4, b"xx"),)))
        self.assertEqual(one(v2(0x21, 0x31, b"/run/a\0" + bytes(209))), Header(2))

    def test_version_2_of_datagrams_names_no_client(self) -> None:
        """A receiver takes valid families and protocols that it does not use for unspecified."""
        v6 = bytes(36)
        for family, body in ((0x12, V4[4:]), (0x22, v6), (0x32, bytes(216)), (0x10, V4[4:])):
            header = one(v2(0x21, family, body + tlv(4, b"x")))
            self.assertEqual(header, Header(2, tlvs=((4, b"x"),)))

    def test_an_address_block_of_an_unspecified_family_is_skipped(self) -> None:
        self.assertEqual(one(v2(0x21, 0, V4[4:])), Header(2))

    def test_the_checksum_is_that_of_the_standard(self) -> None:
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)

    def test_a_checksum_is_looked_at(self) -> None:
        zero = v2(0x21, 0x11, V4[4:] + tlv(4, b"x") + tlv(3, bytes(4)))
        right = zero[:-4] + crc32c(zero).to_bytes(4, "big")
        self.assertEqual(one(right).source, ("192.0.2.1", 8080))
        for wrong in (zero, right[:20] + b"\xff" + right[21:]):
            with self.assertRaisesRegex(ProxyError, "checksum"):
                parse(wrong)

    def test_the_checksum_is_the_remainder_of_a_division_bit_by_bit(self) -> None:
        for data in (b"", *(bytes((byte,)) for byte in range(256)), bytes(range(256)) * 3):
            self.assertEqual(crc32c(data), divided(data))

    def test_one_checksum_is_looked_at_and_no_more(self) -> None:
        zero = v2(0x21, 0x11, V4[4:] + tlv(3, bytes(4)) + tlv(3, bytes(4)))
        right = zero[:-4] + crc32c(zero).to_bytes(4, "big")
        for header in (zero, right):
            with self.assertRaisesRegex(ProxyError, "several checksums"):
                parse(header)


def divided(data: bytes) -> int:
    """The CRC as RFC 3720 defines it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class RefusedTests(SynchronousTestCase):
    def refused(self, data: bytes) -> str:
        with self.assertRaises(ProxyError) as caught:
            parse(data)
        self.assertTrue(str(caught.exception).isprintable(), str(caught.exception))
        return str(caught.exception)

    def test_what_cannot_begin_a_header_is_refused_at_its_first_byte(self) -> None:
        for data in (b"G", b"PROXX", b"proxy ", b"\r\n\r\n\1", b"\n", b"\x16\x03\x01"):
            self.refused(data)

    def test_wrong_lines(self) -> None:
        for line in (
            "TCP4 192.0.2.1 198.51.100.1 1", "TCP4 192.0.2.1 198.51.100.1 1 2 3",
            "TCP4  192.0.2.1 198.51.100.1 1 2", "TCP5 192.0.2.1 198.51.100.1 1 2", "TCP4",
            "TCP4 2001:db8::1 2001:db8::2 1 2", "TCP6 192.0.2.1 198.51.100.1 1 2",
            "TCP6 fe80::1%eth0 2001:db8::2 1 2", "TCP4 192.0.2.01 198.51.100.1 1 2",
            "TCP4 192.0.2.1 198.51.100.1 +1 2", "TCP4 192.0.2.1 198.51.100.1 01 2",
            "TCP4 192.0.2.1 198.51.100.1 65536 2", "TCP4 192.0.2.1 198.51.100.1 1 ٣",
            "TCP4 192.0.2.1\n 198.51.100.1 1 2", "TCP4 \x1b[31m 198.51.100.1 1 2", "", "UNKNOWNX",
            "TCP4\t192.0.2.1 198.51.100.1 1 2",
        ):  # fmt: skip
            self.refused(f"PROXY {line}\r\n".encode())

    def test_a_line_without_an_end(self) -> None:
        line = b"PROXY UNKNOWN " + b"x" * MAX_V1_SIZE
        self.assertIn("107", self.refused(line))
        self.assertEqual(parse(line[: MAX_V1_SIZE - 2])[0], None)
        self.assertEqual(one(line[: MAX_V1_SIZE - 2] + b"\r\n"), Header(1))

    def test_wrong_headers_of_version_2(self) -> None:
        for data in (
            v2(0x11, 0x11, V4[4:]), v2(0x22, 0x11, V4[4:]), v2(0x21, 0x41, V4[4:]),
            v2(0x21, 0x12, V4[4:-1]), v2(0x21, 0x13, V4[4:]), v2(0x21, 0x11, V4[4:-1]),
            v2(0x21, 0x21, V4[4:]), v2(0x21, 0x11, V4[4:] + b"\4\0"),
            v2(0x21, 0x11, V4[4:] + b"\4\0\5abcd"),
        ):  # fmt: skip
            self.refused(data)

    def test_a_long_header_is_refused_before_it_is_held(self) -> None:
        size = (MAX_V2_SIZE + 1).to_bytes(2, "big")
        self.refused(SIGNATURE + b"\x21\x11" + size)
        self.assertEqual(one(v2(0x21, 0, tlv(4, bytes(MAX_V2_SIZE - 3)))).source, None)


class AnyInputTests(SynchronousTestCase):
    @given(VERSIONS, HOSTS, PORTS, HOSTS, PORTS, st.binary(max_size=300), st.data())
    def test_what_is_built_is_read_however_it_is_cut(
        self,
        version: int,
        source: str,
        port: int,
        destination: str,
        to: int,
        behind: bytes,
        data: st.DataObject,
    ) -> None:
        whole = encode_header(version, (source, port), (destination, to)) + behind
        cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=5))
        header, parser = parse(whole, *cuts)
        assert header is not None
        assert header.source is not None
        assert header.destination is not None
        self.assertEqual(parser.rest, behind)
        self.assertEqual((header.source[1], header.destination[1]), (port, to))
        found, wanted = ipaddress.ip_address(header.source[0]), ipaddress.ip_address(source)
        self.assertIn(wanted, (found, getattr(found, "ipv4_mapped", None)))

    def test_each_cut_of_one_byte(self) -> None:
        for whole in (
            encode_header(1, ("::1", 1), ("::2", 2)),
            encode_header(2, ("::1", 1), ("::2", 2)),
        ):
            header, parser = parse(whole + b"rest", *range(len(whole) + 4))
            self.assertEqual((header.source, parser.rest), (("::1", 1), b"rest"))

    def test_without_addresses(self) -> None:
        for version in (1, 2):
            self.assertEqual(one(encode_header(version, None, None)), Header(version))

    @given(
        st.one_of(st.just(b""), st.just(b"PROXY "), st.just(SIGNATURE), st.just(SIGNATURE + b"!")),
        st.lists(st.binary(max_size=200), max_size=5),
    )
    def test_any_bytes_are_a_header_or_refused_and_never_held_for_long(
        self, start: bytes, pieces: list[bytes]
    ) -> None:
        parser, header = HeaderParser(), None
        try:
            for piece in (start, *pieces):
                header = parser.feed(piece)
                if header is not None:
                    break
                self.assertLessEqual(len(parser._held), 16 + MAX_V2_SIZE)
        except ProxyError as error:
            self.assertTrue(str(error).isprintable())

    @given(VERSIONS, HOSTS, HOSTS, st.integers(0, 500), st.integers(0, 255))
    def test_one_wrong_byte_never_makes_an_address_that_is_none(
        self, version: int, source: str, destination: str, at: int, value: int
    ) -> None:
        whole = bytearray(encode_header(version, (source, 1), (destination, 2)))
        whole[at % len(whole)] = value
        try:
            header, _ = parse(bytes(whole))
        except ProxyError:
            return
        for address in (header.source, header.destination) if header else ():
            if address is not None:
                self.assertEqual(str(ipaddress.ip_address(address[0])), address[0])
                self.assertTrue(0 <= address[1] <= 65535)
