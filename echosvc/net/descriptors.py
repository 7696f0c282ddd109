"""How many files and sockets this process may have open."""

from __future__ import annotations

import math
from contextlib import suppress

try:
    import resource
except ImportError:  # not on every system
    resource = None  # type: ignore[assignment]


#: Descriptors of a process besides those of its connections, at most about.
_OTHERS = 100


def describe_shortage(connections: int) -> str:
    """Return why this process cannot have so many connections, in words; "": it can.

    Its soft limit is raised where that is needed and allowed.
    """
    allowed = allow_descriptors(connections + _OTHERS)
    if allowed >= connections + _OTHERS / 2:
        return ""
    why = f"this process may have {allowed:g} open files (ulimit -n)"
    return f"{connections} are too many: {why}"


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
