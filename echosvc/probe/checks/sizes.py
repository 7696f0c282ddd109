"""Probe of streams of all sizes."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall

from echosvc._text import format_bytes, format_duration, plural
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.findings import Failed, Finding
from echosvc.probe.engine.path import Path, gather
from echosvc.probe.engine.payload import AnyPayload
from echosvc.probe.engine.plain_stream import ask_again_after_silence
from echosvc.probe.settings import MIB

#: Sizes at which streams are cut: one byte, segments on usual networks (MSS 536, 1220, 1440, 1448,
#: 1460, MTU 1500, jumbo frames), pages, TLS records (16 KiB), reads (64 KiB).
EDGES = (1, 128, 256, 512, 536, 1024, 1220, 1440, 1448, 1460, 1500, 4096, 8192, 9000, 16384, 65536)
LARGE = (MIB, 16 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB)
#: The large streams may take two time-outs, and what the longest one takes at this rate besides,
#: bytes a second. What would take longer is not sent.
_LEAST_RATE = 10e6
#: How long the small streams may take besides, seconds.
_SMALL_SECONDS = 30.0
#: A stream of which nothing came for so long rests, seconds.
_REST = 1.0
#: What later probes send at least where a path is too slow for the large streams, bytes.
_LEAST = 65536
#: Connections at a time for the smaller streams: each takes two round trips.
_PARALLEL = 8


@probe(
    "sizes",
    order=50,
    summary="streams from 1 byte to --max-size come back whole",
    subjects=("volume",),
    needs=("path",),
    min_duration=lambda settings: settings.max_size / _LEAST_RATE + _SMALL_SECONDS,
    duration=lambda settings: settings.max_size / 20e6,
)
async def sizes(path: Path) -> Finding:
    """Check that streams of all sizes come back whole."""
    wanted = wanted_sizes(path.settings.max_size)
    small = [size for size in wanted if size < MIB]
    parallel = path.allowed(min(_PARALLEL, len(small)))
    payloads = await gather([_exchange_sizes(path, small[n::parallel]) for n in range(parallel)])
    large, rate = await _exchange_large(path, wanted[len(small) :])
    sent = wanted[: len(small) + len(large)]
    count, least, most = plural(len(sent), "stream"), sent[0], sent[-1]
    text = f"{count}, {format_bytes(least)} to {format_bytes(most)}: all whole"
    digest = _digest(max(payloads + large, key=lambda payload: payload.size))
    facts: dict[str, Any] = {"sizes": sent, "sha256": digest}
    if len(sent) < len(wanted):
        facts["bytes_per_second"] = round(rate)
        return Finding(f"{text}; {_describe_rest(wanted[len(sent)], rate)}", True, facts)
    return Finding(text, facts=facts)


async def _exchange_large(path: Path, wanted: list[int]) -> tuple[list[AnyPayload], float]:
    """Exchange streams of these sizes, one after the other, as far as the time allows.

    Where it ends before, later probes send no more than what passes within the time-out.

    :return: those that came back, and the rate of the last one, bytes a second.
    """
    rate, end = math.inf, path.reactor.seconds() + _seconds(path)
    done: list[AnyPayload] = []
    for size in wanted:
        began, received = path.reactor.seconds(), path.received
        left = end - began
        payload = await _exchange_within(path, size, left) if size / rate < left else None
        if seconds := path.reactor.seconds() - began:
            rate = (path.received - received) / seconds or rate
        if payload is None:
            carried = size if rate == math.inf else int(rate * path.settings.timeout)
            path.limit_sizes(max(_LEAST, carried))
            break
        done.append(payload)
    return done, rate


def _seconds(path: Path) -> float:
    """Return how long the large streams may take."""
    return 2 * path.settings.timeout + path.settings.max_size / _LEAST_RATE


async def _exchange_within(path: Path, size: int, seconds: float) -> AnyPayload | None:
    """Return a stream that came back within some seconds; ``None``: it takes longer.

    One that rests at that time may have stopped: it is waited for until it goes on, or fails.
    """
    exchange = Deferred.fromCoroutine(_exchange_sizes(path, [size]))
    end, over = path.reactor.seconds() + seconds, False

    def look() -> None:
        nonlocal over
        if path.reactor.seconds() >= end and path.silent_for < _REST:
            over = True
            exchange.cancel()

    watch = LoopingCall(look)
    watch.clock = path.reactor
    watch.start(_REST / 4, now=False).addErrback(lambda _: None)
    try:
        return await exchange
    except CancelledError:
        if not over:
            raise
        path.close()
        return None
    finally:
        watch.stop()


def _describe_rest(size: int, rate: float) -> str:
    """Return why a stream of this size did not come back."""
    return (
        f"{format_bytes(size)} would take {format_duration(size / rate)}, since"
        f" {format_bytes(int(rate))} a second come back: more --timeout, or less --max-size"
    )


def wanted_sizes(longest: int) -> list[int]:
    """Return the sizes of the streams, in ascending order; the last one is ``longest``."""
    edges = [size for edge in EDGES for size in (edge - 1, edge, edge + 1)]
    return sorted({longest, *(size for size in (*edges, *LARGE) if 0 < size < longest)})


async def _exchange_sizes(path: Path, wanted: list[int]) -> AnyPayload:
    """Exchange streams of these sizes, each over its own connection; return the last one.

    Where only so many may be opened a second, one connection carries them all.
    """
    connection: ProbeConnection | None = None
    for size in wanted:
        if connection is None or not path.pace:
            connection = await (path.open_small() if size < MIB else path.open())
        payload = path.payload(size, connection)
        try:
            await connection.expect_no_more(await connection.exchange(payload), 0.0)
        except Failed as failed:
            failed.finding = f"{format_bytes(size)}: {failed.finding}"
            failed.facts["size"] = size
            ask_again_after_silence(path, failed, size)
            raise
        if not path.pace or size == wanted[-1]:
            connection.close()
    return payload


def _digest(payload: AnyPayload) -> str:
    """Return the SHA-256 of a stream that came back as it was sent."""
    digest = hashlib.sha256()
    for offset in range(0, payload.size, MIB):
        digest.update(payload.at(offset, MIB))
    return digest.hexdigest()
