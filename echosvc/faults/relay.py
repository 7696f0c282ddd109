"""A relay that injects faults: it accepts connections, and relays each to a server.

It passes bytes, FINs and resets as they are, but for its faults, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from echosvc.faults.injector import FaultInjector
from echosvc.faults.observer import RelayObserver
from echosvc.faults.plan import FaultPlan
from echosvc.faults.spec import Faults
from echosvc.net.connector import TCPConnector

#: Seconds that connecting to a server may take.
_CONNECT_TIMEOUT = 10
#: A server: an endpoint, or host and port.
Target = IStreamClientEndpoint | tuple[str, int]


class Relay(Factory):
    """Accepts connections and relays them to servers, in turn.

    :param reactor: the reactor to run on.
    :param targets: each server: host and port, or an endpoint.
    :param faults: the first faults.
    :param seed: what all draws depend on.
    :param observer: notified of what happens.
    :ivar injector: what makes its connections.
    :ivar port: where it listens, once :meth:`listen` was called.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        targets: Sequence[Target],
        faults: Faults = None,
        seed: object = 0,
        observer: RelayObserver | None = None,
    ) -> None:
        self.reactor = reactor
        self.injector = FaultInjector(reactor, faults, seed, observer)
        self._targets = [self._endpoint(each) for each in targets]
        self._ports: list[Any] = []
        self.port = 0

    def _endpoint(self, target: Target) -> IStreamClientEndpoint:
        if isinstance(target, tuple):
            return TCPConnector(self.reactor, *target, _CONNECT_TIMEOUT)
        return target

    @property
    def plan(self) -> FaultPlan:
        """Its faults by name."""
        return self.injector.plan

    @property
    def faults(self) -> Faults:
        """The faults of connections that are accepted from now on. Open ones keep theirs."""
        return tuple(self.plan.faults.values())

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.injector.change(faults, only_new=True)

    def change(self, faults: Faults) -> None:
        """Set the faults of all connections, the open ones included, at once.

        What a fault that is gone has held back is passed on.
        """
        self.injector.change(faults)

    def buildProtocol(self, addr: Any) -> Protocol | None:
        """Return the protocol of a client, with a server chosen; ``None``: it is our own."""
        injector = self.injector
        return None if injector.is_own(addr) else injector.build(addr, *self._targets)

    def listen(self) -> int:
        """Listen on a free port of 127.0.0.1; return it."""
        port = self.reactor.listenTCP(0, self, interface="127.0.0.1")
        self._add_port(port)
        self.port = int(port.getHost().port)
        return self.port

    def listen_on(self, endpoint: IStreamServerEndpoint) -> Deferred[Any]:
        """Listen on an endpoint, too; return the port, once it does.

        It fails with :class:`~echosvc.faults.spec.FaultSpecError` where a fault is for TCP
        listeners, and this is none.
        """
        return endpoint.listen(self).addCallback(self._add_port)

    def _add_port(self, port: Any) -> Any:
        self._ports.append(port)
        self.injector.add_port(port)
        return port

    def stop(self) -> Deferred[None]:
        """Stop listening, and reset every connection."""
        self.injector.leave_ports()
        stopped = [maybeDeferred(port.stopListening) for port in self._ports]
        self.injector.abort_all()
        everything: Deferred[Any] = gatherResults(stopped)
        return everything.addCallback(lambda _: None)
