"""Probes of who is at the other end, and how far away: addresses, prefix, TLS, PROXY."""

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
from echosvc.probe.checks.framings import explained, two_lines
from echosvc.probe.checks.naming import named
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.client import ProbeClient
from echosvc.probe.engine.connect_time import Attempt, Names, attempted, in_thread, looked_up
from echosvc.probe.engine.connection import framed
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import Text
from echosvc.wire.prefix_matching import prefix_pattern

#: Round trips that are measured, and bytes of each.
TRIPS = 200
PING = 64
#: Words; one of digits alone counts something, while ``web1`` is a name.
_WORDS = re.compile(r"[\w.-]+")
#: What an address does that fails so.
_VERBS = {"ETIMEDOUT": "does not answer", "ECONNREFUSED": "refuses", "ECONNRESET": "resets"}
_LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789"


@probe(
    "connect",
    order=10,
    summary="a connection can be made; to which addresses, in what time",
    requirement="no connection",
)
async def connect(path: Path) -> Finding:
    """A connection can be made; to which addresses, and in what time."""
    names = await _names(path)
    path.context.lookup_seconds = names.seconds or 0.0
    began = perf_counter()
    client = (await path.connect()).client
    ready = perf_counter()
    path.context.encrypted = hasattr(client.transport, "tls_version")
    tried = await _addresses(path, names)
    took = await _took(path, client, client.made - began)
    words, facts = _described(took), {"connect_seconds": round(took.seconds, 6)}
    if took.again:
        facts["syn_retransmits"] = took.again
    if names.seconds is not None:
        words.append(f"name resolved in {format_duration(names.seconds)}")
        facts["lookup_seconds"] = round(names.seconds, 6)
    if path.context.encrypted:
        words.append(f"TLS handshake in {format_duration(ready - client.made)}")
        facts["tls_seconds"] = round(ready - client.made, 6)
    text = f"{_where(client)} in {', '.join(words)}"
    failed = [_unanswering(each["address"], each["error"]) for each in tried if each["error"]]
    if failed:
        text += f"; but {', '.join(failed)}"
    return Finding(
        text, facts={"remote": client.remote, "local": client.local, "addresses": tried, **facts}
    )


def _unanswering(address: str, error: str) -> str:
    """Say what became of an address. A refusal is an answer, too, and no route leads nowhere."""
    verb = _VERBS.get(error, "cannot be reached")
    return f"{address} {verb} ({error})"


def _where(client: ProbeClient) -> str:
    """Where the connection goes to; a process, for one, has no address."""
    return "connected" if client.remote_address is None else f"to {client.remote}"


async def _names(path: Path) -> Names:
    """Look the name up, by itself.

    :raises Failed: it takes too long. To connect would be to ask the same once more.
    """
    looking = in_thread(path.reactor, partial(looked_up, path.target.name))
    try:
        return await looking.addTimeout(path.settings.timeout, path.reactor)
    except defer.TimeoutError:
        seconds = f"{path.settings.timeout:g} s"
        raise Failed(
            f"no connection to {path.target.name}: the name is not resolved within {seconds}",
            "the resolver (DNS) does not answer",
        ) from None


async def _took(path: Path, client: ProbeClient, waited: float) -> Attempt:
    """How long the connection took: the kernel's figure, or that of a plain socket.

    :param waited: seconds until the reactor told of the connection.
    """
    known = client.handshake
    if known is not None and known.again:
        return Attempt(waited, again=known.again)
    if known is not None and known.seconds:
        return Attempt(known.seconds)
    where = _plain_address(client)
    if where is None or _wants_more(path):
        return Attempt(waited)
    once = await in_thread(path.reactor, partial(attempted, *where, path.settings.timeout))
    return Attempt(waited) if once.error else once


def _described(took: Attempt) -> list[str]:
    again = f" after {plural(took.again, 'retransmitted SYN')}" if took.again else ""
    return [format_duration(took.seconds) + again]


def _plain_address(client: ProbeClient) -> tuple[int, Any] | None:
    """Family and address of a plain socket to the same place; ``None``: there is none."""
    address = client.remote_address if client.had_socket else None
    if isinstance(address, UNIXAddress) and address.name:
        return socket.AF_UNIX, address.name
    if isinstance(address, IPv6Address):
        return socket.AF_INET6, (address.host, address.port)
    if isinstance(address, IPv4Address):
        return socket.AF_INET, (address.host, address.port)
    return None


def _wants_more(path: Path) -> bool:
    """Whether TLS or a PROXY header is expected: there a bare connection is an error."""
    return path.context.encrypted or isinstance(path.target.endpoint, ProxyingEndpoint)


async def _addresses(path: Path, names: Names) -> list[dict[str, Any]]:
    """Connect to each address of the name, all at once."""
    if _wants_more(path):
        return []
    tries: list[Deferred[Attempt]] = [
        in_thread(path.reactor, partial(attempted, family, address, path.settings.timeout))
        for family, address in names.found
    ]
    results = await gatherResults(tries, consumeErrors=True)
    return [_told(*found, once) for found, once in zip(names.found, results, strict=True)]


def _told(family: int, address: Any, once: Attempt) -> dict[str, Any]:
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
    """The server answers, with which prefix."""
    try:
        line = await path.open()
    except Failed as failed:
        raise await explained(path, failed) from None
    prefix = f"prefix {quote(line.prefix)}" if line.prefix else "no prefix"
    greeting = f", greeting {quote(path.context.greeting)}" if path.context.greeting else ""
    letters = bytes(byte for byte in _LETTERS if byte not in line.mark.boundary_bytes)
    payload = Text(letters * 20 + b"\n" * (path.settings.framing == "line"))
    await line.nothing_more(await line.exchange(payload))
    await two_lines(path, line)
    facts = {"prefix": quote(line.prefix)[1:-1], "greeting": quote(path.context.greeting)[1:-1]}
    return Finding(f"what is sent comes back, {prefix}{greeting}", facts=facts)


@probe("identity", order=30, summary="which servers answer, over several connections")
async def identity(path: Path) -> Finding:
    """Who answers, over several connections."""
    lines = await path.open_many(path.settings.connections)
    if not any(line.prefix for line in lines):
        raise Skipped("the server has no prefix that would say who it is")
    names = Counter(await _called(path, [line.prefix for line in lines]))
    told = {quote(name.encode("utf-8", "surrogateescape")): names[name] for name in sorted(names)}
    listed = ", ".join(f"{name} {count}" for name, count in told.items())
    on = plural(len(lines), "connection")
    text = f"{plural(len(names), 'server')} on {on}: {listed}"
    facts = {"servers": {name[1:-1]: count for name, count in told.items()}}
    return Finding(text, info=True, facts=facts)


async def _called(path: Path, prefixes: list[bytes]) -> list[str]:
    expression = path.settings.identity
    if expression is not None:
        return await named(path.reactor, expression, prefixes, path.settings.timeout)
    texts = [prefix.decode("utf-8", "surrogateescape") for prefix in prefixes]
    return [without_counters(text) for text in texts]


def without_counters(prefix: str) -> str:
    """Give a prefix without the decimal numbers that stand alone."""
    return _WORDS.sub(lambda word: "" if word[0].isdecimal() else word[0], prefix)


@dataclass(frozen=True)
class Trips:
    """Round trips that were measured, seconds, the shortest first."""

    seconds: Sequence[float]

    def at(self, percent: float) -> float:
        """The least time that so many per cent of them did not exceed (nearest rank)."""
        rank = math.ceil(percent / 100 * len(self.seconds))
        return self.seconds[max(1, rank) - 1]

    @property
    def facts(self) -> dict[str, float]:
        """The same for programs, microseconds."""
        places = {"min": 0, "p50": 50, "p90": 90, "p99": 99, "max": 100}
        values = {f"{name}_us": round(1e6 * self.at(place)) for name, place in places.items()}
        return {"trips": len(self.seconds), **values}

    def __str__(self) -> str:
        places = {"min": 0, "median": 50, "90 %": 90, "99 %": 99, "max": 100}
        times = (f"{name} {format_duration(self.at(place))}" for name, place in places.items())
        return f"{plural(len(self.seconds), 'trip')}: {', '.join(times)}"


@probe("rtt", order=110, summary="round-trip times, with and without Nagle's algorithm")
async def round_trip(path: Path) -> Finding:
    """How long a message and its answer take."""
    straight, on_tcp = await _trips(path, nagle=False)
    text, facts = str(straight), {"nodelay": straight.facts}
    if on_tcp:
        split, _ = await _trips(path, nagle=True)
        text += f"; with Nagle's algorithm, in two writes: {split}"
        facts["nagle_two_writes"] = split.facts
    return Finding(text, info=True, facts=facts)


async def _trips(path: Path, nagle: bool) -> tuple[Trips, bool]:
    """Measure round trips; with Nagle's algorithm, of two writes each.

    :return: them, and whether there is TCP, which alone has Nagle's algorithm.
    """
    line = await path.open(nagle)
    times: list[float] = []
    began = monotonic()
    while len(times) < TRIPS and (not times or monotonic() - began < path.settings.timeout / 5):
        payload = path.payload(PING, line)
        verifier, start = line.verifier(payload), perf_counter()
        data = framed(path.settings.framing, payload.at(0, PING))
        for half in (data[: PING // 2], data[PING // 2 :]) if nagle else (data,):
            line.client.write(half).addErrback(lambda _: None)
        await line.verify(verifier)
        times.append(perf_counter() - start)
    return Trips(sorted(times)), _is_tcp(line.client)


def _is_tcp(client: ProbeClient) -> bool:
    return client.had_socket and isinstance(client.remote_address, (IPv4Address, IPv6Address))


@probe("tls", order=120, summary="version, cipher, certificates, days left (tls: endpoints)")
async def tls(path: Path) -> Finding:
    """TLS's version, cipher, certificates."""
    if not path.context.encrypted:
        raise Skipped("no TLS: the endpoint is not of the kind tls:")
    line = await path.connect()
    connection: SSL.Connection = line.client.transport.getHandle()  # type: ignore[attr-defined]
    version, cipher = connection.get_protocol_version_name(), connection.get_cipher_name()
    try:
        subjects, ends = _chain(connection)
    except (ValueError, TypeError):  # an authority may have signed what nobody can read
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
    """Subjects and ends of the certificates that were shown.

    :raises ValueError: one cannot be read.
    """
    chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    subjects = [quote(each.subject.rfc4514_string().encode()) for each in chain]
    return subjects, [each.not_valid_after_utc for each in chain]


@probe("proxy", order=130, summary="the server sees our address (needs {peer} in its prefix)")
async def proxy(path: Path) -> Finding:
    """The server sees our own address."""
    line = await path.open()
    template, ours = path.settings.prefix, line.client.local
    if not _is_tcp(line.client):
        raise Skipped("this transport has no addresses that a header could name")
    if template is None or not any(getattr(part, "name", "") == "peer" for part in template.parts):
        if ours.encode() in line.prefix:
            return Finding(f"the server sees us as we are: {ours}")
        raise Skipped("needs a server whose prefix has {peer}, and the same --prefix here")
    found = prefix_pattern(template).match_whole(line.prefix)
    seen = found.values()["peer"] if found else "?"
    if seen != ours:
        raise Failed(
            f"the server sees {seen}, and we are {ours}",
            "something between speaks in its own name: it sends no PROXY header, or the"
            " server does not take it; or addresses are translated (NAT)",
            facts={"seen": seen, "local": ours},
        )
    return Finding(f"the server sees us as we are: {ours}", facts={"seen": seen})
