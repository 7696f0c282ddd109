"""How the command line's client reaches its server: the options that say so."""

from __future__ import annotations

import argparse
from typing import Any

from echosvc.config.kinds import Seconds
from echosvc.endpoints.client import Target, client_endpoint, client_tokens
from echosvc.net.hosts import is_host
from echosvc.net.listeners import PORT
from echosvc.net.resolver import DaemonResolver
from echosvc.tls.context import ClientTLS

#: What is said on stderr, once a run, where nothing is verified.
INSECURE = "echosvc: WARNING: --insecure: NOTHING IS VERIFIED, whoever answers is believed"
#: The options that mean something for TLS alone.
_FOR_TLS = ("ca", "insecure", "cert", "key", "server_name")
_VERSIONS = {"v1": 1, "v2": 2}


class ReachError(ValueError):
    """Options that do not go together; says which and why in one line."""


def duration(text: str) -> float:
    """Read a number of seconds, for ``argparse``."""
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, not {text!r}") from None
    if Seconds().fault(seconds):
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, not {text!r}")
    return seconds


def _something(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _host(text: str) -> str:
    if not is_host(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no host name and no address")
    return text


def describe_reaching(command: argparse.ArgumentParser, positional: bool = False) -> None:
    """Add the options to a command.

    :param positional: the server is the command's argument ENDPOINT, not its option ``--to``.
    """
    where: dict[str, Any] = {
        "default": f"tcp:localhost:{PORT}",
        "help": "the server: HOST:PORT or tcp:HOST:PORT (an IPv6 address in [brackets]), PORT"
        " (of localhost), tls:HOST:PORT, unix:PATH, a URL such as tls://HOST:PORT, or another"
        " of Twisted's endpoint strings (default: %(default)s; a name is tried over IPv6 and"
        " IPv4; what begins with a kind and a colon is of that kind)",
    }
    if positional:
        command.add_argument("to", metavar="ENDPOINT", nargs="?", **where)
    else:
        command.add_argument("--to", metavar="ENDPOINT", **where)
    command.set_defaults(named="ENDPOINT" if positional else "--to")
    command.add_argument(
        "--send-proxy",
        choices=_VERSIONS,
        help="send a PROXY header of this version first, before TLS, with the connection's"
        " own addresses",
    )
    _describe_tls(command.add_argument_group("for tls: endpoints"))


def _describe_tls(group: Any) -> None:
    file = {"metavar": "FILE", "type": _something}
    add = group.add_argument
    add("--ca", **file, help="trust these authorities (default: the system's)")
    add("--insecure", action="store_true", help="verify nothing, and believe whoever answers")
    add("--cert", **file, help="show this certificate; its key is in it or in --key's file")
    add("--key", **file, help="its private key")
    add(
        "--server-name",
        metavar="NAME",
        type=_host,
        help="ask for this name and verify it (default: the endpoint's HOST)",
    )


def reached(reactor: Any, words: argparse.Namespace) -> Target:
    """Give the server that the options mean.

    The reactor gets a resolver that its end does not wait for.

    :raises ReachError: they do not go together.
    :raises EndpointError: the endpoint cannot be understood, or a file not be read.
    """
    _check(words)
    reactor.installNameResolver(DaemonResolver(reactor))
    tls = ClientTLS(
        words.cert or "", words.key or "", words.ca or "", words.server_name or "", words.insecure
    )
    return client_endpoint(reactor, words.to, tls, _VERSIONS.get(words.send_proxy, 0))


def _check(words: argparse.Namespace) -> None:
    given = [f"--{name.replace('_', '-')}" for name in _FOR_TLS if getattr(words, name)]
    kind, _, options = client_tokens(words.to)
    if given and kind != "tls":
        raise ReachError(f"{given[0]}: is for tls: endpoints, and {words.named} is {words.to!r}")
    if words.insecure and (words.ca or "trustRoots" in options):
        raise ReachError("--insecure: verifies nothing, but authorities to trust are given")
    if words.key and not (words.cert or "certificate" in options):
        raise ReachError("--key: needs --cert, the certificate that it is for")
