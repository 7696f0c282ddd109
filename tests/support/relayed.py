"""A relay between plain sockets: both ends of a connection are the test's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from echosvc.faults.relay import Relay
from echosvc.faults.spec import Faults
from echosvc.net.reactor_thread import ReactorThread
from tests.support.sockets import connect
from tests.support.waiting import LIMIT, wait_until


class Relayed:
    """A relay in a thread, and the listener of its server.

    :ivar relay: the relay; used through :meth:`call` only.
    :ivar port: where clients connect.
    """

    def __init__(self, stack: ExitStack, faults: Faults, **options: Any) -> None:
        self._stack = stack
        self._thread = ReactorThread("relay")
        stack.callback(self._thread.stop)
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._listener.settimeout(LIMIT)
        self.call = self._thread.call
        self.relay: Relay = self.call(self._make, faults, options)
        self.port: int = self.call(self.relay.listen)
        stack.callback(self.call, self.relay.stop)

    def _make(self, faults: Faults, options: dict[str, Any]) -> Relay:
        targets = [self._listener.getsockname()]
        return Relay(self._thread.reactor, targets, faults, **options)

    def connect(self) -> socket.socket:
        """A client alone."""
        return self._stack.enter_context(connect(("127.0.0.1", self.port)))

    def accept(self) -> socket.socket:
        """The server's end of the next connection."""
        server, _ = self._listener.accept()
        server.settimeout(LIMIT)
        return self._stack.enter_context(server)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client, and the server's end of its connection."""
        return self.connect(), self.accept()

    def refuse(self) -> None:
        """Have the server refuse connections."""
        self._listener.close()

    def happened(self, kind: str, times: int = 1) -> None:
        """Wait until a fault has happened so often."""
        wait_until(lambda: self.counts()[kind] >= times)

    def counts(self) -> Any:
        return self.call(lambda: self.relay.plan.counts.copy())

    def open_connections(self) -> int:
        return int(self.call(lambda: self.relay.plan.connections))


@contextmanager
def relayed(faults: Faults = None, **options: Any) -> Iterator[Relayed]:
    """A relay with these faults; at the end everything is closed."""
    with ExitStack() as stack:
        yield Relayed(stack, faults, **options)
