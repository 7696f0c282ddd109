"""Endpoint strings to endpoints: Twisted's language, with our own TCP and UNIX sockets."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from twisted.internet import endpoints
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from echosvc.certificates import ClientTLS, certificates_by_name, server_certificate
from echosvc.inherited import InheritedListener, find
from echosvc.language import EndpointError, built, number, tokens
from echosvc.listeners import BACKLOG, TCPListener, UNIXListener, error_name, file_fault, unix_name
from echosvc.proxying import ProxyingEndpoint
from echosvc.secure import TLSConnector, TLSListener

#: Longest UNIX path, bytes: unix(7), sun_path without its NUL.
LONGEST_PATH = 107


def server_endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """Read a Twisted server endpoint string.

    :raises EndpointError: it cannot be understood, or a file that it names not read.
    """
    kind, words, options = tokens(description)
    try:
        if kind in ("tcp", "tcp6"):
            return built(_TCP[kind], reactor, words, options)
        if kind == "unix":
            return built(_unix, reactor, words, options)
        if kind != kind.lower():
            raise EndpointError(f"unknown kind {kind!r}: kinds are in lower case")
        if kind == "stdio":
            raise EndpointError("standard input and output are one stream, not a listener")
        if kind == "systemd":
            return built(_systemd, reactor, words, options)
        if kind in _TLS:
            return built(_TLS[kind], reactor, words, options)
        if kind == "haproxy":  # Twisted's wrapper hides the client's half-close
            raise EndpointError("haproxy: loses what is due when a client ends; not supported")
        return cast(IStreamServerEndpoint, endpoints.serverFromString(reactor, description))
    except EndpointError:
        raise
    except Exception as error:
        raise EndpointError(_why(error)) from None


def _tcp(reactor: Any, port: str, interface: str = "", backlog: str = str(BACKLOG)) -> TCPListener:
    numbers = number("port", port, 0, 65535), number("backlog", backlog, 1)
    return TCPListener(reactor, interface, *numbers)


def _tcp6(
    reactor: Any, port: str, interface: str = "::", backlog: str = str(BACKLOG)
) -> TCPListener:
    if ":" not in interface:
        raise EndpointError(f"interface must be an IPv6 address, not {interface!r}")
    return _tcp(reactor, port, interface, backlog)


def _ssl(
    reactor: Any,
    port: str,
    privateKey: str = "server.pem",
    certKey: str = "",
    extraCertChain: str = "",
    interface: str = "",
    backlog: str = str(BACKLOG),
    dhParameters: str = "",
) -> TLSListener:
    below = _tcp(reactor, port, interface, backlog)
    creator = server_certificate(privateKey, certKey, extraCertChain, dhParameters)
    return TLSListener(below, creator)


def _tls(
    reactor: Any,
    path: str,
    port: str = "443",
    backlog: str = str(BACKLOG),
    interface: str = "::",
) -> TLSListener:
    if not path:
        raise EndpointError("the directory's path is empty")
    below = _tcp(reactor, port, interface, backlog)
    return TLSListener(below, certificates_by_name(path))


_TLS: dict[str, Callable[..., TLSListener]] = {"ssl": _ssl, "tls": _tls}
_TCP = {"tcp": _tcp, "tcp6": _tcp6}


def _unix(
    reactor: Any,
    address: str,
    mode: str = "666",
    backlog: str = str(BACKLOG),
    lockfile: str = "",  # noqa: ARG001
) -> UNIXListener:
    """``lockfile`` is understood and needless: a path's state is found by connecting."""
    if address in ("", "@"):
        raise EndpointError("the path is empty")
    if not re.fullmatch("[0-7]{3,4}", mode):
        raise EndpointError(f"mode must be octal permission bits such as 660, not {mode!r}")
    return UNIXListener(reactor, address, int(mode, 8), number("backlog", backlog, 1))


def _systemd(reactor: Any, domain: str = "", index: str = "", name: str = "") -> InheritedListener:
    if domain not in ("", "INET", "INET6", "UNIX"):
        raise EndpointError(f"domain must be INET, INET6 or UNIX, not {domain!r}")
    return InheritedListener(reactor, find(index, name))


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return file_fault(error)
    if isinstance(error, TypeError):  # a call with wrong arguments, of Twisted's
        return re.sub(r"^[\w.<>]+\(\) (got )?", "", str(error))
    return error_name(error)


@dataclass(frozen=True)
class Target:
    """Where a client connects to.

    :ivar endpoint: how.
    :ivar name: the address for people, e.g. ``127.0.0.1:8107``.
    """

    endpoint: IStreamClientEndpoint
    name: str

    def numeric(self) -> str:
        """Give the address that the name stands for, an IPv4 one where it has one.

        Asks the resolver and waits: for the words of a failed attempt.
        """
        host, colon, port = self.name.rpartition(":")
        if not colon or not port.isdecimal():
            return self.name
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return self.name
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return f"[{address[0]}]:{port}" if family == socket.AF_INET6 else f"{address[0]}:{port}"


_Client = Callable[..., Target]


def client_endpoint(
    reactor: Any, description: str, tls: ClientTLS | None = None, send_proxy: int = 0
) -> Target:
    """Read a Twisted client endpoint string.

    ``tcp:`` takes names, for which IPv6 and IPv4 are tried, and addresses of both.

    :param tls: for ``tls:``, what the string does not say.
    :param send_proxy: version of the PROXY header to be sent first; 0 = none.
    :raises EndpointError: it cannot be understood, or a file that it names not read.
    """
    kind, words, options = tokens(description)
    try:
        if kind == "tls":
            secure: _Client = partial(_tls_client, tls or ClientTLS(), send_proxy)
            return built(secure, reactor, words, options)
        if kind in _CLIENTS:
            return _proxying(built(_CLIENTS[kind], reactor, words, options), send_proxy)
        if kind == "ssl":
            raise EndpointError("ssl: verifies no certificate; use tls:HOST:PORT")
        if kind != kind.lower():
            raise EndpointError(f"unknown kind {kind!r}: kinds are in lower case")
        target = Target(endpoints.clientFromString(reactor, description), description)
        return _proxying(target, send_proxy)
    except EndpointError:
        raise
    except Exception as error:
        raise EndpointError(_why(error)) from None


def _proxying(target: Target, version: int) -> Target:
    """Give the same address, with a PROXY header of this version sent first; 0 = none."""
    if not version:
        return target
    return replace(target, endpoint=ProxyingEndpoint(target.endpoint, version))


def _tcp_client(
    reactor: Any, host: str, port: str, timeout: str = "30", bindAddress: str = ""
) -> Target:
    where, seconds = number("port", port, 1, 65535), number("timeout", timeout, 1)
    if not is_host(host):
        raise EndpointError(f"{host!r} is no host name and no address")
    if bindAddress and not (isIPAddress(bindAddress) or isIPv6Address(bindAddress)):
        raise EndpointError(f"bindAddress must be an address, not {bindAddress!r}")
    # It decides by itself: an address is used as it is, a name is looked up.
    own = (bindAddress, 0) if bindAddress else None
    endpoint = endpoints.HostnameEndpoint(reactor, host, where, seconds, own)
    return Target(endpoint, f"[{host}]:{where}" if ":" in host else f"{host}:{where}")


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
    return Target(connector, below.name)


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


def is_host(host: str) -> bool:
    """Whether this can be looked up at all (RFC 1035, 2.3.4)."""
    labels = host.removesuffix(".").split(".")
    printable = host.isprintable() and " " not in host
    return printable and all(0 < len(label) <= 63 for label in labels)


def _unix_client(reactor: Any, path: str, timeout: str = "30") -> Target:
    if not path:
        raise EndpointError("the path is empty")
    if len(os.fsencode(unix_name(path))) > LONGEST_PATH:
        raise EndpointError(f"the path is longer than {LONGEST_PATH} bytes")
    seconds = number("timeout", timeout, 1)
    return Target(endpoints.UNIXClientEndpoint(reactor, unix_name(path), seconds), path)


_CLIENTS: dict[str, _Client] = {"tcp": _tcp_client, "unix": _unix_client}
