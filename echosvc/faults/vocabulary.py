"""The kinds of faults by their names. A new kind is a class in a module of ``kinds`` and here."""

from __future__ import annotations

from echosvc.faults.kind import FaultKind
from echosvc.faults.kinds import damage, ends, timing


class NoFault(FaultKind):
    """No fault: what a relay does without any."""

    name = "none"
    summary = "no fault"
    harmless = True


_ALL: tuple[FaultKind, ...] = (
    timing.Latency(), timing.Rate(), timing.Stall(), timing.Greeting(), timing.Segments(),
    timing.Buffer(),
    ends.Close(), ends.Reset(), ends.Idle(), ends.Fin(), ends.Rst(), ends.Accept(),
    damage.Drop(), damage.Repeat(), damage.Swap(), damage.Change(), damage.Insert(),
    NoFault(),
)  # fmt: skip

KINDS: dict[str, FaultKind] = {kind.name: kind for kind in _ALL}
