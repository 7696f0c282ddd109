"""The options of the clients that say how to reach the server."""

from __future__ import annotations

import argparse
import os
from typing import Any

from echosvc.cli import values
from echosvc.endpoints.client import ClientTarget, client_endpoint, parse_client_endpoint
from echosvc.endpoints.strings import EndpointError
from echosvc.net.listeners import PORT
from echosvc.net.resolver import DaemonResolver
from echosvc.tls.context import ClientTLS

#: The warning on standard error, once a run, when nothing is verified.
INSECURE = "echosvc: WARNING: --insecure: NOTHING IS VERIFIED, any server is accepted"
#: The options for TLS alone.
_FOR_TLS = ("ca", "insecure", "cert", "key", "server_name")
#: The server where none is named.
DEFAULT_ENDPOINT = f"tcp:localhost:{PORT}"
#: The options that name a file.
_FILES = ("ca", "cert", "key")
_VERSIONS = {"v1": 1, "v2": 2}


class TargetOptionsError(ValueError):
    """Options that contradict each other; says which and why in one line."""


def add_target_arguments(
    command: argparse.ArgumentParser, positional: bool = False, required: bool = False
) -> None:
    """Add the options to a command of argparse.

    :param positional: the server is the command's argument ENDPOINT, not its option ``--to``.
    :param required: that argument must be given, since another one is before it.
    """
    default = "" if required else f"default: {DEFAULT_ENDPOINT}; "
    where: dict[str, Any] = {
        "metavar": "ENDPOINT",
        "help": "the server: HOST:PORT or tcp:HOST:PORT (an IPv6 address in [brackets]), PORT"
        " (of localhost), tls:HOST:PORT, unix:PATH, a URL such as tls://HOST:PORT, or another"
        f" of Twisted's endpoint strings ({default}a name is tried over IPv6 and"
        " IPv4; NAME: in front selects an endpoint type)",
    }
    if not required:
        where |= {"default": DEFAULT_ENDPOINT} | ({"nargs": "?"} if positional else {})
    command.add_argument("to" if positional else "--to", **where)
    command.set_defaults(target_name="ENDPOINT" if positional else "--to")
    command.add_argument(
        "--send-proxy",
        choices=_VERSIONS,
        help="send a PROXY header of this version first, before TLS, with the connection's"
        " own addresses; those of its client where it is relayed",
    )
    _add_tls_arguments(command.add_argument_group("for tls: endpoints"))


def _add_tls_arguments(group: Any) -> None:
    file = {"metavar": "FILE", "type": values.nonempty}
    add = group.add_argument
    add("--ca", **file, help="trust these authorities (default: the system's)")
    add("--insecure", action="store_true", help="verify nothing: accept any server")
    add("--cert", **file, help="show this certificate; its key is in it or in --key's file")
    add("--key", **file, help="private key of --cert")
    add(
        "--server-name",
        metavar="NAME",
        type=values.host,
        help="ask for this name and verify it (default: the endpoint's HOST)",
    )


def target_from_args(reactor: Any, args: argparse.Namespace) -> ClientTarget:
    """Return the server that the options mean.

    The reactor gets a resolver whose threads do not delay its stop.

    :raises TargetOptionsError: they contradict each other.
    :raises EndpointError: the endpoint cannot be understood, or a file cannot be read.
    """
    _check_tls(args)
    reactor.installNameResolver(DaemonResolver(reactor))
    tls = ClientTLS(
        args.cert or "", args.key or "", args.ca or "", args.server_name or "", args.insecure
    )
    return client_endpoint(reactor, args.to, tls, _VERSIONS.get(args.send_proxy, 0))


def faulty_argument(args: argparse.Namespace, error: EndpointError) -> str:
    """Return which argument an error of :func:`target_from_args` is about.

    It is an option with a file if the error begins with that file, else the endpoint.
    """
    for name in _FILES:
        file = getattr(args, name)
        if file and str(error).startswith((f"{file}:", os.path.join(file, ""))):
            return f"--{name}"
    return f"{args.target_name} {args.to!r}"


def given_target_options(args: argparse.Namespace) -> list[str]:
    """Return the names of the options that are given, without the server itself."""
    return [name for name in (*_FOR_TLS, "send_proxy") if getattr(args, name)]


def _check_tls(args: argparse.Namespace) -> None:
    given = [f"--{name.replace('_', '-')}" for name in _FOR_TLS if getattr(args, name)]
    kind, _, options = parse_client_endpoint(args.to)
    if given and kind != "tls":
        raise TargetOptionsError(
            f"{given[0]}: is for tls: endpoints, and {args.target_name} is {args.to!r}"
        )
    if args.insecure and (args.ca or "trustRoots" in options):
        raise TargetOptionsError("--insecure: verifies nothing, but authorities to trust are given")
    if args.key and not (args.cert or "certificate" in options):
        raise TargetOptionsError("--key: needs --cert, the certificate that it is for")
