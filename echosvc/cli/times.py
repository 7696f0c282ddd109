"""Times on the command lines of the clients, read for ``argparse``: one grammar for all of them."""

from __future__ import annotations

import argparse
import math

from echosvc._text import read_microseconds

#: The longest time, seconds: thirty days.
LONGEST = 30 * 86400.0
#: What the help of a command says about TIME.
HELP = "TIME is in seconds, or has a unit: 500us, 200ms, 1.5s, 10m, 8h."


def time_span(text: str) -> float:
    """Read a time from 0 on, in seconds or with a unit: ``us``, ``ms``, ``s``, ``m`` or ``h``."""
    found = read_microseconds(text, unit="s")
    seconds = math.inf if found is None else found / 1e6
    if seconds > LONGEST:
        expected = "a time such as 30, 1.5s, 500ms, 10m or 2h, at most 30 days"
        raise argparse.ArgumentTypeError(f"must be {expected}, not {text!r}")
    return seconds


def positive_time_span(text: str) -> float:
    """Read a :func:`time_span` above 0."""
    seconds = time_span(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text!r}")
    return seconds


def list_of_time_spans(text: str) -> tuple[float, ...]:
    """Read :func:`positive_time_span`, separated by commas."""
    return tuple(positive_time_span(part) for part in text.split(","))
