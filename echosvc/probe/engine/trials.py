"""One question, asked several times over new connections: how often it failed.

Theory of operation. A race shows itself only now and then: 2 of 15 times. So a question is asked
again while that is quick, and a failure says how often it came. What fails each time is asked
:data:`SURE_TIMES` times, and what ends in silence once: each silence takes a time-out. Where each
answer takes long, as many as that are asked at once.

A failure blames what the question is about. So a control, the same without just that, is asked
often enough that it would have failed, too, if both failed equally often.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path, gather

#: How often a question is asked at most.
MAX_TIMES = 15
#: What failed each of so many times is asked no more.
SURE_TIMES = 3
#: A question is asked so many times though it takes long.
_MIN_TIMES = 2
#: Where a first answer takes longer, several are asked at once, seconds.
_SLOW = 0.5
#: A control is asked so many times for each failure that it would have: the odds that it passes
#: each time by chance are 1 : 150.
_CONTROLS = 5

_Result = TypeVar("_Result")
Question = Callable[[ProbeConnection], Awaitable[_Result]]


class Trials(Generic[_Result]):
    """The answers to one question.

    :param path: on which it is asked.
    :param question: asked with a new connection each time; it raises ``Failed``, or returns a
        result.
    :ivar results: of the times that it passed.
    :ivar failures: of the others.
    """

    def __init__(self, path: Path, question: Question[_Result]) -> None:
        self._path, self._question = path, question
        self.results: list[_Result] = []
        self.failures: list[Failed] = []

    @property
    def asked(self) -> int:
        """How often the question was asked."""
        return len(self.results) + len(self.failures)

    @property
    def how_often(self) -> str:
        """How often it failed, in words; "": it was asked only once."""
        return f"{len(self.failures)} of {self.asked} times" if self.asked > 1 else ""

    @property
    def facts(self) -> dict[str, int]:
        """The same for programs."""
        return {"times": self.asked, "failed": len(self.failures)}

    async def ask(self) -> None:
        """Ask once.

        :raises Failed: there is no connection, or it is not answered.
        """
        connection = await self._path.open()
        try:
            self.results.append(await self._question(connection))
        except Failed as failed:
            self.failures.append(failed)
        connection.close()

    async def repeat(self, times: int, seconds: float) -> None:
        """Ask until it was asked ``times``, or ``seconds`` are over, or more would tell nothing.

        :raises Failed: as :meth:`ask`.
        """
        began = monotonic()
        while self.asked < times and not self._is_sure():
            most = min(times, max(SURE_TIMES, self.asked + 1)) - self.asked
            await gather([self.ask() for _ in range(min(most, self._at_once))])
            if self.asked >= min(times, _MIN_TIMES) and monotonic() > began + seconds:
                return

    @property
    def _at_once(self) -> int:
        """How many are asked at once."""
        if self._path.context.history.slowest < _SLOW:
            return 1
        return self._path.allowed(SURE_TIMES)

    def _is_sure(self) -> bool:
        silent = any(failed.end == "silence" for failed in self.failures)
        return silent or (not self.results and len(self.failures) >= SURE_TIMES)

    @property
    def controls(self) -> int:
        """How often a control is to be asked."""
        share = len(self.failures) / self.asked
        return max(SURE_TIMES, math.ceil(_CONTROLS / share)) if share < 1 else SURE_TIMES
