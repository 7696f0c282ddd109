"""The values of the options of ``echosvc load``, read for ``argparse``."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from echosvc.cli import values

if TYPE_CHECKING:
    from echosvc.probe.traffic.sweep import Objective

_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)", re.ASCII)


def size_range(text: str) -> tuple[int, int]:
    """Read a number of bytes, or two with a dash between, as shortest and longest size."""
    low, dash, high = text.partition("-")
    shortest = values.byte_size(low)
    longest = values.byte_size(high) if dash else shortest
    if longest < shortest:
        raise argparse.ArgumentTypeError(f"{text!r}: the second size is smaller than the first")
    return shortest, longest


def whole(least: int, what: str) -> Callable[[str], int]:
    """Return what reads a whole number from ``least`` on."""

    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
        if number < least:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of {what}, {least} or more, not {text!r}"
            )
        return number

    return read


def per_second(what: str) -> Callable[[str], float]:
    """Return what reads a number above 0 of something a second."""

    def read(text: str) -> float:
        number = float(text) if _NUMBER.fullmatch(text) else 0.0
        if not 0 < number < math.inf:
            raise argparse.ArgumentTypeError(
                f"must be a number of {what} a second, such as 0.5 or 5000, not {text!r}"
            )
        return number

    return read


def rate_range(text: str) -> tuple[float, float]:
    """Read ``LOW-HIGH``: two rates."""
    low, _, high = text.partition("-")
    found = [float(each) if _NUMBER.fullmatch(each) else 0.0 for each in (low, high)]
    if not 0 < found[0] <= found[1] < math.inf:
        raise argparse.ArgumentTypeError(f"must be LOW-HIGH, two rates, not {text!r}")
    return found[0], found[1]


def objective(text: str) -> Objective:
    """Read an objective such as ``p99<5ms``."""
    from echosvc.probe.traffic.sweep import Objective

    try:
        return Objective.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def part(text: str) -> float:
    """Read a part of a whole: a number from 0 to 1, or a percentage."""
    number = text.removesuffix("%")
    found = float(number) / (100 if text.endswith("%") else 1) if _NUMBER.fullmatch(number) else 2.0
    if found > 1:
        raise argparse.ArgumentTypeError(f"must be a part such as 0.4 or 40%, not {text!r}")
    return found


def shard(text: str) -> tuple[int, int]:
    """Read ``I/N``: the shard I of N, counted from 1."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"must be I/N, with I from 1 to N, not {text!r}")
    return int(match[1]), int(match[2])


def start_time(text: str) -> float:
    """Read a time: Unix time in seconds, or ISO 8601; without a zone it is UTC."""
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", text))
    except ValueError:
        expected = "a UTC time such as 2026-12-01T08:00:00Z, or Unix time"
        raise argparse.ArgumentTypeError(f"must be {expected}, not {text!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp()
