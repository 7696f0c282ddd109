"""Endpoint strings to endpoints: Twisted's language, with our own TCP and UNIX sockets."""

from __future__ import annotations

import inspect
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from twisted.internet import endpoints
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from echosvc.certificates import (
    certificates_by_name,
    client_options,
    server_certificate,
)
from echosvc.listeners import BACKLOG, TCPListener, UNIXListener, error_name, file_fault, unix_name
from echosvc.secure import TLSConnector, TLSListener

#: Longest UNIX path, bytes: unix(7), sun_path without its NUL.
LONGEST_PATH = 107

_Endpoint = TypeVar("_Endpoint")


class EndpointError(ValueError):
    """An endpoint string that cannot be used; says why in one line."""


def server_endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """Read a Twisted server endpoint string.

    :raises EndpointError: it cannot be understood, or a file that it names not read.
    """
    kind, words, options = _tokens(description)
    try:
        if kind in ("tcp", "tcp6"):
            return _built(_TCP[kind], reactor, words, options)
        if kind == "unix":
            return _built(_unix, reactor, words, options)
        if kind != kind.lower():
            raise EndpointError(f"unknown kind {kind!r}: kinds are in lower case")
        if kind == "stdio":
            raise EndpointError("standard input and output are one stream, not a listener")
        if kind in _TLS:
            return _built(_TLS[kind], reactor, words, options)
        if kind == "haproxy":  # Twisted's wrapper hides the client's half-close
            raise EndpointError("haproxy: loses what is due when a client ends; not supported")
        return cast(IStreamServerEndpoint, endpoints.serverFromString(reactor, description))
    except EndpointError:
        raise
    except Exception as error:
        raise EndpointError(_why(error, kind)) from None


def _tcp(reactor: Any, port: str, interface: str = "", backlog: str = str(BACKLOG)) -> TCPListener:
    numbers = _number("port", port, 0, 65535), _number("backlog", backlog, 1)
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
    if not address:
        raise EndpointError("the path is empty")
    if not re.fullmatch("[0-7]{3,4}", mode):
        raise EndpointError(f"mode must be octal permission bits such as 660, not {mode!r}")
    return UNIXListener(reactor, address, int(mode, 8), _number("backlog", backlog, 1))


def _number(name: str, text: str, least: int, most: int = 2**31 - 1) -> int:
    if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise EndpointError(f"{name} must be a whole number from {least} to {most}, not {text!r}")
    return int(text)


def _tokens(description: str) -> tuple[str, list[str], dict[str, str]]:
    """Cut ``kind:word:name=value`` at its unescaped colons; a backslash escapes.

    Addresses in brackets may hold colons: ``tcp:[::1]:8107``.
    """
    if re.search(r"(?<!\\)(\\\\)*\\\Z", description):
        raise EndpointError("it ends with a backslash, which escapes nothing")
    kind, *parts = re.findall(
        r"((?:\\.?|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^:\\])*)(?::|$)", description
    )
    words: list[str] = []
    options: dict[str, str] = {}
    for part in parts[:-1]:  # the last match is the empty one at the end
        name, equals, value = part.partition("=")
        if name in options:
            raise EndpointError(f"argument {name!r} is given twice")
        if equals and name.isidentifier():
            options[name] = _plain(value)
        else:
            words.append(_plain(part))
    return kind, words, options


def _plain(text: str) -> str:
    bare = text[1:-1] if re.fullmatch(r"\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]", text) else text
    return re.sub(r"\\(.?)", r"\1", bare)


def _built(
    build: Callable[..., _Endpoint], reactor: object, words: list[str], options: dict[str, str]
) -> _Endpoint:
    """Call ``build``, with a wrong argument told in words."""
    if empty := [name for name, value in options.items() if not value and name != "interface"]:
        raise EndpointError(f"{empty[0]} is empty")
    signature = inspect.signature(build)
    if unknown := options.keys() - signature.parameters.keys():
        raise EndpointError(f"unknown argument {min(unknown)!r}")
    try:
        arguments = signature.bind(reactor, *words, **options)
    except TypeError as error:
        raise EndpointError(str(error)) from None
    return build(*arguments.args, **arguments.kwargs)


def _why(error: Exception, kind: str) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return file_fault(error)
    if kind == "systemd" and isinstance(error, LookupError):
        return "no such descriptor was inherited (LISTEN_FDS, LISTEN_FDNAMES)"
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


def client_endpoint(reactor: Any, description: str) -> Target:
    """Read a Twisted client endpoint string.

    ``tcp:`` takes names, for which IPv6 and IPv4 are tried, and addresses of both.

    :raises EndpointError: it cannot be understood, or a file that it names not read.
    """
    kind, words, options = _tokens(description)
    try:
        if kind == "tcp":
            return _built(_tcp_client, reactor, words, options)
        if kind == "unix":
            return _built(_unix_client, reactor, words, options)
        if kind == "tls":
            return _built(_tls_client, reactor, words, options)
        if kind == "ssl":
            raise EndpointError("ssl: verifies no certificate; use tls:HOST:PORT")
        if kind != kind.lower():
            raise EndpointError(f"unknown kind {kind!r}: kinds are in lower case")
        return Target(endpoints.clientFromString(reactor, description), description)
    except EndpointError:
        raise
    except Exception as error:
        raise EndpointError(_why(error, kind)) from None


def _tcp_client(
    reactor: Any, host: str, port: str, timeout: str = "30", bindAddress: str = ""
) -> Target:
    number, seconds = _number("port", port, 1, 65535), _number("timeout", timeout, 1)
    if not _is_host(host):
        raise EndpointError(f"{host!r} is no host name and no address")
    if bindAddress and not (isIPAddress(bindAddress) or isIPv6Address(bindAddress)):
        raise EndpointError(f"bindAddress must be an address, not {bindAddress!r}")
    # It decides by itself: an address is used as it is, a name is looked up.
    own = (bindAddress, 0) if bindAddress else None
    endpoint = endpoints.HostnameEndpoint(reactor, host, number, seconds, own)
    return Target(endpoint, f"[{host}]:{number}" if ":" in host else f"{host}:{number}")


def _tls_client(
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
    creator = client_options(host, certificate, privateKey, trustRoots)
    connector = TLSConnector(reactor, below.endpoint, creator, float(timeout))
    return Target(connector, below.name)


def _is_host(host: str) -> bool:
    """Whether this can be looked up at all (RFC 1035, 2.3.4)."""
    labels = host.removesuffix(".").split(".")
    printable = host.isprintable() and " " not in host
    return printable and all(0 < len(label) <= 63 for label in labels)


def _unix_client(reactor: Any, path: str, timeout: str = "30") -> Target:
    if not path:
        raise EndpointError("the path is empty")
    if len(os.fsencode(unix_name(path))) > LONGEST_PATH:
        raise EndpointError(f"the path is longer than {LONGEST_PATH} bytes")
    seconds = _number("timeout", timeout, 1)
    return Target(endpoints.UNIXClientEndpoint(reactor, unix_name(path), seconds), path)
