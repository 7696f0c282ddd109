"""Endpoint strings to client endpoints: Twisted's language, with our own connections.

Short forms and URLs are described in :mod:`echosvc.endpoints.strings`.
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
    Forms,
    Tokens,
    built,
    describe_build_error,
    is_kind,
    number,
    short_form,
    socket_path,
    tokens,
)
from echosvc.net.addresses import unix_name
from echosvc.net.attempts import AttemptReactor
from echosvc.net.connector import TCPConnector, attempted_address
from echosvc.net.hosts import is_address, join_host_port
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.tls.context import ClientTLS
from echosvc.tls.endpoints import TLSConnector

_CONNECTORS = Forms(
    partial(is_kind, IStreamClientEndpointStringParserWithReactor),
    ("tcp", "ssl", "tls"),
    "PORT, HOST:PORT, [IPV6]:PORT, tcp:HOST:PORT, tls:HOST:PORT or unix:PATH",
)


@dataclass(frozen=True)
class Target:
    """Where a client connects to.

    :ivar endpoint: how.
    :ivar name: the address for people, e.g. ``127.0.0.1:8107``.
    :ivar tcp: what makes the TCP connections below TLS and PROXY headers, if anything does.
    """

    endpoint: IStreamClientEndpoint
    name: str
    tcp: TCPConnector | None = None

    def where(self, error: BaseException) -> str:
        """Return the address at which connecting failed with this; the name if none is known.

        A TLS handshake fails at the address of the newest connection.
        """
        latest = self.tcp.latest if self.tcp else ""
        return attempted_address(error) or latest or self.name


_Client = Callable[..., Target]


def client_endpoint(
    reactor: Any, description: str, tls: ClientTLS | None = None, send_proxy: int = 0
) -> Target:
    """Read a client endpoint string: Twisted's, a short form or a URL.

    ``tcp:`` takes names, for which IPv6 and IPv4 are tried, and addresses of both.

    :param tls: for ``tls:``, what the string does not say.
    :param send_proxy: version of the PROXY header to be sent first; 0 = none.
    :raises EndpointError: it cannot be understood, or a file that it names not read.
    """
    kind, words, options = client_tokens(description)
    try:
        if kind == "tls":
            secure: _Client = partial(_tls_client, tls or ClientTLS(), send_proxy)
            return built(secure, reactor, words, options, "tls:HOST:PORT")
        if kind in _CLIENTS:
            build, form = _CLIENTS[kind]
            return _proxying(built(build, reactor, words, options, form), send_proxy)
        if kind in KINDS:
            raise EndpointError(f"{kind}: is for listeners: write {_CONNECTORS.advice}")
        target = Target(endpoints.clientFromString(reactor, description), description)
        return _proxying(target, send_proxy)
    except EndpointError:
        raise
    except Exception as error:
        raise EndpointError(describe_build_error(error)) from None


def client_tokens(description: str) -> Tokens:
    """Return the kind, words and options that a client endpoint string means.

    :raises EndpointError: it cannot be understood.
    """
    short = short_form(description, _CONNECTORS)
    kind, words, options = tokens(description) if short is None else (short[0], [], {})
    if kind == "ssl":
        raise EndpointError("ssl: verifies no certificate; use tls:HOST:PORT")
    if short is not None:
        words = [short[1] or "localhost", short[2]]
    return kind, words, options


def _proxying(target: Target, version: int) -> Target:
    """Give the same address, with a PROXY header of this version sent first; 0 = none."""
    if not version:
        return target
    return replace(target, endpoint=ProxyingEndpoint(target.endpoint, version))


def _tcp_client(
    reactor: Any, host: str, port: str, timeout: str = "30", bindAddress: str = ""
) -> Target:
    where, seconds = number("port", port, 1, 65535), number("timeout", timeout, 1)
    if bindAddress and not is_address(bindAddress):
        raise EndpointError(f"bindAddress must be an address, not {bindAddress!r}")
    endpoint = TCPConnector(reactor, host, where, seconds, bindAddress)
    return Target(endpoint, join_host_port(host, where), endpoint)


def _tls_client(
    given: ClientTLS,
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
) -> Target:
    below = _tcp_client(reactor, host, port, timeout, bindAddress)
    if endpoint:  # then the host is only whom to verify
        below = client_endpoint(reactor, endpoint)
    below = _proxying(below, send_proxy)
    creator = _completed(given, certificate, privateKey, trustRoots).creator(host)
    connector = TLSConnector(reactor, below.endpoint, creator, float(timeout))
    return replace(below, endpoint=connector)


def _completed(given: ClientTLS, certificate: str, key: str, roots: str) -> ClientTLS:
    """Put together what was given and what the string says."""
    if given.insecure and roots:
        raise EndpointError("trustRoots: nothing is verified")
    for name, twice in (
        ("certificate", certificate and given.certificate),
        ("privateKey", key and given.key),
        ("trustRoots", roots and given.roots),
    ):
        if twice:
            raise EndpointError(f"{name} is given twice")
    return replace(
        given,
        certificate=certificate or given.certificate,
        key=key or given.key,
        roots=roots or given.roots,
    )


def _unix_client(reactor: Any, path: str, timeout: str = "30") -> Target:
    path, seconds = socket_path(path), number("timeout", timeout, 1)
    endpoint = endpoints.UNIXClientEndpoint(AttemptReactor(reactor), unix_name(path), seconds)
    return Target(endpoint, path)


_CLIENTS: dict[str, tuple[_Client, str]] = {
    "tcp": (_tcp_client, "tcp:HOST:PORT"),
    "unix": (_unix_client, "unix:PATH"),
}
