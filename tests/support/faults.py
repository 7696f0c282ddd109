"""Faults of every kind, as hypothesis draws them, and a direction that a test drives."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from echosvc.faults import values as kinds
from echosvc.faults.engine import Direction, FaultEvent
from echosvc.faults.kind import DOWN, REQUIRED, UP, FaultKind
from echosvc.faults.plan import FaultPlan
from echosvc.faults.spec import FaultSpec, FaultSpecError
from echosvc.faults.values import ValueKind, Word
from echosvc.faults.vocabulary import KINDS

_NETWORKS = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1")


def values_of(kind: ValueKind) -> st.SearchStrategy[Any]:
    """The valid values of a kind of values."""
    if isinstance(kind, Word):
        return st.sampled_from(kind.words)
    if isinstance(kind, kinds.Time):
        times = st.floats(0, kinds.LONGEST_TIME) | st.sampled_from((0.1, 0.3, 1.5, 60.0, math.inf))
        return times.filter(kind.is_valid)
    if isinstance(kind, kinds.Size):
        return (st.integers(0, 1 << 26) | st.sampled_from((1024, 1 << 20))).filter(kind.is_valid)
    if isinstance(kind, kinds.Share):
        return st.floats(0, 1, exclude_min=True)
    if isinstance(kind, kinds.Data):
        return st.binary(min_size=1, max_size=20)
    assert isinstance(kind, kinds.Peers)
    return st.lists(st.sampled_from(_NETWORKS), min_size=1, max_size=3).map(tuple)


@st.composite
def specs(draw: st.DrawFn, only: tuple[str, ...] = tuple(KINDS)) -> FaultSpec:
    """Any fault of these kinds."""
    kind = KINDS[draw(st.sampled_from(only))]
    found = draw(_given(kind).map(lambda given: made(kind, given)).filter(is_made))
    assert found is not None
    return found


def is_made(spec: FaultSpec | None) -> bool:
    """Whether there is a fault: the values made sense together."""
    return spec is not None


def made(kind: FaultKind, given: dict[str, Any]) -> FaultSpec | None:
    """The fault; ``None``: the values make no sense together."""
    try:
        return FaultSpec(kind.name, **given)
    except FaultSpecError:
        return None


def _given(kind: FaultKind) -> st.SearchStrategy[dict[str, Any]]:
    required = {each.name for each in kind.parameters if each.default is REQUIRED}
    drawn = {each.name: values_of(each.kind) for each in kind.all_parameters}
    return st.fixed_dictionaries(
        {name: value for name, value in drawn.items() if name in required},
        optional={name: value for name, value in drawn.items() if name not in required},
    )


class Wire:
    """A connection without sockets: a test says what comes, and sees what leaves, and when.

    :param faults: its faults.
    :ivar left: for each direction what has left: time, action, bytes.
    """

    def __init__(self, *faults: FaultSpec | str, seed: object = 0, host: str = "192.0.2.1") -> None:
        self.plan = FaultPlan(faults, seed)
        self.events: list[FaultEvent] = []
        self.plan.observer = self.events.append
        self.connection = self.plan.accept(host, 0.0)
        self.now = 0.0
        self.left: dict[str, list[tuple[float, str, bytes]]] = {UP: [], DOWN: []}
        self.timers: list[tuple[float, str]] = []

    def direction(self, name: str) -> Direction:
        return self.connection.up if name == UP else self.connection.down

    def send(self, data: bytes, at: float = 0.0, direction: str = DOWN) -> None:
        """Have bytes come at a time."""
        self.run(at)
        self.connection.received(self.direction(direction), data, at)

    def finish(self, at: float = 0.0, direction: str = DOWN) -> None:
        """Have a FIN come."""
        self.run(at)
        self.connection.ended(self.direction(direction), at)

    def reset(self, at: float = 0.0, direction: str = DOWN) -> None:
        """Have the connection of the sender end by a reset."""
        self.run(at)
        self.connection.broke(self.direction(direction), at)

    def run(self, until: float) -> None:
        """Let everything leave that leaves before a time, or at it."""
        assert until >= self.now
        while (due := self._due()) <= until:
            self.now = max(self.now, due)
            self._leave()
        self.now = until

    def _due(self) -> float:
        dues = self.connection.up.due, self.connection.down.due, self.connection.timer_due
        return min(dues)

    def _leave(self) -> None:
        for name, left in self.left.items():
            while (item := self.direction(name).take(self.now)) is not None:
                left.append((self.now, item.action.value, item.data))
        while (action := self.connection.take_timer(self.now)) is not None:
            self.timers.append((self.now, action.value))

    def bytes(self, direction: str = DOWN) -> bytes:
        """What has left, without its times."""
        return b"".join(data for _, _, data in self.left[direction])

    def ends(self, direction: str = DOWN) -> list[tuple[float, str]]:
        """The ends that have left, and when."""
        return [(time, action) for time, action, data in self.left[direction] if not data]

    def kinds(self) -> list[str]:
        """The kinds of the events so far."""
        return [event.fault.spec.kind.name for event in self.events]
