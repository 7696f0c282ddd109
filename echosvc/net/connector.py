"""TCP connections to a host: its addresses are raced, and the first that connects is used.

Twisted's ``HostnameEndpoint`` starts an attempt every 0.3 s, and reports even a refused
connection only after that; it refuses names with an underscore and drops IPv6 zones.

This is RFC 8305 (happy eyeballs) in small. The addresses are tried in the resolver's order
(RFC 6724), families interleaved. The next attempt starts when one fails, at once, or when
:data:`ATTEMPT_DELAY` has passed without an answer. The first connection wins and the other
attempts are cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import zip_longest
from typing import Any, cast

from twisted.internet.address import HostnameAddress, IPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    DNSLookupError,
    NotConnectingError,
    UserError,
)
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.net.attempts import Attempting
from echosvc.net.errors import error_name
from echosvc.net.hosts import (
    ZoneError,
    ascii_host,
    is_address,
    is_ipv6,
    needs_zone,
    numbered,
    with_port,
)

#: Seconds until the next address is tried while one has not answered (RFC 8305, 5).
ATTEMPT_DELAY = 0.25

#: How much an error says of the server, of several that came from one name's addresses.
_TELLING = {"ECONNREFUSED": 4, "ECONNRESET": 4, "ETIMEDOUT": 3}
_TELLING |= dict.fromkeys(("ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT"), 1)
_OTHERWISE = 2
#: What an attempt fails with that the next address may do better.
_OF_AN_ADDRESS = (ConnectError, UserError, OSError)
_ADDRESS = "attempted_address"
_UNRESOLVED = "name_unresolved"


class AddressFault(ConnectError):
    """An address that cannot be tried; says why, behind the name of the system's error."""

    osError = None

    def __init__(self, name: str, why: str) -> None:
        Exception.__init__(self, f"{name} ({why})")

    def __str__(self) -> str:
        return str(self.args[0])


def attempted_address(error: BaseException | None) -> str:
    """Return the address and port whose attempt failed with this; ``""`` = not known."""
    return str(getattr(error, _ADDRESS, ""))


def unresolved(error: BaseException | None) -> bool:
    """Return whether the time was over before the name was resolved."""
    return bool(getattr(error, _UNRESOLVED, False))


@implementer(IStreamClientEndpoint)
class TCPConnector:
    """Connect to a host by name or address.

    :param host: a name for the reactor's resolver, passed on as it is where it is ASCII,
        or an address; an IPv6 address may have a zone.
    :param timeout: seconds for it all, name resolution included.
    :param bind_address: the own address to connect from; ``""`` = any.
    :ivar latest: the address and port of the newest connection; ``""`` = none was made.
    :raises HostError: ``host`` is neither a name nor an address.
    """

    def __init__(
        self, reactor: Any, host: str, port: int, timeout: float = 30.0, bind_address: str = ""
    ) -> None:
        self.reactor = reactor
        self.host = ascii_host(host)
        self.port = port
        self.timeout = timeout
        self.bind_address = bind_address
        self.latest = ""

    def __str__(self) -> str:
        return with_port(self.host, self.port)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect.

        Fails with the most telling error of the attempts, which
        :func:`attempted_address` knows the address of.
        """
        race = _Race(self, protocolFactory)
        result = race.result
        race.begin()
        return result


class _Race:
    """The attempts of one ``connect()``."""

    def __init__(self, connector: TCPConnector, factory: IProtocolFactory) -> None:
        self.result: Deferred[IProtocol] = Deferred(self._cancelled)
        self._to = connector
        self._factory = factory
        self._waiting: deque[str] = deque()
        self._pending: dict[Deferred[IProtocol], str] = {}
        self._failures: list[Failure] = []
        self._delay: Any = None
        self._ended = False

    def begin(self) -> None:
        """Look the name up, or use the address."""
        self._resolving = not is_address(self._to.host)
        self._limit = self._to.reactor.callLater(self._to.timeout, self._expired)
        if is_address(self._to.host):
            self._found([self._to.host])
            return
        try:
            self._to.reactor.nameResolver.resolveHostName(
                _Addresses(self._found), self._to.host, portNumber=self._to.port
            )
        except Exception:  # of a resolver that somebody has installed
            if self._ended:
                raise
            self._fail(Failure())

    def _found(self, addresses: list[str]) -> None:
        if self._ended:
            return
        self._resolving = False
        bound = self._to.bind_address
        usable = [each for each in addresses if not bound or is_ipv6(each) == is_ipv6(bound)]
        if not addresses:
            self._fail(Failure(DNSLookupError(f"{self._to.host} has no address")))
            return
        if not usable:
            why = f"{self._to.host} has no address that {bound} can connect to"
            self._fail(Failure(AddressFault("EAFNOSUPPORT", why)))
            return
        self._waiting.extend(interleaved(usable))
        self._next()

    def _next(self) -> None:
        """Try the next address, if there is one."""
        self._stop_delay()
        if self._waiting:
            address = self._waiting.popleft()
            if self._waiting:
                self._delay = self._to.reactor.callLater(ATTEMPT_DELAY, self._next)
            self._attempt(address)
        elif not self._pending:
            self._fail(most_telling(self._failures))

    def _attempt(self, address: str) -> None:
        attempt = self._connecting(address)
        self._pending[attempt] = address
        attempt.addCallbacks(self._won, self._lost, callbackArgs=(attempt,), errbackArgs=(attempt,))

    def _connecting(self, address: str) -> Deferred[IProtocol]:
        to = self._to
        kind: Any = TCP6ClientEndpoint if is_ipv6(address) else TCP4ClientEndpoint
        own = (to.bind_address, 0) if to.bind_address else None
        if own is None and needs_zone(address):
            why = f"a link-local address needs its zone, the interface: [{address}%eth0]"
            return fail(AddressFault("EINVAL", why))
        try:
            # The time-out is the race's: an attempt has none of its own.
            endpoint = kind(Attempting(to.reactor), numbered(address), to.port, None, own)
        except ZoneError as error:
            return fail(AddressFault("ENODEV", str(error.strerror)))
        connecting: Deferred[IProtocol] = endpoint.connect(self._factory)
        return connecting

    def _won(self, protocol: IProtocol, attempt: Deferred[IProtocol]) -> None:
        self._to.latest = with_port(self._pending.pop(attempt), self._to.port)
        self._end().callback(protocol)

    def _lost(self, failure: Failure, attempt: Deferred[IProtocol]) -> None:
        self._mark(failure.value, self._pending.pop(attempt))
        if self._ended:  # it was cancelled
            return
        if not failure.check(*_OF_AN_ADDRESS):  # the factory's: no other address helps
            self._fail(failure)
            return
        self._failures.append(failure)
        self._next()

    def _expired(self) -> None:
        for address in self._pending.values():
            failure = Failure(ConnectTimeoutError())
            self._mark(failure.value, address)
            self._failures.append(failure)
        failure = most_telling(self._failures or [Failure(ConnectTimeoutError())])
        setattr(failure.value, _UNRESOLVED, self._resolving)
        self._fail(failure)

    def _cancelled(self, _: object) -> None:
        error = ConnectingCancelledError(
            HostnameAddress(self._to.host.encode("ascii"), self._to.port)
        )
        setattr(error, _UNRESOLVED, self._resolving)
        for address in self._pending.values():
            self._mark(error, address)
        self._fail(Failure(error))

    def _fail(self, failure: Failure) -> None:
        self._end().errback(failure)

    def _end(self) -> Deferred[IProtocol]:
        """Leave nothing behind but the connection that won; return the result to fire."""
        self._ended = True
        self._stop_delay()
        if self._limit.active():
            self._limit.cancel()
        self._waiting.clear()
        for attempt in list(self._pending):
            # NotConnectingError: it has connected, and its protocol did not say so.
            with suppress(NotConnectingError):
                attempt.cancel()
        result = self.result
        del self.result  # it refers to this race: no circle is left
        return result

    def _stop_delay(self) -> None:
        if self._delay is not None and self._delay.active():
            self._delay.cancel()
        self._delay = None

    def _mark(self, error: BaseException | None, address: str) -> None:
        setattr(error, _ADDRESS, with_port(address, self._to.port))


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects a name's addresses as text, with their zones, in the resolver's order."""

    def __init__(self, found: Callable[[list[str]], None]) -> None:
        self._found = found
        self._addresses: dict[str, None] = {}

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Wait: upstream's resolution cannot be cancelled."""

    def addressResolved(self, address: IAddress) -> None:
        """Take one; ``IPv6Address`` has its zone apart."""
        host = str(getattr(address, "host", ""))
        if isinstance(address, IPv6Address) and address.scopeID and "%" not in host:
            host += f"%{address.scopeID}"
        if is_address(host):
            self._addresses[host] = None

    def resolutionComplete(self) -> None:
        """Hand them on."""
        self._found(list(self._addresses))


def interleaved(addresses: Iterable[str]) -> list[str]:
    """Return addresses with their families taking turns, each in its own order (RFC 8305, 4)."""
    every = list(addresses)
    first = [each for each in every if is_ipv6(each) == is_ipv6(every[0])]
    other = [each for each in every if each not in first]
    return [each for pair in zip_longest(first, other) for each in pair if each is not None]


def most_telling(failures: list[Failure]) -> Failure:
    """Return the failure that says most of the server; of equal ones the last."""

    def weight(failure: Failure) -> int:
        return _TELLING.get(error_name(cast(Exception, failure.value)), _OTHERWISE)

    return max(reversed(failures), key=weight)
