"""The PROXY protocol, versions 1 and 2: the address of the client behind a proxy.

Source: HAProxy's proxy-protocol.txt. Numbers in parentheses are its sections.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from echosvc._text import escaped

#: The beginning of a header of version 2.
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = b"PROXY "
#: Longest header of version 1 with its CRLF, bytes (2.1).
MAX_V1_SIZE = 107
#: Longest header of version 2 that is accepted, without its first 16 bytes. Proxies that describe
#: a TLS client send a few hundred bytes; the format allows 65,535 on each connection.
MAX_V2_SIZE = 8192
_V2_FIXED_SIZE = 16
_TLV_CRC32C = 3  # the type of the TLV that holds the checksum (2.2.3)

#: A host and a port.
Address = tuple[str, int]


class ProxyError(ValueError):
    """The bytes are no header; its text is the reason, one line."""


@dataclass(frozen=True)
class Header:
    """What a proxy reports about a connection.

    :ivar version: 1 or 2.
    :ivar source: the client's address; ``None``: the connection's own is valid, since the proxy
        itself is the client (LOCAL) or has no address (UNKNOWN, UNSPEC, a UNIX client).
    :ivar destination: the address that the client connected to.
    :ivar tlvs: additional fields, as pairs of type and value; they are not interpreted.
    """

    version: int
    source: Address | None = None
    destination: Address | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()


class HeaderParser:
    """Parses the header at the beginning of a stream that is cut anywhere.

    It buffers no more than the header, and raises as soon as the bytes cannot become one.

    :ivar rest: the bytes behind the header.
    """

    def __init__(self) -> None:
        self.rest = b""
        self._held = b""

    @property
    def held(self) -> int:
        """Bytes of an incomplete header."""
        return len(self._held)

    def feed(self, data: bytes) -> Header | None:
        """Take the next bytes; return the header once it is complete.

        :raises ProxyError: the bytes are no header.
        """
        whole = self._held + data
        if SIGNATURE.startswith(whole[:12]) or whole.startswith(SIGNATURE):
            size = _v2_size(whole)
            parse = _parse_v2
        elif _V1.startswith(whole[:6]) or whole.startswith(_V1):
            size = _v1_size(whole)
            parse = _parse_v1
        else:
            raise ProxyError(f"no PROXY header but {escaped(whole, 20)}")
        if not size or size > len(whole):
            self._held = whole
            return None
        self._held, self.rest = b"", whole[size:]
        return parse(whole[:size])


def _v1_size(whole: bytes) -> int:
    """Return the size of the header; 0: its end has not come."""
    end = whole.find(b"\r\n", 0, MAX_V1_SIZE)
    if end < 0 and len(whole) >= MAX_V1_SIZE:
        raise ProxyError(f"a PROXY line of more than {MAX_V1_SIZE} bytes")
    return end + 2 if end >= 0 else 0


def _v2_size(whole: bytes) -> int:
    """Return the size of the header; 0: it is not known yet."""
    if len(whole) > 12 and whole[12] not in (0x20, 0x21):
        raise ProxyError(f"PROXY version and command 0x{whole[12]:02x}, not 0x20 or 0x21")
    if len(whole) < _V2_FIXED_SIZE:
        return 0
    size = int.from_bytes(whole[14:16], "big")
    if size > MAX_V2_SIZE:
        raise ProxyError(f"a PROXY header of {size} bytes, more than {MAX_V2_SIZE}")
    return _V2_FIXED_SIZE + size


# -- version 1 --------------------------------------------------------------------


def _parse_v1(header: bytes) -> Header:
    line = header[:-2]
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":  # a receiver must ignore the rest of the line (2.1)
        return Header(1)
    if words[1] not in (b"TCP4", b"TCP6") or len(words) != 6:
        raise ProxyError(f"the PROXY line {escaped(line)}")
    version = int(words[1][3:])
    source, destination = (_parse_host(word, version) for word in words[2:4])
    return Header(1, (source, _parse_port(words[4])), (destination, _parse_port(words[5])))


def _parse_host(word: bytes, version: int) -> str:
    """Parse an address; the format has no scopes."""
    text = word.decode("ascii", "replace")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ProxyError(f"the address {escaped(word)} in a PROXY line") from None
    if address.version != version or "%" in text:
        raise ProxyError(f"the address {escaped(word)} in a PROXY line for TCP{version}")
    return str(address)


def _parse_port(word: bytes) -> int:
    """Parse a port: no sign, no leading zero (2.1)."""
    if not re.fullmatch(rb"0|[1-9][0-9]{0,4}", word) or int(word) > 65535:
        raise ProxyError(f"the port {escaped(word)} in a PROXY line")
    return int(word)


# -- version 2 --------------------------------------------------------------------

#: Length of an address block, by family (2.2).
_ADDRESS_SIZES = {0: 0, 1: 12, 2: 36, 3: 216}
_STREAM = 1


def _parse_v2(header: bytes) -> Header:
    family, transport = header[13] >> 4, header[13] & 15
    is_local = header[12] & 15 == 0
    if not is_local and (family not in _ADDRESS_SIZES or transport > 2):
        raise ProxyError(f"PROXY family and protocol 0x{header[13]:02x}")
    size = 0 if is_local else _ADDRESS_SIZES[family]
    body = header[_V2_FIXED_SIZE:]
    if len(body) < size:
        raise ProxyError(f"a PROXY address block of {len(body)} bytes instead of {size}")
    if is_local:  # a receiver must ignore the addresses, so where TLVs begin is unknown (2.2)
        return Header(2)
    tlvs = _parse_all_tlvs(body[size:], family)
    _check_crc(header, size, tlvs)
    if family in (0, 3) or transport != _STREAM:  # what is not used counts as unspecified (2.2)
        return Header(2, tlvs=tlvs)
    source, destination = _parse_addresses(body[:size])
    return Header(2, source, destination, tlvs)


def _parse_addresses(block: bytes) -> tuple[Address, Address]:
    half = (len(block) - 4) // 2
    hosts = [str(ipaddress.ip_address(block[at : at + half])) for at in (0, half)]
    ports = struct.unpack_from("!HH", block, 2 * half)
    return (hosts[0], ports[0]), (hosts[1], ports[1])


def _parse_all_tlvs(data: bytes, family: int) -> tuple[tuple[int, bytes], ...]:
    """Return all TLVs. What an unspecified family has in their place is to be skipped (2.2)."""
    try:
        return tuple(_parse_tlvs(data))
    except ProxyError:
        if family:
            raise
        return ()


def _parse_tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        if at + 3 + size > len(data):
            raise ProxyError("a PROXY TLV that is longer than its header")
        yield data[at], data[at + 3 : at + 3 + size]
        at += 3 + size


def _check_crc(header: bytes, size: int, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    """Check the checksum, if there is one: it covers the header with itself as zeros (2.2.3)."""
    if sum(kind == _TLV_CRC32C for kind, _ in tlvs) > 1:
        raise ProxyError("a PROXY header with several checksums")
    at = _V2_FIXED_SIZE + size
    for kind, value in tlvs:
        if kind == _TLV_CRC32C:
            zeroed = header[: at + 3] + bytes(len(value)) + header[at + 3 + len(value) :]
            if value != crc32c(zeroed).to_bytes(4, "big"):
                raise ProxyError("a PROXY header with a wrong checksum")
        at += 3 + len(value)


def crc32c(data: bytes) -> int:
    """Return the CRC of iSCSI (RFC 3720, B.4).

    It is computed byte by byte from a table: a load balancer sends one with each connection.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[crc & 0xFF ^ byte]
    return crc ^ 0xFFFFFFFF


def _divided(byte: int) -> int:
    """Return the remainder of a byte, divided bit by bit by the polynomial of the CRC."""
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(map(_divided, range(256)))


# -- encoding --------------------------------------------------------------------


def encode_header(version: int, source: Address | None, destination: Address | None) -> bytes:
    """Return the header that a proxy sends for a client.

    If one address is IPv4 and the other IPv6, the first is written as IPv4-mapped IPv6.

    :param version: 1 or 2.
    :param source: the client; ``None``: it has no TCP address, for example on a UNIX socket.
    :param destination: the address that it connected to.
    """
    if source is None or destination is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else SIGNATURE + b"\x20\0\0\0"
    hosts = [ipaddress.ip_address(host.partition("%")[0]) for host, _ in (source, destination)]
    if hosts[0].version != hosts[1].version:
        hosts = [_as_ipv6(host) for host in hosts]
    family, ports = hosts[0].version, (source[1], destination[1])
    if version == 1:
        line = f"PROXY TCP{family} {hosts[0]} {hosts[1]} {ports[0]} {ports[1]}\r\n"
        return line.encode("ascii")
    body = b"".join(host.packed for host in hosts) + struct.pack("!HH", *ports)
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11 if family == 4 else 0x21, len(body)) + body


def _as_ipv6(
    host: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(f"::ffff:{host}") if host.version == 4 else host
