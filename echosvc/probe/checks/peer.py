"""Probes of the peer: addresses, connect time, prefix, identity, round trips, TLS, PROXY."""

from __future__ import annotations

import math
import re
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from time import monotonic, perf_counter
from typing import Any

from OpenSSL import SSL
from twisted.internet import defer
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, gatherResults

from echosvc._text import format_duration, plural, quote
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.probe.checks.framing_detection import check_line_framing, explain_no_answer
from echosvc.probe.checks.registry import probe
from echosvc.probe.checks.server_names import find_names
from echosvc.probe.engine.client import ProbeClient
from echosvc.probe.engine.connect_time import (
    Attempt,
    Resolution,
    call_in_thread,
    resolve_name,
    try_connect,
)
from echosvc.probe.engine.connection import frame_message
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import FixedPayload
from echosvc.wire.prefix_matching import prefix_pattern

#: How many round trips are measured, and the bytes of each.
ROUND_TRIPS = 200
PING_SIZE = 64
#: A word. One of digits alone is a counter, while ``web1`` is a name.
_WORD = re.compile(r"[\w.-]+")
#: What an address does, by the error of the connection.
_VERBS = {"ETIMEDOUT": "does not answer", "ECONNREFUSED": "refuses", "ECONNRESET": "resets"}
_LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789"


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
    began = perf_counter()
    client = (await path.connect()).client
    ready = perf_counter()
    path.context.encrypted = hasattr(client.transport, "tls_version")
    tried = await _try_addresses(path, names)
    took = await _connect_time(path, client, client.made - began)
    words, facts = _describe_time(took), {"connect_seconds": round(took.seconds, 6)}
    if took.syn_retransmits:
        facts["syn_retransmits"] = took.syn_retransmits
    if names.seconds is not None:
        words.append(f"name resolved in {format_duration(names.seconds)}")
        facts["lookup_seconds"] = round(names.seconds, 6)
    if path.context.encrypted:
        words.append(f"TLS handshake in {format_duration(ready - client.made)}")
        facts["tls_seconds"] = round(ready - client.made, 6)
    text = f"{_describe_remote(client)} in {', '.join(words)}"
    failed = [_describe_failure(each["address"], each["error"]) for each in tried if each["error"]]
    if failed:
        text += f"; but {', '.join(failed)}"
    return Finding(
        text, facts={"remote": client.remote, "local": client.local, "addresses": tried, **facts}
    )


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


async def _connect_time(path: Path, client: ProbeClient, waited: float) -> Attempt:
    """Return how long the connection took, as the kernel or a plain socket measures it.

    :param waited: seconds until the reactor reported the connection.
    """
    known = client.handshake
    if known is not None and known.syn_retransmits:
        return Attempt(waited, syn_retransmits=known.syn_retransmits)
    if known is not None and known.seconds:
        return Attempt(known.seconds)
    where = _socket_address(client)
    if where is None or _has_layers(path):
        return Attempt(waited)
    once = await call_in_thread(path.reactor, partial(try_connect, *where, path.settings.timeout))
    return Attempt(waited) if once.error else once


def _describe_time(took: Attempt) -> list[str]:
    syn_retransmits = (
        f" after {plural(took.syn_retransmits, 'retransmitted SYN')}"
        if took.syn_retransmits
        else ""
    )
    return [format_duration(took.seconds) + syn_retransmits]


def _socket_address(client: ProbeClient) -> tuple[int, Any] | None:
    """Return family and address for a plain socket; ``None``: the endpoint has none."""
    address = client.remote_address if client.had_socket else None
    if isinstance(address, UNIXAddress) and address.name:
        return socket.AF_UNIX, address.name
    if isinstance(address, IPv6Address):
        return socket.AF_INET6, (address.host, address.port)
    if isinstance(address, IPv4Address):
        return socket.AF_INET, (address.host, address.port)
    return None


def _has_layers(path: Path) -> bool:
    """Return whether TLS or a PROXY header is expected: a bare connection would be an error."""
    return path.context.encrypted or isinstance(path.target.endpoint, ProxyingEndpoint)


async def _try_addresses(path: Path, names: Resolution) -> list[dict[str, Any]]:
    """Connect to all addresses of the name at once."""
    if _has_layers(path):
        return []
    tries: list[Deferred[Attempt]] = [
        call_in_thread(path.reactor, partial(try_connect, family, address, path.settings.timeout))
        for family, address in names.found
    ]
    results = await gatherResults(tries, consumeErrors=True)
    return [_address_facts(*found, once) for found, once in zip(names.found, results, strict=True)]


def _address_facts(family: int, address: Any, once: Attempt) -> dict[str, Any]:
    is_new = family == socket.AF_INET6
    return {
        "address": f"[{address[0]}]" if is_new else address[0],
        "family": "IPv6" if is_new else "IPv4",
        "seconds": round(once.seconds, 6),
        "error": once.error,
    }


@probe(
    "echo",
    order=20,
    summary="the server answers; with which prefix and greeting",
    requirement="no echo",
)
async def echo(path: Path) -> Finding:
    """Check that the server answers, and with which prefix."""
    try:
        connection = await path.open()
    except Failed as failed:
        raise await explain_no_answer(path, failed) from None
    prefix = f"prefix {quote(connection.prefix)}" if connection.prefix else "no prefix"
    greeting = f", greeting {quote(path.context.greeting)}" if path.context.greeting else ""
    letters = bytes(
        byte for byte in _LETTERS if byte not in connection.prefix_matcher.boundary_bytes
    )
    payload = FixedPayload(letters * 20 + b"\n" * (path.settings.framing == "line"))
    await connection.expect_no_more(await connection.exchange(payload))
    await check_line_framing(path, connection)
    facts = {
        "prefix": quote(connection.prefix)[1:-1],
        "greeting": quote(path.context.greeting)[1:-1],
    }
    return Finding(f"what is sent comes back, {prefix}{greeting}", facts=facts)


@probe("identity", order=30, summary="which servers answer, over several connections")
async def identity(path: Path) -> Finding:
    """Count the servers that answer over several connections."""
    connections = await path.open_many(path.settings.connections)
    if not any(connection.prefix for connection in connections):
        raise Skipped("the server has no prefix that would identify it")
    names = Counter(await _server_names(path, [connection.prefix for connection in connections]))
    counts = {quote(name.encode("utf-8", "surrogateescape")): names[name] for name in sorted(names)}
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    on = plural(len(connections), "connection")
    text = f"{plural(len(names), 'server')} on {on}: {listed}"
    facts = {"servers": {name[1:-1]: count for name, count in counts.items()}}
    return Finding(text, info=True, facts=facts)


async def _server_names(path: Path, prefixes: list[bytes]) -> list[str]:
    expression = path.settings.identity
    if expression is not None:
        return await find_names(path.reactor, expression, prefixes, path.settings.timeout)
    texts = [prefix.decode("utf-8", "surrogateescape") for prefix in prefixes]
    return [without_counters(text) for text in texts]


def without_counters(prefix: str) -> str:
    """Return a prefix without the decimal numbers that stand alone."""
    return _WORD.sub(lambda word: "" if word[0].isdecimal() else word[0], prefix)


@dataclass(frozen=True)
class RoundTrips:
    """The measured round-trip times, seconds, ascending."""

    seconds: Sequence[float]

    def percentile(self, percent: float) -> float:
        """Return a percentile by the nearest rank."""
        rank = math.ceil(percent / 100 * len(self.seconds))
        return self.seconds[max(1, rank) - 1]

    @property
    def facts(self) -> dict[str, float]:
        """The same for programs, microseconds."""
        places = {"min": 0, "p50": 50, "p90": 90, "p99": 99, "max": 100}
        values = {
            f"{name}_us": round(1e6 * self.percentile(place)) for name, place in places.items()
        }
        return {"trips": len(self.seconds), **values}

    def __str__(self) -> str:
        places = {"min": 0, "median": 50, "90 %": 90, "99 %": 99, "max": 100}
        times = (
            f"{name} {format_duration(self.percentile(place))}" for name, place in places.items()
        )
        return f"{plural(len(self.seconds), 'trip')}: {', '.join(times)}"


@probe("rtt", order=110, summary="round-trip times, with and without Nagle's algorithm")
async def round_trip_times(path: Path) -> Finding:
    """Measure how long a message and its reply take."""
    straight, on_tcp = await _measure(path, nagle=False)
    text, facts = str(straight), {"nodelay": straight.facts}
    if on_tcp:
        split, _ = await _measure(path, nagle=True)
        text += f"; with Nagle's algorithm, in two writes: {split}"
        facts["nagle_two_writes"] = split.facts
    return Finding(text, info=True, facts=facts)


async def _measure(path: Path, nagle: bool) -> tuple[RoundTrips, bool]:
    """Measure round trips; with Nagle's algorithm, of two writes each.

    :return: the times, and whether it is TCP: nothing else has Nagle's algorithm.
    """
    connection = await path.open(nagle)
    times: list[float] = []
    began = monotonic()
    while len(times) < ROUND_TRIPS and (
        not times or monotonic() - began < path.settings.timeout / 5
    ):
        payload = path.payload(PING_SIZE, connection)
        verifier, start = connection.verifier(payload), perf_counter()
        data = frame_message(path.settings.framing, payload.at(0, PING_SIZE))
        for half in (data[: PING_SIZE // 2], data[PING_SIZE // 2 :]) if nagle else (data,):
            connection.client.write(half).addErrback(lambda _: None)
        await connection.verify(verifier)
        times.append(perf_counter() - start)
    return RoundTrips(sorted(times)), _is_tcp(connection.client)


def _is_tcp(client: ProbeClient) -> bool:
    return client.had_socket and isinstance(client.remote_address, (IPv4Address, IPv6Address))


@probe("tls", order=120, summary="version, cipher, certificates, days left (tls: endpoints)")
async def tls_session(path: Path) -> Finding:
    """Report the version, cipher and certificates of TLS."""
    if not path.context.encrypted:
        raise Skipped("no TLS: the endpoint is not of the kind tls:")
    client = (await path.connect()).client
    tls: SSL.Connection = client.transport.getHandle()  # type: ignore[attr-defined]
    version, cipher = tls.get_protocol_version_name(), tls.get_cipher_name()
    try:
        subjects, ends = _chain(tls)
    except (ValueError, TypeError):  # an authority may have signed what is no text
        raise Failed(f"{version}, {cipher}: a certificate cannot be read") from None
    if not subjects:
        return Finding(f"{version}, {cipher}, no certificate", info=True)
    days = int((min(ends) - datetime.now(timezone.utc)).total_seconds() // 86400)
    names = " < ".join(subjects)
    facts: dict[str, Any] = {"version": version, "cipher": cipher, "days_left": days}
    facts["chain"] = [subject[1:-1] for subject in subjects]
    if days < 0:
        raise Failed(
            f"{version}, {cipher}: a certificate of {names} ended {-days} days ago", facts=facts
        )
    return Finding(f"{version}, {cipher}, {names}, {days} days left", facts=facts)


def _chain(connection: SSL.Connection) -> tuple[list[str], list[datetime]]:
    """Return subjects and ends of validity of the peer's certificates.

    :raises ValueError: one cannot be read.
    """
    chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    subjects = [quote(each.subject.rfc4514_string().encode()) for each in chain]
    return subjects, [each.not_valid_after_utc for each in chain]


@probe("proxy", order=130, summary="the server sees our address (needs {peer} in its prefix)")
async def proxy(path: Path) -> Finding:
    """Check that the server sees our own address."""
    connection = await path.open()
    template, ours = path.settings.prefix, connection.client.local
    if not _is_tcp(connection.client):
        raise Skipped("this transport has no addresses that a header could name")
    if template is None or not any(getattr(part, "name", "") == "peer" for part in template.parts):
        if ours.encode() in connection.prefix:
            return Finding(f"the server sees us as we are: {ours}")
        raise Skipped("needs a server whose prefix has {peer}, and the same --prefix here")
    found = prefix_pattern(template).match_whole(connection.prefix)
    seen = found.values()["peer"] if found else "?"
    if seen != ours:
        raise Failed(
            f"the server sees {seen}, and we are {ours}",
            "a middlebox connects from its own address: it sends no PROXY header, or the"
            " server does not read it; or addresses are translated (NAT)",
            facts={"seen": seen, "local": ours},
        )
    return Finding(f"the server sees us as we are: {ours}", facts={"seen": seen})
