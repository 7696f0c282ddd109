"""Probe of round-trip times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter

from echosvc._text import format_duration, plural
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import frame_message
from echosvc.probe.engine.findings import Finding
from echosvc.probe.engine.path import Path

#: How many round trips are measured, and the bytes of each.
ROUND_TRIPS = 200
PING_SIZE = 64


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
    return RoundTrips(sorted(times)), connection.client.is_tcp
