"""Probes of who is at the other end, and how far away: addresses, prefix, TLS, PROXY."""

from __future__ import annotations

import re
import socket
from collections import Counter
from datetime import datetime, timezone
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, cast

from OpenSSL import SSL
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThreadPool

from echosvc.answer import prefix_pattern
from echosvc.listeners import error_name
from echosvc.probe.findings import Failed, Finding, Skipped, counted, duration, shown
from echosvc.probe.line import Line, framed
from echosvc.probe.path import Path
from echosvc.probe.payload import Text
from echosvc.proxying import ProxyingEndpoint

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

#: Round trips that are measured, and bytes of each.
TRIPS = 200
PING = 64
#: Decimal numbers that stand alone: they count something. ``web1`` is a name.
_COUNTERS = re.compile(r"(?<![\w.-])\d+(?![\w.-])")
_LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789"


async def connect(path: Path) -> Finding:
    """A connection can be made; to which addresses, and in what time."""
    began = monotonic()
    line = await path.connect()
    took = monotonic() - began
    path.encrypted = hasattr(line.client.transport, "tls_version")
    tried = await _addresses(path)
    with_tls = ", TLS handshake included" if path.encrypted else ""
    text = f"to {line.client.remote} in {duration(took)}{with_tls}"
    failed = [
        f"{each['address']} does not answer ({each['error']})" for each in tried if each["error"]
    ]
    if failed:
        text += f"; but {', '.join(failed)}"
    facts = {"remote": line.client.remote, "local": line.client.local, "addresses": tried}
    return Finding(text, facts={**facts, "connect_seconds": round(took, 6)})


async def _addresses(path: Path) -> list[dict[str, Any]]:
    """Connect to each address of the name, one after the other.

    Not where TLS or a PROXY header is expected: there a bare connection is an error.
    """
    if path.encrypted or isinstance(path.target.endpoint, ProxyingEndpoint):
        return []
    host, colon, port = path.target.name.rpartition(":")
    if not colon or not port.isdecimal():
        return []
    try:
        found = await deferToThreadPool(
            path.reactor, path.reactor.getThreadPool(),
            socket.getaddrinfo, host.strip("[]"), int(port), type=socket.SOCK_STREAM,
        )  # fmt: skip
    except (OSError, UnicodeError):
        return []
    return [await _address(path, entry[0], entry[4]) for entry in found]


async def _address(path: Path, family: int, address: Any) -> dict[str, Any]:
    name = f"[{address[0]}]" if family == socket.AF_INET6 else address[0]
    endpoint = HostnameEndpoint(path.reactor, address[0], address[1], path.settings.timeout)
    began, error = monotonic(), ""
    try:
        protocol = await endpoint.connect(Factory.forProtocol(Protocol))
        cast(ITransport, cast(Protocol, protocol).transport).loseConnection()
    except CancelledError:
        raise
    except Exception as failure:
        error = error_name(failure)
    seconds = round(monotonic() - began, 6)
    kind = "IPv6" if family == socket.AF_INET6 else "IPv4"
    return {"address": name, "family": kind, "seconds": seconds, "error": error}


async def echo(path: Path) -> Finding:
    """The server answers, with which prefix."""
    line = await path.open()
    prefix = f"prefix {shown(line.prefix)}" if line.prefix else "no prefix"
    greeting = f", greeting {shown(path.greeting)}" if path.greeting else ""
    letters = bytes(byte for byte in _LETTERS if byte not in line.mark.first)
    payload = Text(letters * 20 + b"\n" * (path.settings.framing == "line"))
    await line.nothing_more(await line.exchange(payload))
    facts = {"prefix": shown(line.prefix)[1:-1], "greeting": shown(path.greeting)[1:-1]}
    return Finding(f"what is sent comes back, {prefix}{greeting}", facts=facts)


async def identity(path: Path) -> Finding:
    """Who answers, over several connections."""
    lines = await path.open_many(path.settings.connections)
    if not any(line.prefix for line in lines):
        raise Skipped("the server has no prefix that would say who it is")
    names = Counter(_name(path, line) for line in lines)
    told = {shown(name.encode("utf-8", "surrogateescape")): names[name] for name in sorted(names)}
    listed = ", ".join(f"{name} {count}" for name, count in told.items())
    on = counted(len(lines), "connection")
    text = f"{counted(len(names), 'server')} on {on}: {listed}"
    facts = {"servers": {name[1:-1]: count for name, count in told.items()}}
    return Finding(text, info=True, facts=facts)


def _name(path: Path, line: Line) -> str:
    prefix = line.prefix.decode("utf-8", "surrogateescape")
    if path.settings.identity is None:
        return _COUNTERS.sub("", prefix)
    found = re.search(path.settings.identity, prefix)
    if found is None:
        raise Failed(
            f"the prefix {shown(line.prefix)} does not match {path.settings.identity!r}",
            "another server answers, or --identity is wrong",
        )
    return (found[1] if found.re.groups else found[0]) or ""


async def round_trip(path: Path) -> Finding:
    """How long a message and its answer take."""
    try:
        import hdrh.histogram  # noqa: F401 - of the extra "probe"
    except ImportError:
        raise Skipped("needs HdrHistogram: pip install 'echosvc[probe]'") from None
    straight = await _trips(path, nagle=False)
    split = await _trips(path, nagle=True)
    text = f"median {_at(straight, 50)}, 99 % within {_at(straight, 99)}"
    text += f"; with Nagle's algorithm, in two writes: {_at(split, 50)}, {_at(split, 99)}"
    facts = {"nodelay": _percentiles(straight), "nagle_two_writes": _percentiles(split)}
    return Finding(text, info=True, facts=facts)


async def _trips(path: Path, nagle: bool) -> HdrHistogram:
    """Measure round trips, microseconds; with Nagle's algorithm, of two writes each."""
    from hdrh.histogram import HdrHistogram

    times = HdrHistogram(1, 3_600_000_000, 3)
    line = await path.open(nagle)
    began = monotonic()
    for _ in range(TRIPS):
        payload = path.payload(PING, line)
        verifier, start = line.verifier(payload), perf_counter()
        data = framed(path.settings.framing, payload.at(0, PING))
        for half in (data[: PING // 2], data[PING // 2 :]) if nagle else (data,):
            line.client.write(half).addErrback(lambda _: None)
        await line.verify(verifier)
        times.record_value(max(1, round(1e6 * (perf_counter() - start))))
        if monotonic() - began > path.settings.timeout / 5:
            break
    return times


def _at(times: HdrHistogram, percentile: float) -> str:
    return duration(times.get_value_at_percentile(percentile) / 1e6)


def _percentiles(times: HdrHistogram) -> dict[str, float]:
    names = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    values = {f"{name}_us": times.get_value_at_percentile(at) for name, at in names.items()}
    return {"trips": times.get_total_count(), **values}


async def tls(path: Path) -> Finding:
    """TLS's version, cipher, certificates."""
    if not path.encrypted:
        raise Skipped("no TLS: the endpoint is not of the kind tls:")
    line = await path.connect()
    connection: SSL.Connection = line.client.transport.getHandle()  # type: ignore[attr-defined]
    chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    version, cipher = connection.get_protocol_version_name(), connection.get_cipher_name()
    if not chain:
        return Finding(f"{version}, {cipher}, no certificate", info=True)
    ends = min(certificate.not_valid_after_utc for certificate in chain)
    days = int((ends - datetime.now(timezone.utc)).total_seconds() // 86400)
    names = " < ".join(shown(each.subject.rfc4514_string().encode()) for each in chain)
    facts: dict[str, Any] = {"version": version, "cipher": cipher, "days_left": days}
    facts["chain"] = [shown(each.subject.rfc4514_string().encode())[1:-1] for each in chain]
    if days < 0:
        raise Failed(
            f"{version}, {cipher}: a certificate of {names} ended {-days} days ago", facts=facts
        )
    return Finding(f"{version}, {cipher}, {names}, {days} days left", facts=facts)


async def proxy(path: Path) -> Finding:
    """The server sees our own address."""
    line = await path.open()
    template, ours = path.settings.prefix, line.client.local
    if template is None or not any(getattr(part, "name", "") == "peer" for part in template.parts):
        if ours.encode() in line.prefix:
            return Finding(f"the server sees us as we are: {ours}")
        raise Skipped("needs a server whose prefix has {peer}, and the same --prefix here")
    found = prefix_pattern(template).fullmatch(line.prefix)
    seen = found["peer"].decode("ascii") if found else "?"
    if seen != ours:
        raise Failed(
            f"the server sees {seen}, and we are {ours}",
            "something between speaks in its own name: it sends no PROXY header, or the"
            " server does not take it; or addresses are translated (NAT)",
            facts={"seen": seen, "local": ours},
        )
    return Finding(f"the server sees us as we are: {ours}", facts={"seen": seen})
