"""When this process itself stood still: it was stopped, got no processor, or computed. No clock."""

from __future__ import annotations

import math

#: A look that comes so many seconds later than planned is a pause.
LIMIT = 0.5


class Pauses:
    """Notes how late the looks of a run came: meanwhile it read nothing, and accuses nobody."""

    def __init__(self) -> None:
        self._planned = math.inf
        self._found: list[tuple[float, float]] = []

    def look(self, now: float, planned: float) -> None:
        """Note that the process runs now.

        :param planned: when it looks next.
        """
        if now - self._planned > LIMIT:
            self._found.append((self._planned, now))
        self._planned = planned

    def since(self, when: float, now: float) -> float:
        """Return for how many seconds it stood still between two times."""
        found = self._found
        if now - self._planned > LIMIT:
            found = [*found, (self._planned, now)]
        return sum(max(0.0, ended - max(began, when)) for began, ended in found)

    @property
    def seconds(self) -> float:
        """For how many seconds it stood still in all."""
        return sum(ended - began for began, ended in self._found)
