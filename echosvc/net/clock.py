"""A reactor's clock. Twisted's is the time of day, which somebody may set."""

from __future__ import annotations

import time
from typing import Any

from twisted.python.runtime import seconds as wall_seconds


def make_monotonic(reactor: Any) -> bool:
    """Give a reactor a clock that nobody can set; tell whether it has one now.

    On the time of day, to set it back stops every timer for as long, and to set it forward
    fires them all. It must be done before anything is scheduled. What takes
    ``reactor.seconds()`` for the time of day, as ``twisted.web``'s log does, is wrong
    then. It is for who owns the process: ``twistd echosvc`` does it.
    """
    if reactor.seconds is wall_seconds and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
    return reactor.seconds is not wall_seconds
