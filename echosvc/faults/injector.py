"""Injects the faults of a plan into the connections of a listener, a relay's or a server's."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IStreamClientEndpoint

from echosvc.faults.listener import FaultyListener
from echosvc.faults.observer import RelayObserver
from echosvc.faults.pair import RelayPair, RelaySide
from echosvc.faults.plan import FaultPlan, named
from echosvc.faults.spec import Faults
from echosvc.net.hosts import join_host_port


class FaultInjector:
    """Makes the connections of clients, each relayed to a target through its faults.

    :param reactor: the reactor that everything runs on.
    :param faults: the first faults.
    :param seed: what all draws depend on.
    :param observer: notified of what happens.
    :ivar plan: the faults by name.
    """

    def __init__(
        self,
        reactor: Any,
        faults: Faults = None,
        seed: object = 0,
        observer: RelayObserver | None = None,
    ) -> None:
        self.reactor = reactor
        self.plan = FaultPlan(faults, seed, reactor.seconds())
        self._observer = observer or RelayObserver()
        self.plan.observer = self._observer.happened
        self._pairs: set[RelayPair] = set()
        self._listeners: list[FaultyListener] = []

    def change(self, faults: Faults, only_new: bool = False) -> None:
        """Set the faults in place of all, at once; see :meth:`apply`."""
        self.plan.replace(named(faults), self.reactor.seconds(), only_new)
        self.apply()

    def apply(self) -> None:
        """Do at once what a change of the plan asks for, on open connections too.

        What a fault that is gone has held back is passed on.
        """
        for pair in tuple(self._pairs):
            pair.pump()
        for listener in self._listeners:
            listener.update()

    def is_own(self, addr: object) -> bool:
        """Return whether a connection that is accepted is one of ours, which nobody serves."""
        return any(each.take_own(*_client(addr)) for each in self._listeners)

    def build(self, addr: IAddress | None, *targets: IStreamClientEndpoint) -> RelaySide:
        """Return the protocol of a client.

        :param addr: the client's address.
        :param targets: the servers, which take turns.
        """
        host, port = _client(addr)
        faults = self.plan.accept(host, self.reactor.seconds())
        self._observer.accepted(faults.number, join_host_port(host, port) if host else "")
        target = targets[(faults.number - 1) % len(targets)]
        pair = RelayPair(self.reactor, target, faults, self._observer, self._ended)
        self._pairs.add(pair)
        return pair.client

    def _ended(self, pair: RelayPair) -> None:
        if pair in self._pairs:
            self._observer.ended(pair.faults.number)
        self._pairs.discard(pair)
        self.plan.end(pair.faults)

    def add_port(self, port: Any) -> None:
        """Let faults of listeners happen to a port.

        :raises FaultSpecError: a fault of the plan is for TCP listeners, and this is none.
        """
        self._listeners.append(FaultyListener(self.reactor, self.plan, port))

    def leave_ports(self) -> None:
        """Let no fault happen to a port any more, before it is closed."""
        for listener in self._listeners:
            listener.stop()
        self._listeners = []

    def abort_all(self) -> None:
        """Reset every connection."""
        for pair in tuple(self._pairs):
            pair.abort()


def _client(addr: object) -> tuple[str, int]:
    """Return the address and the port of a client; without them, "" and 0."""
    return str(getattr(addr, "host", "")), int(getattr(addr, "port", 0))
