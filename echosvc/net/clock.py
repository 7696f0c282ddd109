"""A reactor's clock. Twisted's is the time of day, which may be set while it runs."""

from __future__ import annotations

import time
from typing import Any

from twisted.python.runtime import seconds as wall_seconds


def use_monotonic_clock(reactor: Any) -> bool:
    """Replace the reactor's clock by ``time.monotonic``; return whether it is replaced.

    With the time of day as clock, setting it back stops every timer for as long, and setting
    it forward fires all timers. The clock is not replaced once a call is scheduled. Code that
    takes ``reactor.seconds()`` for the time of day, as ``twisted.web``'s log does, is wrong
    afterwards: so only the owner of the process should do it, as ``twistd echosvc`` does.
    """
    if reactor.seconds is wall_seconds and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
    return reactor.seconds is not wall_seconds
