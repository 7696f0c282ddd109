"""The faults that are tried: each is a function, known by its name.

A fault is tried in a short form by the tests, and in a long one by
``python -m tests.programs.faults``, which writes ``docs/reliability.md``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field


class Absent(Exception):
    """What a fault needs is not on this machine; says what."""


@dataclass(frozen=True)
class Finding:
    """What came of it.

    :ivar tried: what was done, and how often.
    :ivar lost: what was lost or damaged, of what the service promises; 0 = nothing.
    :ivar figures: what else was measured, in words for a reader: ``"142 MiB"`` by name.
    """

    tried: str
    lost: int
    figures: dict[str, str] = field(default_factory=dict)


#: Takes whether the long form is wanted; raises AssertionError where a promise is broken.
Try = Callable[[bool], Finding]


@dataclass(frozen=True)
class Fault:
    """One kind of trouble.

    :ivar title: what it is, in a few words for a reader.
    :ivar promise: what must hold meanwhile.
    """

    name: str
    title: str
    promise: str
    attempt: Try


FAULTS: dict[str, Fault] = {}


def fault(title: str, promise: str) -> Callable[[Try], Try]:
    """Make a function known under its own name."""

    def enter(attempt: Try) -> Try:
        name = attempt.__name__
        FAULTS[name] = Fault(name, title, promise, attempt)
        return attempt

    return enter


def program(name: str) -> str:
    """The path of a program.

    :raises Absent: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise Absent(f"{name} is not installed")
    return path


def load() -> dict[str, Fault]:
    """All faults, in the order of the document."""
    from tests.programs.faults import crowds, hostile, inputs, programs, soak, system  # noqa: F401 (they enter themselves)

    return FAULTS
