"""A listener that stops to accept, or to listen, for the time of a fault.

``accept=never`` makes the accept queue full. The queue is made as short as possible and filled by
connections of our own. From then on the kernel answers no SYN (Linux), as with a server that
hangs: clients time out. It needs no privilege. ``accept=refuse`` closes the socket, and binds the
same address again afterwards.
"""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from echosvc.faults.engine import ActiveFault
from echosvc.faults.plan import FaultPlan
from echosvc.net.listeners import DEFAULT_BACKLOG, TCPListener, UNIXListener

#: Connections that fill the shortest queue: it holds one, and the second one waits.
_FILLERS = 2
#: Seconds until it is tried again to listen on an address that is taken.
RETRY = 1.0


class FaultyListener:
    """A listening port, and what the faults of a plan make of it.

    :param reactor: the reactor that it runs on.
    :param plan: the faults.
    :param port: the port, which listens.
    """

    def __init__(self, reactor: Any, plan: FaultPlan, port: Any) -> None:
        self._reactor, self._plan, self._port = reactor, plan, port
        self._address, self._family = port.socket.getsockname(), port.socket.family
        self._fault: ActiveFault | None = None
        self._fillers: list[socket.socket] = []
        self._filler_names: set[object] = set()
        self._timer: Any = None
        self._stopped = False
        self._closing: Deferred[Any] | None = None
        self.update()

    def take_own(self, host: str, port: int) -> bool:
        """Return whether the connection that is accepted was made to fill the queue."""
        is_own = (host, port) in self._filler_names
        self._filler_names.discard((host, port))
        return is_own

    def update(self) -> None:
        """Do what the faults ask for now, and arrange the next change."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._stopped or self._closing is not None:
            return
        now = float(self._reactor.seconds())
        fault = self._plan.listener_fault(now)
        change = self._plan.next_policy_change(now)
        if fault is not self._fault and not self._change(fault):
            change = now + RETRY
        if change < math.inf:
            self._timer = self._reactor.callLater(change - now, self.update)

    def _change(self, fault: ActiveFault | None) -> bool:
        """Leave one fault for another one; return whether that was possible."""
        before, policy = _policy(self._fault), _policy(fault)
        if policy != before and not self._leave(before):
            return False
        self._fault = fault
        if fault is not None:
            self._plan.happened_to_listener(fault)
        if policy != before:
            self._enter(policy)
        return True

    def _enter(self, policy: str) -> None:
        if policy == "never":
            self._port.stopReading()
            self._port.socket.listen(0)
            self._fill()
        elif policy == "refuse":
            self._closing = maybeDeferred(self._port.stopListening)
            self._closing.addBoth(self._closed)

    def _closed(self, _: object) -> None:
        """Do what was asked for while the socket was closed."""
        self._closing = None
        self.update()

    def _leave(self, policy: str) -> bool:
        if policy == "refuse":
            return self._listen_again()
        if policy == "never":
            self._close_fillers()
            self._port.socket.listen(DEFAULT_BACKLOG)
            self._port.startReading()
        return True

    def _fill(self) -> None:
        """Fill the accept queue."""
        for _ in range(_FILLERS):
            filler = socket.socket(self._family, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(self._address)
            self._fillers.append(filler)

    def _close_fillers(self) -> None:
        """Close our own connections; those that are in the queue will be accepted yet."""
        for filler in self._fillers:
            with suppress(OSError):
                filler.getpeername()  # fails where it was not connected
                self._filler_names.add(_name(filler))
            filler.close()
        self._fillers = []

    def _listen_again(self) -> bool:
        """Listen on the same address; return whether it is free."""
        listener: TCPListener | UNIXListener
        if self._family == socket.AF_UNIX:
            listener = UNIXListener(self._reactor, self._address)
        else:
            listener = TCPListener(self._reactor, *self._address[:2])
        listening: list[Any] = []
        listener.listen(self._port.factory).addCallbacks(listening.append, lambda _: None)
        self._port = (listening or [self._port])[0]
        return bool(listening)

    def stop(self) -> Deferred[None]:
        """Stop listening."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._close_fillers()
        return self._closing or maybeDeferred(self._port.stopListening)


def _policy(fault: ActiveFault | None) -> str:
    return "" if fault is None else str(fault.spec.values["how"])


def _name(connection: socket.socket) -> object:
    name = connection.getsockname()
    return name[:2] if isinstance(name, tuple) else name
