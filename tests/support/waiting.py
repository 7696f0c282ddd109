"""Waiting for what has no event, never longer than a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


#: Bound of every wait, seconds. Generous: machines are slow at times.
LIMIT = 30.0


def wait_until(true: Callable[[], object], limit: float = LIMIT) -> None:
    """Poll for something that has no event to wait for."""
    end = time.monotonic() + limit
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit} s: {true}")
        time.sleep(0.01)
