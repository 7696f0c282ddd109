"""The faults that are set, by name: whom they concern, and how they change while in use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random

from echosvc.config.networks import Networks
from echosvc.faults.engine import ActiveFault, ConnectionFaults, FaultEvent
from echosvc.faults.spec import Faults, FaultSpec, FaultSpecError, as_specs


class FaultPlan:
    """The faults of a relay or of a server.

    A change is atomic: it concerns the next connection and all open ones at once.

    :param faults: the first faults.
    :param seed: what all draws depend on: with the same seed they are the same in each run.
    :param now: the time, seconds of the clock.
    :ivar accepted: how many connections there were.
    :ivar counts: how often faults of each kind have happened.
    :ivar observer: called with each event.
    """

    def __init__(self, faults: Faults = None, seed: object = 0, now: float = 0.0) -> None:
        self.seed, self.accepted = seed, 0
        self.counts: Counter[str] = Counter()
        self.observer: Callable[[FaultEvent], None] = lambda _: None
        self._faults: dict[str, ActiveFault] = {}
        self._open: dict[ConnectionFaults, str] = {}
        self._must_accept = False
        self.replace(named(faults), now)

    @property
    def faults(self) -> dict[str, FaultSpec]:
        """The faults by name, in the order in which they are applied."""
        return {name: fault.spec for name, fault in self._faults.items()}

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def replace(self, specs: Mapping[str, FaultSpec], now: float, only_new: bool = False) -> None:
        """Set these faults in place of all. One with the same name and value goes on as it is.

        :param only_new: open connections keep what they have, until the next change without this.
        :raises FaultSpecError: one is for TCP listeners alone, and there is another one.
        """
        if self._must_accept:
            _require_accepting(specs.values())
        old = self._faults
        self._faults = {
            name: old[name]
            if name in old and old[name].spec == spec
            else ActiveFault(name, spec, now, self.accepted)
            for name, spec in specs.items()
        }
        for connection, host in () if only_new else self._open.items():
            self._set_faults(connection, host, now)

    def set(self, name: str, spec: FaultSpec, now: float) -> None:
        """Add a fault, or replace the one of this name."""
        self.replace({**self.faults, name: spec}, now)

    def remove(self, name: str, now: float) -> None:
        """Remove a fault.

        :raises KeyError: there is none of this name.
        """
        rest = self.faults
        del rest[name]
        self.replace(rest, now)

    def accept(self, host: str, now: float) -> ConnectionFaults:
        """Return the faults of a new connection; :meth:`end` must follow.

        :param host: the client's address; "" = it has none.
        """
        self.accepted += 1
        connection = ConnectionFaults(self.accepted, self.seed, self._happened, now)
        self._open[connection] = host
        self._set_faults(connection, host, now)
        connection.accept()
        return connection

    def end(self, connection: ConnectionFaults) -> None:
        """Note that a connection has ended."""
        self._open.pop(connection, None)

    def _happened(self, event: FaultEvent) -> None:
        self.counts[event.fault.spec.kind.name] += 1
        self.observer(event)

    def _set_faults(self, connection: ConnectionFaults, host: str, now: float) -> None:
        chosen = [
            fault
            for fault in self._faults.values()
            if self._concerns(fault, connection.number - fault.base, host)
        ]
        connection.set_faults(chosen, now)

    def _concerns(self, fault: ActiveFault, number: int, host: str) -> bool:
        """Return whether a fault concerns the connection that is so many behind its setting."""
        values = fault.spec.values
        if values["connection"] not in (None, number):
            return False
        if values["first"] is not None and not 0 < number <= values["first"]:
            return False
        if values["peers"] and not (host and host in Networks(values["peers"])):
            return False
        drawn = values["share"] == 1.0 or self._draw(fault, number) < values["share"]
        return bool(drawn)

    def _draw(self, fault: ActiveFault, number: int) -> float:
        return Random(f"{self.seed}/{fault.spec}/{number}").random()  # noqa: S311 (repeatable)

    # -- the listener ---------------------------------------------------------

    def require_accepting(self) -> None:
        """Allow no faults of listeners from now on.

        :raises FaultSpecError: there is one.
        """
        _require_accepting(self.faults.values())
        self._must_accept = True

    def listener_fault(self, now: float) -> ActiveFault | None:
        """Return the fault by which no connection is accepted now; ``None`` = all are."""
        for fault in self._listener_faults():
            if fault.since + fault.spec.values["start"] <= now < _stop(fault):
                return fault
        return None

    def happened_to_listener(self, fault: ActiveFault) -> None:
        """Report such a fault when it begins; its connection has the number 0."""
        self._happened(FaultEvent(fault, 0, "", 0))

    def next_policy_change(self, now: float) -> float:
        """Return when :meth:`listener_fault` may change; ``math.inf`` = never by itself."""
        times = [
            time
            for fault in self._listener_faults()
            for time in (fault.since + fault.spec.values["start"], _stop(fault))
        ]
        return min((each for each in times if each > now), default=math.inf)

    def _listener_faults(self) -> list[ActiveFault]:
        return [fault for fault in self._faults.values() if _is_of_listener(fault.spec)]


def _is_of_listener(spec: FaultSpec) -> bool:
    return spec.values.get("how") in ("never", "refuse")


def _require_accepting(specs: Iterable[FaultSpec]) -> None:
    for spec in filter(_is_of_listener, specs):
        raise FaultSpecError(f"{spec} is for TCP listeners, and a listener is a UNIX socket")


def _stop(fault: ActiveFault) -> float:
    stop = fault.spec.values["stop"]
    return math.inf if stop is None else fault.since + float(stop)


def named(faults: Faults) -> dict[str, FaultSpec]:
    """Return faults with names: the kind, and a number for the second one of a kind."""
    found: dict[str, FaultSpec] = {}
    seen: Counter[str] = Counter()
    for spec in as_specs(faults):
        kind = spec.kind.name
        seen[kind] += 1
        found[kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"] = spec
    return found
