"""From endpoint strings to server endpoints: Twisted's syntax, with our own listeners.

The short forms and URLs are described in :mod:`echosvc.endpoints.strings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from twisted.internet import endpoints
from twisted.internet.interfaces import (
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)

from echosvc.endpoints.strings import (
    EndpointError,
    EndpointSyntax,
    ParsedEndpoint,
    call_with_arguments,
    check_unix_path,
    describe_endpoint_error,
    is_kind,
    parse_endpoint,
    parse_number,
    parse_short_form,
)
from echosvc.net.hosts import ascii_host, is_address, is_ipv6
from echosvc.net.listeners import DEFAULT_BACKLOG, TCPListener, UNIXListener
from echosvc.net.systemd import InheritedListener, activation_fds

if TYPE_CHECKING:  # a listener without TLS needs nothing of it
    from echosvc.tls.endpoints import TLSListener

_SYNTAX = EndpointSyntax(
    partial(is_kind, IStreamServerEndpointStringParser),
    ("tcp", "tcp6", "ssl", "tls"),
    "PORT, HOST:PORT, [IPV6]:PORT, tcp:PORT, ssl:PORT:privateKey=FILE:certKey=FILE,"
    " tls:DIRECTORY:PORT or unix:PATH",
)


def server_endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """Return the server endpoint of a string: Twisted's syntax, a short form or a URL.

    :raises EndpointError: it cannot be parsed, or a file that it names cannot be read.
    """
    kind, words, options = _parse_server_endpoint(description)
    try:
        if kind in _SERVERS:
            build, form = _SERVERS[kind]
            return call_with_arguments(build, reactor, words, options, form)
        if kind == "stdio":
            raise EndpointError("standard input and output are one stream, not a listener")
        if kind == "haproxy":  # Twisted's wrapper hides the client's half-close
            raise EndpointError("haproxy: is not supported: it loses replies after a half-close")
        return cast(IStreamServerEndpoint, endpoints.serverFromString(reactor, description))
    except EndpointError:
        raise
    except Exception as error:
        raise EndpointError(describe_endpoint_error(error)) from None


def _parse_server_endpoint(description: str) -> ParsedEndpoint:
    short = parse_short_form(description, _SYNTAX)
    if short is None:
        return parse_endpoint(description)
    kind, host, port = short
    if kind in ("ssl", "tls"):
        raise EndpointError(
            f"a listener for TLS needs certificates: write ssl:{port}:privateKey=FILE:certKey=FILE"
            f" or tls:DIRECTORY:{port}{_interface_option(host)}"
        )
    return kind, [port], {} if host in ("", "*") else {"interface": host}


def _interface_option(host: str) -> str:
    if host in ("", "*"):
        return ""
    return f", and :interface={f'[{host}]' if is_ipv6(host) else host}"


def _tcp(
    reactor: Any, port: str, interface: str = "", backlog: str = str(DEFAULT_BACKLOG)
) -> TCPListener:
    if re.fullmatch("[0-9]+", interface) and not re.fullmatch("[0-9]+", port):
        host = f"[{port}]" if is_ipv6(port) else port
        raise EndpointError(f"the port comes first: write tcp:{interface}:interface={host}")
    numbers = parse_number("port", port, 0, 65535), parse_number("backlog", backlog, 1)
    return TCPListener(reactor, ascii_host(interface) if interface else None, *numbers)


def _tcp6(
    reactor: Any, port: str, interface: str = "::", backlog: str = str(DEFAULT_BACKLOG)
) -> TCPListener:
    if is_address(interface) and not is_ipv6(interface):
        raise EndpointError(f"interface must be an IPv6 address or a name, not {interface!r}")
    return replace(_tcp(reactor, port, interface or "::", backlog), only_ipv6=True)


def _ssl(
    reactor: Any,
    port: str,
    privateKey: str = "server.pem",
    certKey: str = "",
    extraCertChain: str = "",
    interface: str = "",
    backlog: str = str(DEFAULT_BACKLOG),
    dhParameters: str = "",
) -> TLSListener:
    from echosvc.tls.context import server_certificate
    from echosvc.tls.endpoints import TLSListener

    below = _tcp(reactor, port, interface, backlog)
    creator = server_certificate(privateKey, certKey, extraCertChain, dhParameters)
    return TLSListener(below, creator)


def _tls(
    reactor: Any,
    path: str,
    port: str = "443",
    backlog: str = str(DEFAULT_BACKLOG),
    interface: str = "",
) -> TLSListener:
    from echosvc.tls.context import sni_contexts
    from echosvc.tls.endpoints import TLSListener

    below = _tcp(reactor, port, interface, backlog)
    return TLSListener(below, sni_contexts(path))


def _unix(
    reactor: Any,
    address: str,
    mode: str = "666",
    backlog: str = str(DEFAULT_BACKLOG),
    lockfile: str = "",  # noqa: ARG001
) -> UNIXListener:
    """``lockfile`` is ignored: whether a path has a listener is found by connecting."""
    address = check_unix_path(address)
    if not re.fullmatch("[0-7]{3,4}", mode):
        raise EndpointError(f"mode must be octal permission bits such as 660, not {mode!r}")
    return UNIXListener(reactor, address, int(mode, 8), parse_number("backlog", backlog, 1))


def _systemd(reactor: Any, domain: str = "", index: str = "", name: str = "") -> InheritedListener:
    if domain not in ("", "INET", "INET6", "UNIX"):
        raise EndpointError(f"domain must be INET, INET6 or UNIX, not {domain!r}")
    return InheritedListener(reactor, activation_fds(index, name))


_SERVERS: dict[str, tuple[Callable[..., IStreamServerEndpoint], str]] = {
    "tcp": (_tcp, "tcp:PORT or tcp:PORT:interface=ADDRESS"),
    "tcp6": (_tcp6, "tcp6:PORT or tcp6:PORT:interface=ADDRESS"),
    "unix": (_unix, "unix:PATH or unix:PATH:mode=660"),
    "ssl": (_ssl, "ssl:PORT:privateKey=FILE:certKey=FILE"),
    "tls": (_tls, "tls:DIRECTORY:PORT"),
    "systemd": (_systemd, "systemd:name=NAME or systemd:index=NUMBER"),
}
