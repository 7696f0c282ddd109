"""A relay that injects faults: it accepts connections, and relays each to a server.

It passes bytes, FINs and resets as they are, but for its faults, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from echosvc.faults.pair import RelayPair
from echosvc.faults.plan import FaultPlan, named
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
    :ivar plan: its faults by name.
    :ivar port: where it listens, once :meth:`listen` was called.
    """

    noisy = False

    def __init__(
        self, reactor: Any, targets: Sequence[Target], faults: Faults = None, seed: object = 0
    ) -> None:
        self.reactor = reactor
        self.plan = FaultPlan(faults, seed, reactor.seconds())
        self._targets = [self._endpoint(each) for each in targets]
        self._pairs: set[RelayPair] = set()
        self._listening: Any = None

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

    def change(self, faults: Faults) -> None:
        """Set the faults of all connections, the open ones included, at once.

        What a fault that is gone has held back is passed on.
        """
        self.plan.replace(named(faults), self.reactor.seconds())
        for pair in tuple(self._pairs):
            pair.pump()

    def buildProtocol(self, addr: Any) -> Protocol:
        """Return the protocol of a client, with a server chosen."""
        host = str(getattr(addr, "host", ""))
        faults = self.plan.accept(host, self.reactor.seconds())
        target = self._targets[(faults.number - 1) % len(self._targets)]
        pair = RelayPair(self.reactor, target, faults, self._ended)
        self._pairs.add(pair)
        return pair.client

    def _ended(self, pair: RelayPair) -> None:
        self._pairs.discard(pair)
        self.plan.end(pair.faults)

    def listen(self) -> int:
        """Listen on a free port of 127.0.0.1; return it."""
        self._listening = self.reactor.listenTCP(0, self, interface="127.0.0.1")
        self.port = int(self._listening.getHost().port)
        return self.port

    def stop(self) -> Deferred[None]:
        """Stop listening, and reset every connection."""
        stopped: Deferred[None] = maybeDeferred(self._listening.stopListening)
        for pair in tuple(self._pairs):
            pair.abort()
        return stopped
