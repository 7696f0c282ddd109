"""Endpoint strings to endpoints: Twisted's language, with our own TCP and UNIX sockets.

Short forms and URLs are described in :mod:`echosvc.endpoints.strings`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from twisted.internet import endpoints
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import getPlugins

from echosvc.endpoints.strings import (
    EndpointError,
    Forms,
    Tokens,
    built,
    number,
    short_form,
    tokens,
)
from echosvc.net.addresses import unix_name
from echosvc.net.attempts import Attempting
from echosvc.net.connector import TCPConnector, attempted_address
from echosvc.net.errors import error_name
from echosvc.net.files import file_fault
from echosvc.net.hosts import ascii_host, is_address, is_ipv6, with_port
from echosvc.net.listeners import BACKLOG, TCPListener, UNIXListener
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.net.systemd import InheritedListener, find
from echosvc.tls.context import ClientTLS, certificates_by_name, server_certificate
from echosvc.tls.endpoints import TLSConnector, TLSListener

#: Longest UNIX path, bytes: unix(7), sun_path without its NUL.
LONGEST_PATH = 107


#: Kinds that are not asked of Twisted; each is for clients, listeners, or both.
_KINDS = frozenset(("tcp", "tcp6", "unix", "ssl", "tls", "systemd", "stdio", "haproxy"))


def _is_kind(interface: Any, kind: str) -> bool:
    """Return whether this is a kind of endpoint, of Twisted's or of a plugin."""
    if kind in _KINDS:
        return True
    is_word = re.fullmatch(r"[\w-]+", kind)  # to read the plugins takes a while
    return bool(is_word) and any(each.prefix == kind for each in getPlugins(interface))


_LISTENERS = Forms(
    partial(_is_kind, IStreamServerEndpointStringParser),
    ("tcp", "tcp6", "ssl", "tls"),
    "PORT, HOST:PORT, [IPV6]:PORT, tcp:PORT, ssl:PORT:privateKey=FILE:certKey=FILE,"
    " tls:DIRECTORY:PORT or unix:PATH",
)
_CONNECTORS = Forms(
    partial(_is_kind, IStreamClientEndpointStringParserWithReactor),
    ("tcp", "ssl", "tls"),
    "PORT, HOST:PORT, [IPV6]:PORT, tcp:HOST:PORT, tls:HOST:PORT or unix:PATH",
)


def server_endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """Read a server endpoint string: Twisted's, a short form or a URL.

    :raises EndpointError: it cannot be understood, or a file that it names not read.
    """
    kind, words, options = _server_tokens(description)
    try:
        if kind in _SERVERS:
            build, form = _SERVERS[kind]
            return built(build, reactor, words, options, form)
        if kind == "stdio":
            raise EndpointError("standard input and output are one stream, not a listener")
        if kind == "haproxy":  # Twisted's wrapper hides the client's half-close
            raise EndpointError("haproxy: loses what is due when a client ends; not supported")
        return cast(IStreamServerEndpoint, endpoints.serverFromString(reactor, description))
    except EndpointError:
        raise
    except Exception as error:
        raise EndpointError(_why(error)) from None


def _server_tokens(description: str) -> Tokens:
    short = short_form(description, _LISTENERS)
    if short is None:
        return tokens(description)
    kind, host, port = short
    if kind in ("ssl", "tls"):
        raise EndpointError(
            f"a listener for TLS needs certificates: write ssl:{port}:privateKey=FILE:certKey=FILE"
            f" or tls:DIRECTORY:{port}{_interface(host)}"
        )
    return kind, [port], {} if host in ("", "*") else {"interface": host}


def _interface(host: str) -> str:
    if host in ("", "*"):
        return ""
    return f", and :interface={f'[{host}]' if is_ipv6(host) else host}"


def _tcp(reactor: Any, port: str, interface: str = "", backlog: str = str(BACKLOG)) -> TCPListener:
    if re.fullmatch("[0-9]+", interface) and not re.fullmatch("[0-9]+", port):
        host = f"[{port}]" if is_ipv6(port) else port
        raise EndpointError(f"the port comes first: write tcp:{interface}:interface={host}")
    numbers = number("port", port, 0, 65535), number("backlog", backlog, 1)
    return TCPListener(reactor, ascii_host(interface) if interface else None, *numbers)


def _tcp6(
    reactor: Any, port: str, interface: str = "::", backlog: str = str(BACKLOG)
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
    interface: str = "",
) -> TLSListener:
    below = _tcp(reactor, port, interface, backlog)
    return TLSListener(below, certificates_by_name(path))


def _unix(
    reactor: Any,
    address: str,
    mode: str = "666",
    backlog: str = str(BACKLOG),
    lockfile: str = "",  # noqa: ARG001
) -> UNIXListener:
    """``lockfile`` is understood and needless: a path's state is found by connecting."""
    address = _unix_path(address)
    if not re.fullmatch("[0-7]{3,4}", mode):
        raise EndpointError(f"mode must be octal permission bits such as 660, not {mode!r}")
    return UNIXListener(reactor, address, int(mode, 8), number("backlog", backlog, 1))


def _unix_path(text: str) -> str:
    """Check a path; of a URL such as ``unix:///run/echo.sock`` it is what follows ``//``.

    :raises EndpointError: no socket can have it.
    """
    path = text[2:] if text.startswith("//") else text
    if path is not text and not path.startswith(("/", "@")):
        raise EndpointError(f"a URL's path begins with a third slash: unix:///{path}")
    if path in ("", "@"):
        raise EndpointError("the path is empty")
    name = os.fsencode(unix_name(path))
    if b"\0" in name[1:] or path.startswith("\0"):
        raise EndpointError("the path holds a NUL; an abstract name is written @NAME")
    if len(name) > LONGEST_PATH:
        raise EndpointError(f"the path is longer than {LONGEST_PATH} bytes")
    return path


def _systemd(reactor: Any, domain: str = "", index: str = "", name: str = "") -> InheritedListener:
    if domain not in ("", "INET", "INET6", "UNIX"):
        raise EndpointError(f"domain must be INET, INET6 or UNIX, not {domain!r}")
    return InheritedListener(reactor, find(index, name))


_SERVERS: dict[str, tuple[Callable[..., IStreamServerEndpoint], str]] = {
    "tcp": (_tcp, "tcp:PORT or tcp:PORT:interface=ADDRESS"),
    "tcp6": (_tcp6, "tcp6:PORT or tcp6:PORT:interface=ADDRESS"),
    "unix": (_unix, "unix:PATH or unix:PATH:mode=660"),
    "ssl": (_ssl, "ssl:PORT:privateKey=FILE:certKey=FILE"),
    "tls": (_tls, "tls:DIRECTORY:PORT"),
    "systemd": (_systemd, "systemd:name=NAME or systemd:index=NUMBER"),
}


def _why(error: Exception) -> str:
    """Say what is wrong in words, also where Python's own speak of calls and codecs."""
    if isinstance(error, OSError) and error.filename is not None:
        return file_fault(error)
    if isinstance(error, UnicodeError) or "null byte" in str(error):
        return "it has a character that no name of a file or host has"
    if isinstance(error, TypeError):  # a call with wrong arguments, of a plugin's
        return _wrong_call(str(error))
    if found := re.search(r"invalid literal for \w+\(\).*: (.*)", str(error)):
        return f"{found[1]} is no number"
    if isinstance(error, (ValueError, OSError)) and str(error):
        return error_name(error)
    return "its kind cannot use it"


def _wrong_call(text: str) -> str:
    named = " and ".join(re.findall(r"'([^']*)'", text))
    if "missing" in text and named:
        return f"missing: {named}"
    if "unexpected" in text:
        return f"unknown argument {named!r}"
    return f"{named} is given twice" if "multiple" in text else "it has a word too many"


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
        if kind in _KINDS:
            raise EndpointError(f"{kind}: is for listeners: write {_CONNECTORS.advice}")
        target = Target(endpoints.clientFromString(reactor, description), description)
        return _proxying(target, send_proxy)
    except EndpointError:
        raise
    except Exception as error:
        raise EndpointError(_why(error)) from None


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
    return Target(endpoint, with_port(host, where), endpoint)


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
    path, seconds = _unix_path(path), number("timeout", timeout, 1)
    endpoint = endpoints.UNIXClientEndpoint(Attempting(reactor), unix_name(path), seconds)
    return Target(endpoint, path)


_CLIENTS: dict[str, tuple[_Client, str]] = {
    "tcp": (_tcp_client, "tcp:HOST:PORT"),
    "unix": (_unix_client, "unix:PATH"),
}
