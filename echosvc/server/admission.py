"""Which clients are served: limits of networks, of connections in all and for one peer."""

from __future__ import annotations

import math
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.interfaces import IAddress

from echosvc.config.networks import Networks
from echosvc.config.schema import DEFAULT_MAX_CONNECTIONS, Config
from echosvc.connection.connection import Connection
from echosvc.server.events import EventLog

#: Descriptors that are not for connections: listeners, the log, the reactor's own.
RESERVED_FDS = 64
#: macOS' OPEN_MAX: what a process may have where it may not have its hard limit (setrlimit(2)).
_OPEN_MAX = 10_240
#: How an IPv4 address begins as an IPv6 one (RFC 4291, 2.5.5.2).
_MAPPED = bytes(10) + b"\xff\xff"


def raise_descriptor_limit(most: int | None = None) -> None:
    """Raise this process's limit of descriptors as far as it may; to ``most`` at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = (hard, max(soft, _OPEN_MAX))
    if most is not None:
        limits = (min(most, hard) if hard >= 0 else most,) * 2
    for limit in limits:
        # No system allows any number, and macOS allows less than its hard limit.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            return


def max_connections_for_fds() -> int:
    """Return how many connections the limit of descriptors allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft - RESERVED_FDS)


def default_max_connections() -> int:
    """Return the same, at most :data:`~echosvc.config.schema.DEFAULT_MAX_CONNECTIONS`."""
    return min(max_connections_for_fds(), DEFAULT_MAX_CONNECTIONS)


class Admission:
    """Decides which clients a server serves.

    :ivar open: live connections, those that still wait for their PROXY header included.
    :ivar refused: how many clients were refused.
    :ivar waits: at the limit, new connections wait in the kernel's queue.
    :ivar limit: of connections in all; 0 = none.
    """

    def __init__(self, config: Config, events: EventLog) -> None:
        limit = config.max_connections
        self.limit = default_max_connections() if limit is None else limit
        if self.limit > (possible := max_connections_for_fds()):
            events.fd_limit_too_low(self.limit, possible)
        self.waits = config.over_limit == "wait"
        self.open = self.refused = 0
        self._events = events
        self._allow, self._deny = Networks(config.allow), Networks(config.deny)
        self._proxies = Networks(config.proxy_from)
        self._per_peer, self._peers = config.max_per_peer, PerPeerCounter(config.max_per_peer)
        self._waiters: list[Callable[[], None]] = []
        self._unrestricted = not (self._allow or self._deny or self._per_peer)

    @property
    def available(self) -> float:
        """How many connections more may be open; ``math.inf``: any number."""
        return max(0, self.limit - self.open) if self.limit else math.inf

    @property
    def full(self) -> bool:
        """Whether no connection more may be open."""
        return 0 < self.limit <= self.open

    def admits(self, address: IAddress | None) -> bool:
        """Return whether this client is served; if not, that is counted and logged."""
        if self._unrestricted and not self.full:
            return True
        why = self._refusal(getattr(address, "host", None))
        return not why or self.refuse(address, why)

    def admits_proxy(self, address: IAddress | None) -> bool:
        """Return whether this is a proxy whose header is believed; if not, as :meth:`admits`."""
        host = getattr(address, "host", None)
        if self.full:
            return self.refuse(address, self._over_limit())
        if host is None or host in self._proxies:
            return True
        return self.refuse(address, "it is not one of the proxies")

    def _refusal(self, host: str | None) -> str:
        """Return why a client is refused; empty: it is not."""
        if self.full:
            return self._over_limit()
        if host is None:  # a UNIX peer: its path's permissions have decided
            return ""
        if self._deny and host in self._deny:
            return "its network is denied"
        if self._allow and host not in self._allow:
            return "its network is not allowed"
        if not self._peers.allows(host):
            return f"over the limit of {self._per_peer} for one peer"
        return ""

    def _over_limit(self) -> str:
        return f"over the limit of {self.limit} connections"

    def refuse(self, address: IAddress | None, why: str) -> bool:
        """Count and log one that is refused; return ``False``."""
        self.refused += 1
        self._events.refused(address, why)
        return False

    def opened(self, connection: Connection) -> None:
        """Count a connection."""
        self.open += 1
        if self._per_peer and (host := getattr(connection.remote_address, "host", None)):
            self._peers.add(host)

    def closed(self, connection: Connection) -> None:
        """Count it no more; notify those that wait for a slot."""
        self.open -= 1
        if self._per_peer and (host := getattr(connection.remote_address, "host", None)):
            self._peers.remove(host)
        if self._waiters:
            self.notify_waiters()

    def notify_waiters(self) -> None:
        """Call those that wait, if a connection more may be open."""
        if self._waiters and not self.full:
            waiters, self._waiters = self._waiters, []
            for call in waiters:
                call()

    def wait_for_slot(self, call: Callable[[], None]) -> None:
        """Call ``call`` once a connection more may be open."""
        if not self._waiters:
            self._events.at_limit(self.limit)
        self._waiters.append(call)

    def cancel_wait(self, call: Callable[[], None]) -> None:
        """Do not call it."""
        if call in self._waiters:
            self._waiters.remove(call)


class PerPeerCounter:
    """Counts the live connections of each peer: an IPv4 address, or an IPv6 /64.

    A host on IPv6 has a whole /64 to choose addresses from (RFC 4291, 2.5.1).

    :param limit: at most so many each; 0 = any number, and nothing is counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: dict[str | bytes, int] = {}

    def allows(self, host: str) -> bool:
        """Return whether the peer may have one more."""
        return not self._limit or self._counts.get(_peer(host), 0) < self._limit

    def add(self, host: str) -> None:
        """Count one more."""
        if self._limit:
            peer = _peer(host)
            self._counts[peer] = self._counts.get(peer, 0) + 1

    def remove(self, host: str) -> None:
        """Count one less."""
        if not self._limit:
            return
        peer = _peer(host)
        left = self._counts[peer] - 1
        if left:
            self._counts[peer] = left
        else:
            del self._counts[peer]

    def __len__(self) -> int:
        """How many peers have connections."""
        return len(self._counts)


def _peer(host: str) -> str | bytes:
    """Return what counts as one peer."""
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    is_mapped = packed[:12] == _MAPPED
    return socket.inet_ntop(socket.AF_INET, packed[12:]) if is_mapped else packed[:8]
