"""Who is let in: networks, places in all, places for one peer."""

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
from echosvc.connection.link import Link
from echosvc.server.events import Report

#: Live connections at most, where nothing else is said.
MOST = DEFAULT_MAX_CONNECTIONS
#: Descriptors that are not for connections: listeners, the log, the reactor's own.
RESERVE = 64
#: macOS' OPEN_MAX: what a process may have where it may not have its hard limit (setrlimit(2)).
_ENOUGH = 10_240
#: How an IPv4 address begins as an IPv6 one (RFC 4291, 2.5.5.2).
_MAPPED = bytes(10) + b"\xff\xff"


def raise_descriptor_limit(most: int | None = None) -> None:
    """Let this process have as many descriptors as it may; at ``most`` so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = (hard, max(soft, _ENOUGH))
    if most is not None:
        limits = (min(most, hard) if hard >= 0 else most,) * 2
    for limit in limits:
        # No system lets a process have any number, and macOS less than its hard limit says.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            return


def possible_places() -> int:
    """How many connections the limit of descriptors leaves room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft - RESERVE)


def default_places() -> int:
    """The same, at most :data:`MOST`."""
    return min(possible_places(), MOST)


class Admission:
    """The door of one factory.

    :ivar live: connections inside, those that still wait for their PROXY header too.
    :ivar refused: how many were turned away.
    :ivar waits: with no place left, new ones are to wait in the kernel's queue.
    :ivar limit: places in all; 0 = any number.
    """

    def __init__(self, config: Config, report: Report) -> None:
        places = config.max_connections
        self.limit = default_places() if places is None else places
        if self.limit > (possible := possible_places()):
            report.too_many_places(self.limit, possible)
        self.waits = config.over_limit == "wait"
        self.live = self.refused = 0
        self._report = report
        self._allow, self._deny = Networks(config.allow), Networks(config.deny)
        self._proxies = Networks(config.proxy_from)
        self._per_peer, self._peers = config.max_per_peer, PeerCount(config.max_per_peer)
        self._waiting: list[Callable[[], None]] = []
        self._anybody = not (self._allow or self._deny or self._per_peer)

    @property
    def left(self) -> float:
        """How many places are left; ``math.inf``: any number."""
        return max(0, self.limit - self.live) if self.limit else math.inf

    @property
    def full(self) -> bool:
        """Whether no place is left."""
        return 0 < self.limit <= self.live

    def admits(self, address: IAddress | None) -> bool:
        """Whether this client may come in; if not, that is counted and said."""
        if self._anybody and not self.full:
            return True
        why = self._why_not(getattr(address, "host", None))
        return not why or self.refuse(address, why)

    def admits_proxy(self, address: IAddress | None) -> bool:
        """Whether this is a proxy that may speak for others."""
        host = getattr(address, "host", None)
        if self.full:
            return self.refuse(address, self._too_many())
        if host is None or host in self._proxies:
            return True
        return self.refuse(address, "it is not one of the proxies")

    def _why_not(self, host: str | None) -> str:
        if self.full:
            return self._too_many()
        if host is None:  # a UNIX peer: its path's permissions have decided
            return ""
        if self._deny and host in self._deny:
            return "its network is denied"
        if self._allow and host not in self._allow:
            return "its network is not allowed"
        if not self._peers.room(host):
            return f"over the limit of {self._per_peer} for one peer"
        return ""

    def _too_many(self) -> str:
        return f"over the limit of {self.limit} connections"

    def refuse(self, address: IAddress | None, why: str) -> bool:
        """Count one who was turned away, and say so; give ``False``."""
        self.refused += 1
        self._report.refused(address, why)
        return False

    def enter(self, connection: Link) -> None:
        """A connection has begun."""
        self.live += 1
        if self._per_peer and (host := getattr(connection.remote_address, "host", None)):
            self._peers.enter(host)

    def leave(self, connection: Link) -> None:
        """A connection is gone; who waits for a place is told."""
        self.live -= 1
        if self._per_peer and (host := getattr(connection.remote_address, "host", None)):
            self._peers.leave(host)
        if self._waiting:
            self.tell()

    def tell(self) -> None:
        """Tell who waits, if there is room."""
        if self._waiting and not self.full:
            waiting, self._waiting = self._waiting, []
            for tell in waiting:
                tell()

    def when_room(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` once a place is free."""
        if not self._waiting:
            self._report.at_limit(self.limit)
        self._waiting.append(tell)

    def forget(self, tell: Callable[[], None]) -> None:
        """Do not call it."""
        if tell in self._waiting:
            self._waiting.remove(tell)


class PeerCount:
    """How many live connections each peer has: an IPv4 address, or an IPv6 /64.

    A host on IPv6 has a whole /64 to choose addresses from (RFC 4291, 2.5.1).

    :param limit: at most so many each; 0 = any number, and nothing is counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: dict[str | bytes, int] = {}

    def room(self, host: str) -> bool:
        """Whether one more may come."""
        return not self._limit or self._counts.get(_peer(host), 0) < self._limit

    def enter(self, host: str) -> None:
        """Count one in."""
        if self._limit:
            peer = _peer(host)
            self._counts[peer] = self._counts.get(peer, 0) + 1

    def leave(self, host: str) -> None:
        """Count one out that was counted in."""
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
    """Give what counts as one peer."""
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    is_mapped = packed[:12] == _MAPPED
    return socket.inet_ntop(socket.AF_INET, packed[12:]) if is_mapped else packed[:8]
