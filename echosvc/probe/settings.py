"""The settings of a check."""

from __future__ import annotations

import re
from dataclasses import dataclass

from echosvc.wire.template import Template

MIB = 1024 * 1024
#: The framings that a check can send, the default one first.
FRAMINGS = ("chunk", "line", "length")


@dataclass(frozen=True)
class CheckSettings:
    """What is asked of a path.

    :ivar prefix: the server's; ``None``: it is detected.
    :ivar framing: the server's.
    :ivar only: names of the probes to run; none: all.
    :ivar skip: names of probes not to run.
    :ivar idle: idle times that a connection must survive, seconds.
    :ivar find_idle: longest idle time-out that is searched for, seconds; 0: no search.
    :ivar lifetime: highest age that a busy connection is watched for, seconds; 0: it is not.
    :ivar connections: how many are opened at once.
    :ivar pace: how many are opened a second at most; 0: as many as the probes need.
    :ivar timeout: seconds without any progress after which a probe has failed.
    :ivar max_size: size of the longest stream, bytes.
    :ivar identity: a regular expression that finds the server's name in its prefix.
    """

    prefix: Template | None = None
    framing: str = FRAMINGS[0]
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    idle: tuple[float, ...] = (1.0, 5.0)
    find_idle: float = 0.0
    lifetime: float = 0.0
    connections: int = 10
    pace: float = 0.0
    timeout: float = 10.0
    max_size: int = 64 * MIB
    identity: str | None = None


def find_pattern_error(pattern: str) -> str | None:
    """Return what is wrong with a regular expression; ``None`` = nothing."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        at = getattr(error, "pos", None)
        where = "" if at is None else f" (at character {at + 1})"
        return f"{pattern!r} is no regular expression{where}"
    return None
