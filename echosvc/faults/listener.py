"""A listener that stops to accept, or to listen, for the time of a fault.

``accept=never`` makes the accept queue full. The queue is made as short as possible and filled by
connections of our own. From then on the kernel answers no SYN (Linux), as with a server that
hangs: clients time out. It needs no privilege. ``accept=refuse`` closes the socket, and binds the
same address again afterwards.
"""

from __future__ import annotations

import math
import socket
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from echosvc.faults.plan import FaultPlan
from echosvc.net.listeners import DEFAULT_BACKLOG, TCPListener, UNIXListener

#: Connections that fill the shortest queue: it holds one, and the second one waits.
_FILLERS = 2


class FaultyListener:
    """A listening port, and what the faults of a plan make of it.

    :param reactor: the reactor that it runs on.
    :param plan: the faults.
    :param port: the port, which listens.
    """

    def __init__(self, reactor: Any, plan: FaultPlan, port: Any) -> None:
        self._reactor, self._plan, self._port = reactor, plan, port
        self._address, self._family = port.socket.getsockname(), port.socket.family
        self._policy = ""
        self._fillers: list[socket.socket] = []
        self._filler_names: set[object] = set()
        self._timer: Any = None
        self._stopped = False
        self.update()

    def is_own(self, host: str, port: int) -> bool:
        """Return whether a connection from this address was made to fill the queue."""
        return (host, port) in self._filler_names

    def update(self) -> None:
        """Do what the faults ask for now, and arrange the next change."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._stopped:
            return
        now = float(self._reactor.seconds())
        policy = self._plan.listener_policy(now)
        if policy != self._policy:
            self._leave(self._policy)
            self._policy = policy
            self._enter(policy)
        change = self._plan.next_policy_change(now)
        if change < math.inf:
            self._timer = self._reactor.callLater(change - now, self.update)

    def _enter(self, policy: str) -> None:
        if policy == "never":
            self._port.stopReading()
            self._port.socket.listen(0)
            self._fill()
        elif policy == "refuse":
            self._port.stopListening()

    def _leave(self, policy: str) -> None:
        if policy == "never":
            self._close_fillers()
            self._port.socket.listen(DEFAULT_BACKLOG)
            self._port.startReading()
        elif policy == "refuse":
            self._listen_again()

    def _fill(self) -> None:
        """Fill the accept queue."""
        for _ in range(_FILLERS):
            filler = socket.socket(self._family, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(self._address)
            self._fillers.append(filler)
            name = filler.getsockname()
            self._filler_names.add(name[:2] if isinstance(name, tuple) else name)

    def _close_fillers(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers = []

    def _listen_again(self) -> None:
        """Listen on the same address."""
        listener: TCPListener | UNIXListener
        if self._family == socket.AF_UNIX:
            listener = UNIXListener(self._reactor, self._address)
        else:
            listener = TCPListener(self._reactor, *self._address[:2])
        listener.listen(self._port.factory).addCallback(self._set_port)

    def _set_port(self, port: Any) -> None:
        self._port = port
        if self._stopped:
            port.stopListening()

    def stop(self) -> Deferred[None]:
        """Stop listening."""
        self._stopped = True
        self.update()
        self._close_fillers()
        return maybeDeferred(self._port.stopListening)
