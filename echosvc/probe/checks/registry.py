"""The table of probes.

Each module of this package registers its probes with :func:`probe` when it is imported;
:func:`load_probes` imports them all. So a new probe is a new module, and no list names it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar

from echosvc.probe import checks
from echosvc.probe.engine.findings import Finding
from echosvc.probe.engine.path import Path
from echosvc.probe.settings import CheckSettings

Run = Callable[[Path], Awaitable[Finding]]
_Run = TypeVar("_Run", bound=Run)


@dataclass(frozen=True)
class Probe:
    """One question about a path.

    :ivar name: as ``--only`` and the results have it.
    :ivar order: probes run in ascending order.
    :ivar summary: what it checks, one line of the help.
    :ivar run: asks the question. It raises ``Failed`` or ``Skipped``, or returns a ``Finding``.
    :ivar min_duration: seconds that it needs in any case; its time limit is longer by these.
    :ivar duration: seconds that it takes at most on a fast path where nothing is wrong.
    :ivar enabled: whether the settings ask for it, where they do not name it.
    :ivar beside: asks the question beside other probes, on a few connections that mostly wait;
        ``None``: that is not possible. Nothing is found there but that all is well.
    :ivar subjects: causes that are the probe's own subject: it fails under its own name.
    :ivar needs: names of earlier probes that are run before it, asked for or not: they find out
        soon what would make it wait for a time-out.
    :ivar requirement: why all later probes are skipped if this one fails; "": they are not.
    """

    name: str
    order: int
    summary: str
    run: Run
    min_duration: Callable[[CheckSettings], float]
    duration: Callable[[CheckSettings], float]
    enabled: Callable[[CheckSettings], object]
    requirement: str
    beside: Run | None = None
    subjects: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


_registered: dict[str, Probe] = {}


def probe(
    name: str,
    *,
    order: int,
    summary: str,
    min_duration: Callable[[CheckSettings], float] = lambda _: 0.0,
    duration: Callable[[CheckSettings], float] = lambda _: 0.0,
    enabled: Callable[[CheckSettings], object] = lambda _: True,
    requirement: str = "",
    beside: Run | None = None,
    subjects: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
) -> Callable[[_Run], _Run]:
    """Register the decorated function as a probe; see :class:`Probe` for the parameters.

    :raises ValueError: another probe has this name or this order.
    """

    def register(run: _Run) -> _Run:
        if any(name == each.name or order == each.order for each in _registered.values()):
            raise ValueError(f"the name {name!r} or the order {order} is taken by another probe")
        times = min_duration, duration
        _registered[name] = Probe(
            name, order, summary, run, *times, enabled, requirement, beside, subjects, needs
        )
        return run

    return register


def load_probes() -> tuple[Probe, ...]:
    """Import all modules of this package; return the probes in their order."""
    for module in pkgutil.iter_modules(checks.__path__):
        import_module(f"{checks.__name__}.{module.name}")
    return tuple(sorted(_registered.values(), key=lambda each: each.order))
