"""Sets of IP networks. No I/O, no Twisted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: IPv4 addresses as an IPv6 socket shows them (RFC 4291, section 2.5.5.2).
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class NetworkError(ValueError):
    """A text that is no network; says why in one line."""


class Networks:
    """A set of networks of both families.

    An IPv4 address is the same in its IPv6 form: ``::ffff:192.0.2.1`` is in ``192.0.2.0/24``. The
    zone of an address (``fe80::1%eth0``) is ignored.

    :param texts: networks in CIDR notation; an address alone is a network of one address.
    :raises NetworkError: a text is no network, or has bits set behind its prefix.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._networks: list[_Network] = [_network(text) for text in texts]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, host: str) -> bool:
        address = _address(host)
        return any(address in network for network in self._networks)


def _network(text: str) -> _Network:
    if not isinstance(text, str):
        raise NetworkError(f"a network must be text such as '10.0.0.0/8', not {text!r}")
    if "%" in text:  # addresses are compared without their zones
        raise NetworkError(f"{text!r} has a zone: a network has none")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise NetworkError(f"{text!r} is no network: write 10.0.0.0/8 or 2001:db8::/32") from None
    if network.network_address != ipaddress.ip_address(text.partition("/")[0]):
        raise NetworkError(f"{text!r} has bits set behind its prefix: is {network} meant?")
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        low = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((low, network.prefixlen - 96))
    return network


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
