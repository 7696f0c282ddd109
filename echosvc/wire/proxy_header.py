"""The PROXY protocol, versions 1 and 2: who the client behind a proxy is. No Twisted, no I/O.

Source: HAProxy's proxy-protocol.txt; sections are named where they say what surprises.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from echosvc._text import escaped

#: What begins a header of version 2.
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = b"PROXY "
#: Longest header of version 1 with its CRLF, bytes (2.1).
LONGEST_V1 = 107
#: Longest header of version 2 behind its first 16 bytes that is taken, bytes. Proxies that say
#: much of a TLS client send a few hundred; the format allows 65,535 for each connection.
LONGEST_V2 = 8192
_FIXED = 16
_CRC32C = 3  # the type of the TLV that holds the checksum (2.2.3)

#: A host and a port.
Address = tuple[str, int]


class ProxyError(ValueError):
    """What came is no header; says why in one line."""


@dataclass(frozen=True)
class Header:
    """What a proxy says of a connection.

    :ivar version: 1 or 2.
    :ivar source: the client's address; ``None``: the connection's own is meant, since the
        proxy speaks for itself (LOCAL) or does not know (UNKNOWN, UNSPEC, a UNIX client).
    :ivar destination: the address that the client connected to.
    :ivar tlvs: more facts, as pairs of type and value; not looked into.
    """

    version: int
    source: Address | None = None
    destination: Address | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()


class HeaderParser:
    """Takes a stream, cut anywhere, until its header is complete.

    It never holds more than the header, and refuses a stream as soon as its bytes cannot
    be one.

    :ivar rest: what came behind the header.
    """

    def __init__(self) -> None:
        self.rest = b""
        self._held = b""

    @property
    def held(self) -> int:
        """Bytes of a header that is not complete."""
        return len(self._held)

    def feed(self, data: bytes) -> Header | None:
        """Take the next bytes; give the header once it is there.

        :raises ProxyError: they are no header.
        """
        whole = self._held + data
        if SIGNATURE.startswith(whole[:12]) or whole.startswith(SIGNATURE):
            size = _size_of_v2(whole)
            parse = _parse_v2
        elif _V1.startswith(whole[:6]) or whole.startswith(_V1):
            size = _size_of_v1(whole)
            parse = _parse_v1
        else:
            raise ProxyError(f"no PROXY header but {escaped(whole, 20)}")
        if not size or size > len(whole):
            self._held = whole
            return None
        self._held, self.rest = b"", whole[size:]
        return parse(whole[:size])


def _size_of_v1(whole: bytes) -> int:
    """How long the header is; 0 = its end is not there yet."""
    end = whole.find(b"\r\n", 0, LONGEST_V1)
    if end < 0 and len(whole) >= LONGEST_V1:
        raise ProxyError(f"a PROXY line of more than {LONGEST_V1} bytes")
    return end + 2 if end >= 0 else 0


def _size_of_v2(whole: bytes) -> int:
    """How long the header is; 0 = not known yet."""
    if len(whole) > 12 and whole[12] not in (0x20, 0x21):
        raise ProxyError(f"PROXY version and command 0x{whole[12]:02x}, not 0x20 or 0x21")
    if len(whole) < _FIXED:
        return 0
    size = int.from_bytes(whole[14:16], "big")
    if size > LONGEST_V2:
        raise ProxyError(f"a PROXY header of {size} bytes, more than {LONGEST_V2}")
    return _FIXED + size


# -- version 1 --------------------------------------------------------------------


def _parse_v1(header: bytes) -> Header:
    line = header[:-2]
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":  # whatever follows is to be ignored (2.1)
        return Header(1)
    if words[1] not in (b"TCP4", b"TCP6") or len(words) != 6:
        raise ProxyError(f"the PROXY line {escaped(line)}")
    version = int(words[1][3:])
    source, destination = (_host(word, version) for word in words[2:4])
    return Header(1, (source, _port(words[4])), (destination, _port(words[5])))


def _host(word: bytes, version: int) -> str:
    """Check an address; scopes are not part of the format."""
    text = word.decode("ascii", "replace")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ProxyError(f"the address {escaped(word)} in a PROXY line") from None
    if address.version != version or "%" in text:
        raise ProxyError(f"the address {escaped(word)} in a PROXY line for TCP{version}")
    return str(address)


def _port(word: bytes) -> int:
    """Check a port: no sign, no leading zero (2.1)."""
    if not re.fullmatch(rb"0|[1-9][0-9]{0,4}", word) or int(word) > 65535:
        raise ProxyError(f"the port {escaped(word)} in a PROXY line")
    return int(word)


# -- version 2 --------------------------------------------------------------------

#: Length of an address block, by family (2.2).
_BLOCKS = {0: 0, 1: 12, 2: 36, 3: 216}


def _parse_v2(header: bytes) -> Header:
    family, transport = header[13] >> 4, header[13] & 15
    is_local = header[12] & 15 == 0
    if not is_local and (family not in _BLOCKS or transport > 2):
        raise ProxyError(f"PROXY family and protocol 0x{header[13]:02x}")
    if not is_local and transport == 2:
        raise ProxyError("a PROXY header for datagrams")
    size = 0 if is_local else _BLOCKS[family]
    body = header[_FIXED:]
    if len(body) < size:
        raise ProxyError(f"a PROXY address block of {len(body)} bytes instead of {size}")
    if is_local:  # the addresses are to be ignored, and so their length is not known (2.2)
        return Header(2)
    tlvs = tuple(_tlvs(body[size:]))
    _check_sum(header, size, tlvs)
    if family in (0, 3) or transport == 0:
        return Header(2, tlvs=tlvs)
    source, destination = _addresses(body[:size])
    return Header(2, source, destination, tlvs)


def _addresses(block: bytes) -> tuple[Address, Address]:
    half = (len(block) - 4) // 2
    hosts = [str(ipaddress.ip_address(block[at : at + half])) for at in (0, half)]
    ports = struct.unpack_from("!HH", block, 2 * half)
    return (hosts[0], ports[0]), (hosts[1], ports[1])


def _tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        if at + 3 + size > len(data):
            raise ProxyError("a PROXY TLV that is longer than its header")
        yield data[at], data[at + 3 : at + 3 + size]
        at += 3 + size


def _check_sum(header: bytes, size: int, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    """Where there is a checksum, it covers the header with itself as zeros (2.2.3)."""
    at = _FIXED + size
    for kind, value in tlvs:
        if kind == _CRC32C:
            zeroed = header[: at + 3] + bytes(len(value)) + header[at + 3 + len(value) :]
            if value != crc32c(zeroed).to_bytes(4, "big"):
                raise ProxyError("a PROXY header with a wrong checksum")
        at += 3 + len(value)


def crc32c(data: bytes) -> int:
    """Give the CRC of iSCSI (RFC 3720, B.4); bit by bit, since headers are short and rare."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# -- to send one ------------------------------------------------------------------


def build(version: int, source: Address | None, destination: Address | None) -> bytes:
    """Give the header that a proxy sends for a client.

    Of an IPv4 and an IPv6 address, the first is written as IPv4 mapped into IPv6.

    :param version: 1 or 2.
    :param source: the client; ``None`` = none that TCP knows, e.g. on a UNIX socket.
    :param destination: where it connected to.
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
