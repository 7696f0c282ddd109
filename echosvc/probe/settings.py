"""What is asked of a path."""

from __future__ import annotations

from dataclasses import dataclass

from echosvc.wire.template import Template

MIB = 1024 * 1024
#: The framings that a check can send, the default one first.
FRAMINGS = ("chunk", "line", "length")


@dataclass(frozen=True)
class Settings:
    """What is asked of a path.

    :ivar prefix: the server's, where it need not be learned.
    :ivar framing: the server's.
    :ivar only: the probes to be made; none = all.
    :ivar skip: those that are not.
    :ivar idle: seconds for which a connection is to survive without a byte.
    :ivar find_idle: search for the path's idle time-out up to so many seconds; 0 = do not.
    :ivar connections: how many at once.
    :ivar timeout: seconds without any progress after which a probe has failed.
    :ivar max_size: of the longest stream, bytes.
    :ivar identity: the part of a prefix that says who answers, a regular expression.
    """

    prefix: Template | None = None
    framing: str = FRAMINGS[0]
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    idle: tuple[float, ...] = (1.0, 5.0, 30.0)
    find_idle: float = 0.0
    connections: int = 10
    timeout: float = 10.0
    max_size: int = 64 * MIB
    identity: str | None = None
