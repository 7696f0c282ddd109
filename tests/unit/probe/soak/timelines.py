"""A timeline on a clock of the test, whose events are recorded."""

from __future__ import annotations

from typing import TypeVar

from echosvc.probe.soak.connection_record import End
from echosvc.probe.soak.events import Event
from echosvc.probe.soak.result import Gap, Outage
from echosvc.probe.soak.timeline import Timeline

#: The Unix time when the clock said 0.
EPOCH = 1_800_000_000.0
INTERVAL, SILENCE = 0.2, 1.0
Kind = TypeVar("Kind")


class RecordedTimeline(Timeline):
    """A timeline of connections that were opened and answered at 0, by ``v1``."""

    def __init__(self, connections: int, answered: bool = True) -> None:
        self.events: list[Event] = []
        super().__init__(connections, INTERVAL, SILENCE, 0.0, EPOCH, self.events.append)
        for number in range(1, connections + 1) if answered else ():
            self.reopen(number, 0.0, "v1")

    def reopen(self, connection: int, now: float, who: str = "") -> None:
        """A connection is opened and answered at once."""
        self.open(connection, f"here:{connection}{who}", "there:1", who, now)

    def cut(self, connection: int, now: float, how: str = "fin") -> None:
        """A connection ends that owes nothing."""
        self.end(connection, End(how), now)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [each for each in self.events if isinstance(each, kind)]

    @property
    def only_gap(self) -> Gap:
        (gap,) = self.of(Gap)
        return gap

    @property
    def only_outage(self) -> Outage:
        (outage,) = self.of(Outage)
        return outage
