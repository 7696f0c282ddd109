"""Names and addresses of hosts, for the resolver, the kernel and TLS. Imports no Twisted.

Only what no resolver can be asked for is refused here. Names that RFC 952 does not allow, such
as ``my_echo``, are passed on: /etc/hosts, Docker's and other resolvers may know them.
"""

from __future__ import annotations

import errno
import ipaddress
import socket

from echosvc._text import read_whole

#: Longest label and longest name without its final dot, bytes (RFC 1035, 2.3.4).
_LONGEST_LABEL, _LONGEST_NAME = 63, 253
#: Characters of URLs and endpoint strings that no name has.
_FORBIDDEN = frozenset(' "/\\@?#[]:<>')


class HostError(ValueError):
    """A text that is neither an address nor a name that a resolver can be asked for."""


class ZoneError(OSError):
    """An IPv6 zone that this machine does not have."""


def ascii_host(host: str) -> str:
    """Return a name as the resolver is asked for it, or an address unchanged.

    An ASCII name is returned unchanged. Of another name each label is encoded by IDNA after
    the mapping of UTS 46, which turns upper case into lower. Labels that IDNA 2008 does not
    allow (``i❤``) are encoded too, as browsers do.

    :raises HostError: it is neither a name nor an address.
    """
    name = host if host.isascii() else ".".join(map(_ascii_label, _mapped(host).split(".")))
    if not is_address(name) and not _is_name(name):
        raise HostError(f"{host!r} is no host name and no address")
    return name


def _mapped(host: str) -> str:
    import idna  # late: its tables are large, and few names need them

    try:
        return idna.uts46_remap(host, std3_rules=False)
    except UnicodeError:
        raise HostError(f"{host!r} is no host name and no address") from None


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    import idna

    try:
        return idna.alabel(label).decode("ascii")
    except UnicodeError:
        return f"xn--{label.encode('punycode').decode('ascii')}"


def _is_name(name: str) -> bool:
    whole = name.removesuffix(".")
    labels = whole.split(".")
    readable = name.isprintable() and not _FORBIDDEN & set(name)
    fits = len(whole) <= _LONGEST_NAME and all(0 < len(each) <= _LONGEST_LABEL for each in labels)
    return readable and fits


def is_host(host: str) -> bool:
    """Return whether this is an address, or a name that a resolver can be asked for."""
    try:
        ascii_host(host)
    except HostError:
        return False
    return True


def is_address(text: str) -> bool:
    """Return whether this is an IPv4 address or an IPv6 address, which may have a zone."""
    return is_ipv6(text) or _is_numeric(text, 4)


def is_ipv6(text: str) -> bool:
    """Return whether this is an IPv6 address; it may have a zone (RFC 4007, 11)."""
    address, percent, zone = text.partition("%")
    return _is_numeric(address, 6) and (_is_zone(zone) or not percent)


def _is_zone(text: str) -> bool:
    return bool(text) and text.isprintable() and not (_FORBIDDEN | {"%"}) & set(text)


def _is_numeric(text: str, version: int) -> bool:
    try:
        return "%" not in text and ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def without_zone(address: str) -> str:
    """Return an address without its zone, as in a certificate."""
    return address.partition("%")[0]


def needs_zone(address: str) -> bool:
    """Return whether this is a link-local IPv6 address without a zone (RFC 4007, 6)."""
    return is_ipv6(address) and "%" not in address and ipaddress.ip_address(address).is_link_local


def server_name(host: str) -> str:
    """Return the name that a TLS client of ``host`` asks for (SNI) and verifies.

    A name is returned without its final dot (RFC 6066, 3) and encoded if it is not ASCII, an
    address without its zone, which means something on this machine only.

    :raises HostError: it is neither a name nor an address.
    """
    name = ascii_host(host)
    return without_zone(name) if is_address(name) else name.removesuffix(".")


def with_zone_index(address: str) -> str:
    """Return an address with its zone, if any, as the number of the interface.

    getaddrinfo() accepts names of zones for link-local addresses only.

    :raises ZoneError: there is no such interface.
    """
    host, percent, zone = address.partition("%")
    return f"{host}%{_zone_index(zone)}" if percent else address


def _zone_index(zone: str) -> int:
    try:
        return socket.if_nametoindex(zone)
    except (OSError, ValueError):
        pass
    try:
        index = int(zone)
        socket.if_indextoname(index)
    except (OSError, ValueError, OverflowError):
        raise ZoneError(errno.ENODEV, f"there is no network interface {zone!r}") from None
    return index


def split_host_port(text: str) -> tuple[str, int] | None:
    """Return the two parts of ``HOST:PORT``, brackets removed; ``None``: it is something else.

    The host may be any text: :func:`is_host` and :func:`is_address` judge it.
    """
    host, colon, port = text.rpartition(":")
    number, bare = read_whole(port), host.removeprefix("[").removesuffix("]")
    return (bare, number) if colon and bare and number is not None else None


def join_host_port(host: str, port: int) -> str:
    """Return ``HOST:PORT``, with an IPv6 address in brackets: ``[::1]:80``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
