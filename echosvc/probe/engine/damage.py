"""Faults of streams that were reported, to recognise them where they make other probes fail."""

from __future__ import annotations

from dataclasses import dataclass

from echosvc.probe.engine.fault import Fault, FaultKind

#: By how much two places, or lengths, of one fault differ at most: the first of its bytes may be
#: right by chance.
_CHANCE = 16
#: A stream that was cut after fewer bytes than these may have been cut there for any reason.
_MIN_CUT = 1024


@dataclass(frozen=True)
class Damage:
    """A fault of a stream that was reported.

    :ivar name: of the result that reports it.
    :ivar end: how the connection ended, as :class:`~echosvc.probe.engine.findings.Failed` says it.
    :ivar stall: where it stopped, as the kernel knows it; "": it does not.
    """

    name: str
    fault: Fault
    end: str = ""
    stall: str = ""

    def is_alike(self, fault: Fault, end: str) -> bool:
        """Return whether another fault is of the same kind, wherever it is."""
        cut = fault.kind is FaultKind.CUT
        return fault.kind is self.fault.kind and (not cut or end == self.end)

    def is_same(self, fault: Fault, end: str) -> bool:
        """Return whether another fault is the same one, on another connection.

        It is of the same kind and length, behind as many bytes of either direction. Payloads
        differ, so nothing but the path, or the server, makes such a fault twice.
        """
        if not self.is_alike(fault, end) or not are_beside(fault, self.fault):
            return False
        if fault.kind is FaultKind.CUT:  # its length is what was left of the stream
            return fault.came >= _MIN_CUT
        return abs(fault.length - self.fault.length) <= _CHANCE


def are_beside(one: Fault, other: Fault) -> bool:
    """Return whether two faults are behind as many bytes of either direction."""
    return min(abs(one.sent - other.sent), abs(one.came - other.came)) <= _CHANCE
