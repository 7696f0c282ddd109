"""How late this process is with what is due, while something goes on."""

from __future__ import annotations

from types import TracebackType

from twisted.internet.interfaces import IReactorTime

#: How often it is measured, seconds.
_INTERVAL = 0.02


class Lateness:
    """Measures how late the calls of a reactor come while the context lasts.

    A process that gets no processor reads nothing. To the peer this looks like a reader that waits.

    :param clock: the reactor.
    :ivar seconds: for how long the process did nothing, in all.
    :ivar longest: for how long it did nothing at a time, seconds.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.seconds = self.longest = 0.0

    def __enter__(self) -> Lateness:
        self._schedule()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._note()
        self._call.cancel()

    def _schedule(self) -> None:
        self._due = self._clock.seconds() + _INTERVAL
        self._call = self._clock.callLater(_INTERVAL, self._measure)

    def _measure(self) -> None:
        self._note()
        self._schedule()

    def _note(self) -> None:
        late = max(0.0, self._clock.seconds() - self._due)
        self.seconds += late
        self.longest = max(self.longest, late)
