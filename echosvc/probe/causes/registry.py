"""The table of causes: why a probe fails that has found nothing about its own subject.

Theory of operation. A path that changes 0xff makes every probe fail whose bytes contain it. Such a
cause is reported once, under its own name, and no probe accuses its subject of it. So each failure
is shown to the functions that are registered here. Each one knows one cause; where the failure
may be due to it, the function proves it by an experiment on new connections, and notes in
:class:`~echosvc.probe.engine.knowledge.Knowledge` what the later connections of the check have to
avoid. If they can avoid it, the probe runs again and is judged by its own subject. Otherwise it is
skipped, and its line refers to the cause.

Each module of this package registers its function with :func:`cause` when it is imported. So a
new cause is a new module, and no list names it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred

from echosvc._text import one_line
from echosvc.probe import causes
from echosvc.probe.engine.findings import Failed, Skipped
from echosvc.probe.engine.path import CONNECTION_ERRORS, Path

#: Under which name an error of echosvc itself is reported.
INTERNAL_ERROR = "internal-error"


@dataclass(frozen=True)
class Cause:
    """What made a probe fail.

    :ivar name: under which it is reported: a probe's name, or one of its own.
    :ivar finding: what was found, one line.
    :ivar advice: the likeliest reason of the finding, or "".
    :ivar facts: the same for programs.
    :ivar avoidable: the next connections avoid it: the probe that failed is run again.
    :ivar info: it is neither good nor bad: it is reported, but is no failure.
    :ivar final: nothing can be found out any more: all later probes are skipped.
    :ivar kind: tells causes of one name apart: each is reported once.
    """

    name: str
    finding: str
    advice: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    avoidable: bool = False
    info: bool = False
    final: bool = False
    kind: str = ""


Explain = Callable[[Path, Failed], Awaitable["Cause | None"]]
_Explain = TypeVar("_Explain", bound=Explain)


@dataclass(frozen=True)
class _RegisteredCause:
    """A function that knows a cause, and when it is asked."""

    order: int
    seconds: float
    explain: Explain

    @property
    def name(self) -> str:
        return self.explain.__name__


class CauseTable:
    """The functions that know a cause each."""

    def __init__(self) -> None:
        self._registered: list[_RegisteredCause] = []

    def register(self, *, order: int, seconds: float = 2.0) -> Callable[[_Explain], _Explain]:
        """Register the decorated function as one that knows a cause.

        It is called with the path and the failure of a probe, and returns the cause, or ``None``:
        it is another one. The path has no open connections then.

        :param order: the functions are asked in ascending order; the first cause is taken.
        :param seconds: that its experiment takes at most, in addition to the time-out.
        :raises ValueError: another function has this order.
        """

        def register(explain: _Explain) -> _Explain:
            if any(order == each.order for each in self._registered):
                raise ValueError(f"the order {order} is taken by another cause")
            self._registered.append(_RegisteredCause(order, seconds, explain))
            self._registered.sort(key=lambda each: each.order)
            return explain

        return register

    async def find(self, path: Path, failed: Failed) -> Cause | None:
        """Return the cause of a failure; ``None``: the probe's subject is it.

        An experiment that fails itself, cannot be made, or takes too long, has found nothing. If
        echosvc has an error in one, and no other finds the cause, the error is the cause: nothing
        is known of the path then.
        """
        own: Cause | None = None
        for each in self._registered:
            path.close()
            asking = Deferred.fromCoroutine(_explain(each.explain, path, failed))
            asking.addTimeout(path.settings.timeout + each.seconds, path.reactor)
            try:
                found = await asking
            except (defer.TimeoutError, Failed, Skipped, *CONNECTION_ERRORS):
                continue
            except CancelledError:
                raise
            except Exception as error:
                own = own or internal_error(f"the search for a cause ({each.name})", error)
                continue
            if found is not None:
                return found
        return own


def internal_error(where: str, error: Exception) -> Cause:
    """Return an error of echosvc itself as what keeps a probe from its result.

    :param where: what echosvc was doing.
    """
    words = one_line(f"{type(error).__name__}: {error}")
    return Cause(
        INTERNAL_ERROR,
        f"{where} failed: {words}",
        "a fault of echosvc itself, or of a module that changes it, not of the path",
        facts={"error": type(error).__name__},
        kind=f"{where} {words}",
    )


async def _explain(explain: Explain, path: Path, failed: Failed) -> Cause | None:
    return await explain(path, failed)


#: The causes that are known.
CAUSES = CauseTable()
cause = CAUSES.register


def load_causes() -> CauseTable:
    """Import all modules of this package; return the table of their causes."""
    for module in pkgutil.iter_modules(causes.__path__):
        import_module(f"{causes.__name__}.{module.name}")
    return CAUSES
