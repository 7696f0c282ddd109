"""Why no connection comes about, in words."""

from __future__ import annotations

from typing import Any

from twisted.internet import defer
from twisted.internet.endpoints import UNIXClientEndpoint

from echosvc.endpoints.client import ClientTarget
from echosvc.net.errors import VerificationError, describe_error, with_report
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.prefix_detection import describe_refusal
from echosvc.tls.alerts import handshake_advice
from echosvc.tls.endpoints import TLSConnector

_CAUSES = {
    "ECONNREFUSED": "no server listens there, or a firewall refuses",
    "ECONNRESET": "a middlebox accepts connections and has no server to pass them to",
    # What Linux makes of ICMP messages, too.
    "EHOSTUNREACH": "no route to that host, here or at a router; or a firewall prohibits it",
    "ENETUNREACH": "no route to that network, here or at a router; or a firewall prohibits it",
    "ENOPROTOOPT": "a firewall, or the host, reports that it takes no TCP",
    "EHOSTDOWN": "a router, or a firewall in its name, reports that the host is not there",
    "ENONET": "a router, or a firewall in its name, reports that the host is isolated",
    "EPROTO": "a router does not understand what a middlebox, or this machine, has sent",
    "ENOTFOUND": "no such name",
    # What routes of the kinds blackhole and prohibit answer (ip-route(8)).
    "EINVAL": "a route of this machine drops what goes there (blackhole), or no address of a host",
    "EACCES": "a route or a firewall of this machine forbids it, or a firewall on the path; or it"
    " is no address of a host",
    "EPERM": "a firewall of this machine forbids it",
    "EADDRNOTAVAIL": "the own address is not this machine's, or no port is free",
    "EAFNOSUPPORT": "this machine has no such addresses",
}
#: The same for UNIX sockets.
_UNIX_CAUSES = {
    "ENOENT": "there is no socket at that path: the server does not run, or has another one",
    "ECONNREFUSED": "no server listens at that path: it has ended, or the file is no socket",
    "EACCES": "the permissions of the socket or of a directory above it do not let this user in",
    "EPERM": "the permissions of the socket or of a directory above it do not let this user in",
    "ENOTDIR": "what should be a directory of that path is none",
    "ELOOP": "the links of that path lead in a circle",
    "EAGAIN": "the server's queue of connections is full",
    "EPROTOTYPE": "a socket of another kind is at that path",
}


#: Errors of a server that is not there, or refuses; what they mean depends on what was before.
_REFUSALS = ("ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EAGAIN")


class NotConnected(Failed):
    """There is no connection."""


def describe_connect_error(
    error: Exception, target: ClientTarget, seconds: float, before: int = 0
) -> tuple[str, str]:
    """Return that there is no connection, in words, and the likeliest cause.

    :param seconds: how long was waited.
    :param before: how many connections had been made before.
    """
    words, why = _describe_error(error, target, seconds)
    refused = describe_error(error) in _REFUSALS
    return words, describe_refusal(before) if before and refused else why


def _describe_error(error: Exception, target: ClientTarget, seconds: float) -> tuple[str, str]:
    where = target.name
    if isinstance(error, defer.TimeoutError):
        return f"no connection to {where} within {seconds:.3g} s", _timeout_cause(target)
    if isinstance(error, VerificationError):
        return f"no connection to {where}: {error.why}", error.advice
    name = describe_error(error)
    if name.startswith("TLS"):
        return f"no connection to {where}: {name}", handshake_advice(name)
    causes = _UNIX_CAUSES if _is_unix(target) else _CAUSES
    why = _timeout_cause(target) if name == "ETIMEDOUT" else causes.get(name, "")
    unix = causes is _UNIX_CAUSES
    return f"no connection to {where}: {name if unix else with_report(name)}", why


def _is_unix(target: ClientTarget) -> bool:
    """Return whether it is a UNIX socket, below TLS and a PROXY header."""
    endpoint: Any = target.endpoint
    while isinstance(endpoint, (TLSConnector, ProxyingEndpoint)):
        endpoint = endpoint.endpoint
    return isinstance(endpoint, UNIXClientEndpoint)


def _timeout_cause(target: ClientTarget) -> str:
    why = "a firewall that drops, or a full queue"
    secure = isinstance(target.endpoint, TLSConnector)
    return f"{why}, or the peer does not speak TLS" if secure else why
