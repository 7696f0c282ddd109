"""The time of a soak in equal slices, of which there is a bounded number. No I/O, no clock."""

from __future__ import annotations

from echosvc.probe.soak.result import Slice

#: So many slices there are at most. When there would be more, each two become one.
MAX_SLICES = 720


class Slices:
    """What happened in each slice of the time since the beginning.

    :ivar seconds: the length of a slice; it doubles when there are too many.
    :ivar slices: up to the last one in which something was noted.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.slices: list[Slice] = []

    def note(self, offset: float, what: Slice) -> None:
        """Note what happened at ``offset`` seconds since the beginning."""
        place = int(max(0.0, offset) / self.seconds)
        while place >= MAX_SLICES:
            self._halve()
            place = int(max(0.0, offset) / self.seconds)
        while len(self.slices) <= place:
            self.slices.append(Slice())
        self.slices[place] = self.slices[place].add(what)

    def _halve(self) -> None:
        pairs = zip(self.slices[::2], [*self.slices[1::2], Slice()], strict=False)
        self.slices = [one.add(other) for one, other in pairs]
        self.seconds *= 2
