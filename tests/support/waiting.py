"""Waiting for what has no event, never longer than a limit."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Bound of every wait, seconds. Generous: machines are slow at times.
LIMIT = 30.0


def wait_until(true: Callable[[], object], limit: float = LIMIT) -> None:
    """Poll for something that has no event to wait for."""
    end = time.monotonic() + limit
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit} s: {true}")
        time.sleep(0.01)


def wait_until_settled(value: Callable[[], object], polls: int = 10) -> None:
    """Wait until ``value`` was the same in so many polls, which are 10 ms apart."""
    seen: list[object] = []

    def has_settled() -> bool:
        seen.append(value())
        return len(seen) >= polls and all(each == seen[-1] for each in seen[-polls:])

    wait_until(has_settled)
