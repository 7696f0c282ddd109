"""Addresses: conversion and text."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
)

from echosvc._text import escaped
from echosvc.net.files import absolute
from echosvc.net.hosts import join_host_port
from echosvc.wire.proxy_header import Address


def plain_ip(host: str) -> str:
    """Return the IPv4 address of an IPv4-mapped IPv6 one; any other address as it is."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def address_of(transport: object, method: str) -> IAddress | None:
    """Return what ``getHost`` or ``getPeer`` of a transport returns; ``None`` where it has none.

    A process has none, and a pipe. A transport over another one, such as TLS, asks that: it has the
    method, and raises AttributeError within it.
    """
    with suppress(AttributeError, NotImplementedError):
        return cast(IAddress, getattr(transport, method)())
    return None


def unix_path(address: UNIXAddress) -> str:
    """Return the path of a UNIX address, unescaped; ``@name`` for an abstract one."""
    name = os.fsdecode(address.name or b"")
    return "@" + name[1:] if name.startswith("\0") else name


def format_address(address: IAddress | None) -> str:
    """Return ``HOST:PORT``, ``[HOST]:PORT`` for IPv6, ``unix:PATH`` for a UNIX socket.

    ``-`` for what has no address, such as a pipe or a process. The text is printable.
    """
    if isinstance(address, (IPv4Address, IPv6Address)):
        return join_host_port(plain_ip(address.host), address.port)
    if isinstance(address, UNIXAddress):
        path = unix_path(address)
        return f"unix:{path if path.isprintable() else escaped(path)[1:-1]}"
    kind = type(address)
    if address is None or (kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__):
        return "-"
    return escaped(str(address))[1:-1]


def format_listener(address: IAddress) -> str:
    """Return a listening address as Node's ``JSON.stringify(server.address())`` does."""
    if isinstance(address, UNIXAddress):
        facts: dict[str, object] = {"path": unix_path(address)}
    elif isinstance(address, (IPv4Address, IPv6Address)):
        family = f"IPv{ipaddress.ip_address(address.host.partition('%')[0]).version}"
        facts = {"address": address.host, "family": family, "port": address.port}
    else:
        facts = {"address": format_address(address)}
    return json.dumps(facts, separators=(",", ":"))


def unix_name(path: str) -> str:
    """Return the name for the kernel: absolute, since a daemon changes its directory."""
    return "\0" + path[1:] if path.startswith("@") else absolute(path)


#: Return one object for equal texts: most connections come from a few load balancers and
#: proxies, and each would keep 64 bytes of its own.
_intern: Callable[[str], str] = lru_cache(64)(str)


def make_address(name: Any) -> IAddress:
    """Return an address of ``accept`` or ``getsockname`` as Twisted's."""
    if not isinstance(name, tuple):  # a UNIX socket's: text, or bytes if it is abstract
        return cast(IAddress, UNIXAddress(name or None))
    if len(name) == 2:
        host, port = name
        return IPv4Address("TCP", _intern(host), port)
    host, port, flow, scope = name
    if scope:  # only the resolver can write it as text
        host = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return IPv6Address("TCP", _intern(host), port, flow, scope)


def address_from_header(address: Address | None) -> IAddress | None:
    """Return an address of a PROXY header as Twisted's; an IPv4-mapped one as IPv4."""
    if address is None:
        return None
    host, port = address
    mapped = getattr(ipaddress.ip_address(host), "ipv4_mapped", None)
    if mapped is not None:
        return cast(IAddress, IPv4Address("TCP", str(mapped), port))
    kind = IPv6Address if ":" in host else IPv4Address
    return cast(IAddress, kind("TCP", host, port))


def address_to_header(address: IAddress) -> Address | None:
    """Return an address as a PROXY header has it; ``None``: a header cannot hold it."""
    if isinstance(address, (IPv4Address, IPv6Address)):
        return address.host, address.port
    return None
