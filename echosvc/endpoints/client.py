"""From endpoint strings to client endpoints: Twisted's syntax, with our own connections.

The short forms and URLs are described in :mod:`echosvc.endpoints.strings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from twisted.internet import endpoints
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
)

from echosvc.endpoints.strings import (
    KINDS,
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
from echosvc.net.addresses import unix_name
from echosvc.net.attempts import AttemptReactor
from echosvc.net.connector import TCPConnector, attempted_address
from echosvc.net.hosts import is_address, join_host_port
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.tls.context import ClientTLS
from echosvc.tls.endpoints import TLSConnector

_SYNTAX = EndpointSyntax(
    partial(is_kind, IStreamClientEndpointStringParserWithReactor),
    ("tcp", "ssl", "tls"),
    "PORT, HOST:PORT, [IPV6]:PORT, tcp:HOST:PORT, tls:HOST:PORT or unix:PATH",
)


@dataclass(frozen=True)
class ClientTarget:
    """What a client connects to.

    :ivar endpoint: the endpoint.
    :ivar name: the address for messages, for instance ``127.0.0.1:8107``.
    :ivar tcp: the endpoint of TCP below TLS and PROXY headers; ``None`` = it is not TCP.
    """

    endpoint: IStreamClientEndpoint
    name: str
    tcp: TCPConnector | None = None

    def where(self, error: BaseException) -> str:
        """Return the address at which connecting failed with ``error``, or else the name.

        A TLS handshake fails at the address of the newest connection.
        """
        latest = self.tcp.latest if self.tcp else ""
        return attempted_address(error) or latest or self.name


_Client = Callable[..., ClientTarget]


def client_endpoint(
    reactor: Any, description: str, tls: ClientTLS | None = None, send_proxy: int = 0
) -> ClientTarget:
    """Return the client endpoint of a string: Twisted's syntax, a short form or a URL.

    ``tcp:`` accepts addresses, and names, whose IPv6 and IPv4 addresses are tried.

    :param tls: settings for ``tls:`` that the string does not have.
    :param send_proxy: version of the PROXY header to send first; 0 = none.
    :raises EndpointError: it cannot be parsed, or a file that it names cannot be read.
    """
    kind, words, options = parse_client_endpoint(description)
    try:
        if kind == "tls":
            secure: _Client = partial(_tls_client, tls or ClientTLS(), send_proxy)
            return call_with_arguments(secure, reactor, words, options, "tls:HOST:PORT")
        if kind in _CLIENTS:
            build, form = _CLIENTS[kind]
            return _with_proxy_header(
                call_with_arguments(build, reactor, words, options, form), send_proxy
            )
        if kind in KINDS:
            raise EndpointError(f"{kind}: is for listeners: write {_SYNTAX.advice}")
        target = ClientTarget(endpoints.clientFromString(reactor, description), description)
        return _with_proxy_header(target, send_proxy)
    except EndpointError:
        raise
    except Exception as error:
        raise EndpointError(describe_endpoint_error(error)) from None


def parse_client_endpoint(description: str) -> ParsedEndpoint:
    """Return the kind, words and options of a client endpoint string.

    :raises EndpointError: it cannot be parsed.
    """
    short = parse_short_form(description, _SYNTAX)
    kind, words, options = parse_endpoint(description) if short is None else (short[0], [], {})
    if kind == "ssl":
        raise EndpointError("ssl: verifies no certificate; use tls:HOST:PORT")
    if short is not None:
        words = [short[1] or "localhost", short[2]]
    return kind, words, options


def _with_proxy_header(target: ClientTarget, version: int) -> ClientTarget:
    """Return the same target with a PROXY header of this version sent first; 0 = none."""
    if not version:
        return target
    return replace(target, endpoint=ProxyingEndpoint(target.endpoint, version))


def _tcp_client(
    reactor: Any, host: str, port: str, timeout: str = "30", bindAddress: str = ""
) -> ClientTarget:
    where, seconds = parse_number("port", port, 1, 65535), parse_number("timeout", timeout, 1)
    if bindAddress and not is_address(bindAddress):
        raise EndpointError(f"bindAddress must be an address, not {bindAddress!r}")
    endpoint = TCPConnector(reactor, host, where, seconds, bindAddress)
    return ClientTarget(endpoint, join_host_port(host, where), endpoint)


def _tls_client(
    base: ClientTLS,
    send_proxy: int,
    reactor: Any,
    host: str,
    port: str,
    timeout: str = "30",
    bindAddress: str = "",
    certificate: str = "",
    privateKey: str = "",
    trustRoots: str = "",
    endpoint: str = "",
) -> ClientTarget:
    below = _tcp_client(reactor, host, port, timeout, bindAddress)
    if endpoint:  # then the host is only the name to verify
        below = client_endpoint(reactor, endpoint)
    below = _with_proxy_header(below, send_proxy)
    creator = _merge_tls_options(base, certificate, privateKey, trustRoots).creator(host)
    connector = TLSConnector(reactor, below.endpoint, creator, float(timeout))
    return replace(below, endpoint=connector)


def _merge_tls_options(base: ClientTLS, certificate: str, key: str, roots: str) -> ClientTLS:
    """Return the settings in ``base`` with those of the string added."""
    if base.insecure and roots:
        raise EndpointError("trustRoots has no effect: certificates are not verified")
    for name, twice in (
        ("certificate", certificate and base.certificate),
        ("privateKey", key and base.key),
        ("trustRoots", roots and base.roots),
    ):
        if twice:
            raise EndpointError(f"{name} is given twice")
    return replace(
        base,
        certificate=certificate or base.certificate,
        key=key or base.key,
        roots=roots or base.roots,
    )


def _unix_client(reactor: Any, path: str, timeout: str = "30") -> ClientTarget:
    path, seconds = check_unix_path(path), parse_number("timeout", timeout, 1)
    endpoint = endpoints.UNIXClientEndpoint(AttemptReactor(reactor), unix_name(path), seconds)
    return ClientTarget(endpoint, path)


_CLIENTS: dict[str, tuple[_Client, str]] = {
    "tcp": (_tcp_client, "tcp:HOST:PORT"),
    "unix": (_unix_client, "unix:PATH"),
}
