"""The own ports of connections, where the settings fix them. No I/O."""

from __future__ import annotations

import random
from collections import deque


class SourcePorts:
    """Ports of a range, each taken by one connection at a time, in random order.

    The system gives one client even ports first (Linux). A balancer that chooses by the port would
    show a part of its servers only.

    :param ports: the first and the last one; ``None``: the system chooses.
    """

    def __init__(self, ports: tuple[int, int] | None) -> None:
        self._any = ports is None
        free = [] if ports is None else list(range(ports[0], ports[1] + 1))
        random.shuffle(free)
        self._free = deque(free)

    @property
    def available(self) -> bool:
        """Whether another connection may be opened."""
        return self._any or bool(self._free)

    def take(self) -> int:
        """Return the port of the next connection; 0: the system chooses."""
        return 0 if self._any else self._free.popleft()

    def put_back(self, port: int) -> None:
        """Note that the connection with this port is gone."""
        if port:
            self._free.append(port)
