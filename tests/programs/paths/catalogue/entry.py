"""What an entry of the catalogue is: a path, how it is checked, and what must be found.

The expectations are what is true of the path, as a network engineer states it. They do not follow
what ``echosvc check`` says today.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from tests.programs.paths.catalogue.places import Place, Sides, loopback

#: Starts a program in front of a place; gives where the program is reached.
Hop = Callable[[Sides, Place], AbstractContextManager[Place]]
#: Starts a server; gives where it is reached.
Start = Callable[[Sides], AbstractContextManager[Place]]
#: Makes a network.
Net = Callable[[], AbstractContextManager[Sides]]

#: Without what takes long by its nature.
FAST = ("--skip", "idle,reset", "--max-size", "1M")
#: What every path has to do with bytes.
BASIC = ("connect", "echo", "bytes", "sizes", "order", "text", "back-pressure", "connections")


@dataclass(frozen=True)
class Line:
    """One result that is due.

    :ivar names: of the probe or cause; where several are possible, with ``|`` in between.
    :ivar result: pass, fail, info or skip; where several are right, with ``|`` in between.
    :ivar says: expressions that are found in the finding or in its cause, whatever their case.
    :ivar lacks: one that is found in neither.
    :ivar facts: least and greatest value of figures.
    """

    names: str
    result: str
    says: tuple[str, ...] = ()
    lacks: str = ""
    facts: dict[str, tuple[float, float]] = field(default_factory=dict)


def fails(names: str, *says: str, lacks: str = "") -> Line:
    """Exactly one of these names fails."""
    return Line(names, "fail", says, lacks)


def informs(names: str, *says: str, lacks: str = "", **facts: tuple[float, float]) -> Line:
    """A probe informs."""
    return Line(names, "info", says, lacks, facts)


def passes(*names: str) -> tuple[Line, ...]:
    """Each of these passes."""
    return tuple(Line(name, "pass") for name in names)


#: Everything is carried right.
CLEAN = passes(*BASIC, "half-close")


@dataclass(frozen=True)
class Entry:
    """One path. What is not expected to fail must not fail.

    :ivar title: what the path is, in words.
    :ivar via: programs, from the client to the server.
    :ivar endpoint: what is checked; ``{host}`` and ``{port}`` are those of the first program.
    :ivar options: of the command; ``{ca}`` is a file with the authority of all certificates.
    :ivar command: check, or send with its arguments.
    :ivar expected: the results that are due.
    :ivar somewhere: an expression that one line at least has.
    :ivar nowhere: an expression that no line has.
    :ivar limit: seconds that the command may take on a machine that is busy.
    """

    name: str
    title: str
    server: Start
    via: tuple[Hop, ...] = ()
    network: Net = loopback
    endpoint: str = "tcp:{host}:{port}"
    options: tuple[str, ...] = FAST
    command: tuple[str, ...] = ("check",)
    expected: tuple[Line, ...] = ()
    somewhere: str = ""
    nowhere: str = ""
    limit: float = 60.0

    def also(self, name: str, title: str, **changes: object) -> Entry:
        """The same with changes."""
        return replace(self, name=name, title=title, **changes)  # type: ignore[arg-type]
