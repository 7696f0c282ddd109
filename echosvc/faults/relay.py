"""A relay that injects faults: it accepts connections, and relays each to a server.

It passes bytes, FINs and resets as they are, but for its faults, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from echosvc.faults.listener import FaultyListener
from echosvc.faults.observer import RelayObserver
from echosvc.faults.pair import RelayPair
from echosvc.faults.plan import FaultPlan, named
from echosvc.faults.spec import Faults
from echosvc.net.connector import TCPConnector
from echosvc.net.hosts import join_host_port

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
    :ivar plan: its faults by name.
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
        self.plan = FaultPlan(faults, seed, reactor.seconds())
        self._observer = observer or RelayObserver()
        self.plan.observer = self._observer.happened
        self._targets = [self._endpoint(each) for each in targets]
        self._pairs: set[RelayPair] = set()
        self._ports: list[Any] = []
        self._listeners: list[FaultyListener] = []
        self.port = 0

    def _endpoint(self, target: Target) -> IStreamClientEndpoint:
        if isinstance(target, tuple):
            return TCPConnector(self.reactor, *target, _CONNECT_TIMEOUT)
        return target

    @property
    def faults(self) -> Faults:
        """The faults of connections that are accepted from now on. Open ones keep theirs."""
        return tuple(self.plan.faults.values())

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.plan.replace(named(faults), self.reactor.seconds(), only_new=True)
        self._update_listeners()

    def change(self, faults: Faults) -> None:
        """Set the faults of all connections, the open ones included, at once.

        What a fault that is gone has held back is passed on.
        """
        self.plan.replace(named(faults), self.reactor.seconds())
        for pair in tuple(self._pairs):
            pair.pump()
        self._update_listeners()

    def _update_listeners(self) -> None:
        for listener in self._listeners:
            listener.update()

    def buildProtocol(self, addr: Any) -> Protocol | None:
        """Return the protocol of a client, with a server chosen; ``None``: it is our own."""
        if any(each.take_own(*_client(addr)) for each in self._listeners):
            return None
        host, port = _client(addr)
        faults = self.plan.accept(host, self.reactor.seconds())
        self._observer.accepted(faults.number, join_host_port(host, port) if host else "")
        target = self._targets[(faults.number - 1) % len(self._targets)]
        pair = RelayPair(self.reactor, target, faults, self._observer, self._ended)
        self._pairs.add(pair)
        return pair.client

    def _ended(self, pair: RelayPair) -> None:
        if pair in self._pairs:
            self._observer.ended(pair.faults.number)
        self._pairs.discard(pair)
        self.plan.end(pair.faults)

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
        self._listeners.append(FaultyListener(self.reactor, self.plan, port))
        return port

    def stop(self) -> Deferred[None]:
        """Stop listening, and reset every connection."""
        for listener in self._listeners:
            listener.stop()
        stopped = [maybeDeferred(port.stopListening) for port in self._ports]
        for pair in tuple(self._pairs):
            pair.abort()
        everything: Deferred[Any] = gatherResults(stopped)
        return everything.addCallback(lambda _: None)


def _client(addr: object) -> tuple[str, int]:
    """Return the address and the port of a client; without them, "" and 0."""
    return str(getattr(addr, "host", "")), int(getattr(addr, "port", 0))
