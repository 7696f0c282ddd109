"""A listener that accepts nobody, or refuses, for the time of a fault. TCP on Linux.

``accept=never`` makes the accept queue full. The queue is made as short as possible and filled by
connections of our own. From then on the kernel answers no SYN, as with a server that hangs:
clients time out. It needs no privilege. ``accept=refuse`` shuts the listening socket down, and
listens on it again afterwards. The address stays bound, unless the kernel had chosen its port.
"""

from __future__ import annotations

import errno
import math
import socket
from contextlib import suppress
from typing import Any

from echosvc.faults.engine import ActiveFault
from echosvc.faults.plan import FaultPlan
from echosvc.net.listeners import DEFAULT_BACKLOG

#: Connections that fill the shortest queue: it holds one, and the second one waits.
_FILLERS = 2
#: Seconds until it is tried again to listen on an address that is taken.
RETRY = 1.0


class FaultyListener:
    """A listening port, and what the faults of a plan make of it.

    :param reactor: the reactor that it runs on.
    :param plan: the faults.
    :param port: the port, which listens.
    :raises FaultSpecError: a fault of the plan is for TCP listeners, and this is none.
    """

    def __init__(self, reactor: Any, plan: FaultPlan, port: Any) -> None:
        self._reactor, self._plan, self._port = reactor, plan, port
        self._address = port.socket.getsockname()
        self._fault: ActiveFault | None = None
        self._fillers: list[socket.socket] = []
        self._filler_names: set[object] = set()
        self._timer: Any = None
        if port.socket.family == socket.AF_UNIX:
            plan.require_accepting()
        self.update()

    def take_own(self, host: str, port: int) -> bool:
        """Return whether the connection that is accepted was made to fill the queue."""
        is_own = (host, port) in self._filler_names
        self._filler_names.discard((host, port))
        return is_own

    def update(self) -> None:
        """Do what the faults ask for now, and arrange the next change."""
        self._cancel_timer()
        now = float(self._reactor.seconds())
        fault = self._plan.listener_fault(now)
        change = self._plan.next_policy_change(now)
        if fault is not self._fault and not self._change(fault):
            change = now + RETRY
        if change < math.inf:
            self._timer = self._reactor.callLater(change - now, self.update)

    def stop(self) -> None:
        """Change nothing any more. The port is its owner's to close."""
        self._cancel_timer()
        self._close_fillers()

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

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
        if policy:
            self._port.stopReading()
        if policy == "never":
            self._port.socket.listen(0)
            self._fill()
        elif policy == "refuse":
            self._port.socket.shutdown(socket.SHUT_RDWR)

    def _leave(self, policy: str) -> bool:
        if policy == "refuse" and not self._bind_again():
            return False
        self._close_fillers()
        if policy:
            self._port.socket.listen(DEFAULT_BACKLOG)
            self._port.startReading()
        return True

    def _bind_again(self) -> bool:
        """Bind the same address, unless it is bound; return whether it is ours."""
        try:
            self._port.socket.bind(self._address)
        except OSError as error:
            return error.errno == errno.EINVAL
        return True

    def _fill(self) -> None:
        """Fill the accept queue."""
        for _ in range(_FILLERS):
            filler = socket.socket(self._port.socket.family, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(self._address)
            self._fillers.append(filler)

    def _close_fillers(self) -> None:
        """Close our own connections; those that are in the queue will be accepted yet."""
        for filler in self._fillers:
            with suppress(OSError):
                filler.getpeername()  # fails where it was not connected
                self._filler_names.add(filler.getsockname()[:2])
            filler.close()
        self._fillers = []


def _policy(fault: ActiveFault | None) -> str:
    return "" if fault is None else str(fault.spec.values["how"])
