"""How many files and sockets this process may have open."""

from __future__ import annotations

import math
from contextlib import suppress

try:
    import resource
except ImportError:  # not on every system
    resource = None  # type: ignore[assignment]


def allow_descriptors(count: int) -> float:
    """Raise this process's soft limit to ``count`` descriptors, as far as the hard limit allows.

    :return: how many it may have open now; infinity: any number.
    """
    if resource is None:
        return math.inf
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = count if hard == unlimited else min(count, hard)
    if soft != unlimited and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return math.inf if soft == unlimited else soft
