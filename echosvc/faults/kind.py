"""A kind of fault: its name, its parameters, and what it makes of a connection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from echosvc.faults.stage import Context, Stage, Timer
from echosvc.faults.values import Count, Peers, Share, Time, ValueKind, Word

#: The direction from the client to the server, the other one, and both.
UP, DOWN, BOTH = "up", "down", "both"


class _Required:
    """Stands for the default of a parameter that has none."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


class Parameter(NamedTuple):
    """A parameter of a kind.

    :ivar name: its name in every form of the language.
    :ivar kind: its values.
    :ivar default: the value where it is not given; :data:`REQUIRED` = it must be given.
    :ivar summary: what it means.
    """

    name: str
    kind: ValueKind
    default: Any
    summary: str


def direction(default: str) -> Parameter:
    """Return the parameter of a kind that concerns one direction, or each by itself."""
    summary = "which direction: what the client sends, what the server sends, or each by itself"
    return Parameter("direction", Word(UP, DOWN, BOTH), default, summary)


#: Whom a fault concerns, and when. Every kind has these parameters. Connections and times are
#: counted from the moment on at which the fault was set.
SCOPE = (
    Parameter("connection", Count(), None, "only the connection with this number, from 1 on"),
    Parameter("first", Count(), None, "only the first so many connections"),
    Parameter("share", Share(), 1.0, "only this share of the connections, drawn by the seed"),
    Parameter("peers", Peers(), (), "only clients of these networks"),
    Parameter("start", Time(), 0.0, "only from this time on"),
    Parameter("stop", Time(positive=True), None, "only until this time"),
)


class Demand(NamedTuple):
    """What a fault demands of the queue of a direction.

    :ivar seconds: how long each byte stays in it.
    :ivar rate: how many bytes a second leave it at most.
    :ivar size: how many bytes it must be able to hold.
    """

    seconds: float = 0.0
    rate: float = math.inf
    size: int = 0


class FaultKind:
    """A kind of fault. A subclass says what it does; each has one instance.

    :cvar name: its name in every form of the language.
    :cvar summary: what it does, in one line.
    :cvar parameters: its own parameters. The first is the main one where :attr:`has_main` is set:
        the text of a fault begins with its value, ``latency=100ms``.
    :cvar harmless: a correct client and a correct server notice nothing but time.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    has_main: ClassVar[bool] = True
    harmless: ClassVar[bool] = False

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """Its own parameters, and those of every kind."""
        return self.parameters + SCOPE

    @property
    def main(self) -> Parameter | None:
        """The main parameter."""
        return self.parameters[0] if self.has_main and self.parameters else None

    def find_error(self, values: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Return what is wrong with values that are each right; "" = nothing."""
        return ""

    def stage(self, context: Context, direction: str) -> Stage | None:  # noqa: ARG002
        """Return what it does to one direction of a connection; ``None`` = nothing."""
        return None

    def timer(self, context: Context) -> Timer | None:  # noqa: ARG002
        """Return what it does to a connection in time; ``None`` = nothing."""
        return None

    def demand(self, context: Context, direction: str) -> Demand:  # noqa: ARG002
        """Return what it demands of the queue of a direction."""
        return Demand()

    def accepts(self, context: Context) -> str:  # noqa: ARG002
        """Return what is done to a connection in place of relaying it; "" = it is relayed."""
        return ""

    def concerns(self, context: Context, direction: str) -> bool:
        """Return whether its parameter ``direction`` includes this one."""
        return context.values["direction"] in (direction, BOTH)
