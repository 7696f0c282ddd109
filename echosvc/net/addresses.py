"""Addresses: conversion and text."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
)

from echosvc._text import escaped
from echosvc.net.files import absolute
from echosvc.net.hosts import with_port
from echosvc.wire.proxy_header import Address


def plain_ip(host: str) -> str:
    """Give an IPv4 address that came through an IPv6 socket as itself."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def unix_path(address: UNIXAddress) -> str:
    """Give a UNIX address as text, as it is: ``@name`` for an abstract one."""
    name = os.fsdecode(address.name or b"")
    return "@" + name[1:] if name.startswith("\0") else name


def format_address(address: IAddress | None) -> str:
    """Give ``HOST:PORT``, ``[HOST]:PORT`` for IPv6, ``unix:PATH`` for a UNIX socket.

    ``-`` where there is none: of pipes and processes.
    """
    if isinstance(address, (IPv4Address, IPv6Address)):
        return with_port(plain_ip(address.host), address.port)
    if isinstance(address, UNIXAddress):
        path = unix_path(address)
        return f"unix:{path if path.isprintable() else escaped(path)[1:-1]}"
    kind = type(address)
    if address is None or (kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__):
        return "-"
    return escaped(str(address))[1:-1]


def format_listener(address: IAddress) -> str:
    """Give a listening address as Node's ``JSON.stringify(server.address())`` does."""
    if isinstance(address, UNIXAddress):
        facts: dict[str, object] = {"path": unix_path(address)}
    elif isinstance(address, (IPv4Address, IPv6Address)):
        family = f"IPv{ipaddress.ip_address(address.host.partition('%')[0]).version}"
        facts = {"address": address.host, "family": family, "port": address.port}
    else:
        facts = {"address": format_address(address)}
    return json.dumps(facts, separators=(",", ":"))


def unix_name(path: str) -> str:
    """Give the name for the kernel: absolute, since a daemon changes its directory."""
    return "\0" + path[1:] if path.startswith("@") else absolute(path)


#: The text of an address, one for all that are the same: most connections come from a few
#: balancers and proxies, and each would keep its own of 64 bytes.
_intern: Callable[[str], str] = lru_cache(64)(str)


def make_address(name: Any) -> IAddress:
    """Give what ``accept`` or ``getsockname`` call an address as Twisted does."""
    if not isinstance(name, tuple):  # of a UNIX socket: text, or bytes where it is abstract
        return cast(IAddress, UNIXAddress(name or None))
    if len(name) == 2:
        host, port = name
        return IPv4Address("TCP", _intern(host), port)
    host, port, flow, scope = name
    if scope:  # the one part of the address that only the resolver can write
        host = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return IPv6Address("TCP", _intern(host), port, flow, scope)


def to_address(address: Address | None) -> IAddress | None:
    """Give an address of a header as Twisted does; an IPv4 one in either form as IPv4."""
    if address is None:
        return None
    host, port = address
    mapped = getattr(ipaddress.ip_address(host), "ipv4_mapped", None)
    if mapped is not None:
        return cast(IAddress, IPv4Address("TCP", str(mapped), port))
    kind = IPv6Address if ":" in host else IPv4Address
    return cast(IAddress, kind("TCP", host, port))


def header_address(address: IAddress) -> Address | None:
    """Return an address as a PROXY header has it; ``None``: a header cannot hold it."""
    if isinstance(address, (IPv4Address, IPv6Address)):
        return address.host, address.port
    return None
