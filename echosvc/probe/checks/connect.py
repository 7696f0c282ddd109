"""Probe of the connection: addresses, name look-up, time of the handshakes."""

from __future__ import annotations

import socket
from functools import partial
from time import perf_counter
from typing import Any

from twisted.internet import defer

from echosvc._text import format_duration, plural
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.probe.checks.first_connection import connect_first
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.client import ProbeClient
from echosvc.probe.engine.connect_time import (
    Attempt,
    Resolution,
    call_in_thread,
    resolve_name,
    try_connect,
)
from echosvc.probe.engine.findings import Failed, Finding
from echosvc.probe.engine.path import Path, gather

#: What an address does, by the error of the connection.
_VERBS = {"ETIMEDOUT": "does not answer", "ECONNREFUSED": "refuses", "ECONNRESET": "resets"}


@probe(
    "connect",
    order=10,
    summary="a connection can be made; to which addresses, in what time",
    requirement="no connection",
)
async def connect(path: Path) -> Finding:
    """Check that a connection can be made: to which addresses, in what time."""
    names = await _resolve(path)
    path.context.lookup_seconds = names.seconds or 0.0
    first = await connect_first(path)
    client, ready = first.connection.client, perf_counter()
    path.context.encrypted = hasattr(client.transport, "tls_version")
    took = _connect_time(client, client.made - first.began)
    tried = await _try_addresses(path, names, client, took)
    tls_seconds = ready - client.made if path.context.encrypted else None
    words, facts = _describe_times(took, names.seconds, tls_seconds)
    text = f"{_describe_remote(client)} in {', '.join(words)}"
    failed = [_describe_failure(each["address"], each["error"]) for each in tried if each["error"]]
    failed += filter(None, [first.describe_others()])
    if failed:
        text += f"; but {', '.join(failed)}"
    facts |= {"remote": client.remote, "local": client.local, "addresses": tried}
    return Finding(text, info=bool(first.ends), facts=facts)


def _describe_times(
    took: Attempt, lookup: float | None, tls: float | None
) -> tuple[list[str], dict[str, Any]]:
    """Return what took how long, in words and as facts.

    :param lookup: seconds that the look-up took; ``None``: there was none.
    :param tls: seconds that the handshake of TLS took; ``None``: there was none.
    """
    again = took.syn_retransmits
    after = f" after {plural(again, 'retransmitted SYN')}" if again else ""
    words = [format_duration(took.seconds) + after]
    facts: dict[str, Any] = {"connect_seconds": round(took.seconds, 6)}
    if again:
        facts["syn_retransmits"] = again
    if lookup is not None:
        words.append(f"name resolved in {format_duration(lookup)}")
        facts["lookup_seconds"] = round(lookup, 6)
    if tls is not None:
        words.append(f"TLS handshake in {format_duration(tls)}")
        facts["tls_seconds"] = round(tls, 6)
    return words, facts


def _describe_failure(address: str, error: str) -> str:
    """Return in words how a connection to an address failed."""
    verb = _VERBS.get(error, "cannot be reached")
    return f"{address} {verb} ({error})"


def _describe_remote(client: ProbeClient) -> str:
    """Return the remote address in words. A process, for example, has none."""
    return "connected" if client.remote_address is None else f"to {client.remote}"


async def _resolve(path: Path) -> Resolution:
    """Look the name up.

    :raises Failed: it takes too long. A connection would need the same look-up again.
    """
    looking = call_in_thread(path.reactor, partial(resolve_name, path.target.name))
    try:
        return await looking.addTimeout(path.settings.timeout, path.reactor)
    except defer.TimeoutError:
        seconds = f"{path.settings.timeout:g} s"
        raise Failed(
            f"no connection to {path.target.name}: the name is not resolved within {seconds}",
            "the resolver (DNS) does not answer",
        ) from None


def _connect_time(client: ProbeClient, waited: float) -> Attempt:
    """Return how long the connection took, as the kernel measures it.

    :param waited: seconds until the reactor reported the connection.
    """
    known = client.handshake
    if known is not None and known.syn_retransmits:
        return Attempt(waited, syn_retransmits=known.syn_retransmits)
    return Attempt(known.seconds if known is not None and known.seconds else waited)


def _has_layers(path: Path) -> bool:
    """Return whether TLS or a PROXY header is expected: a bare connection would be an error."""
    return path.context.encrypted or isinstance(path.target.endpoint, ProxyingEndpoint)


async def _try_addresses(
    path: Path, names: Resolution, client: ProbeClient, took: Attempt
) -> list[dict[str, Any]]:
    """Return what came of each address of the name.

    To the one that is in use no other connection is made: the server may take one alone.

    :param took: the time of the connection that is in use.
    """
    if _has_layers(path):
        return []
    tries = [_try_address(path, found, client, took) for found in names.found]
    results = await gather(tries)
    return [_address_facts(*found, once) for found, once in zip(names.found, results, strict=True)]


async def _try_address(
    path: Path, found: tuple[int, Any], client: ProbeClient, took: Attempt
) -> Attempt:
    family, address = found
    if getattr(client.remote_address, "host", None) == address[0]:
        return took
    return await call_in_thread(
        path.reactor, partial(try_connect, family, address, path.settings.timeout)
    )


def _address_facts(family: int, address: Any, once: Attempt) -> dict[str, Any]:
    is_ipv6 = family == socket.AF_INET6
    return {
        "address": f"[{address[0]}]" if is_ipv6 else address[0],
        "family": "IPv6" if is_ipv6 else "IPv4",
        "seconds": round(once.seconds, 6),
        "error": once.error,
    }
