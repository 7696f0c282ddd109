"""TCP connections to a host: its addresses are raced, and the first that connects is used.

Twisted's ``HostnameEndpoint`` starts an attempt every 0.3 s, and reports even a refused
connection only after that; it refuses names with an underscore and drops IPv6 zones.

This is a small implementation of RFC 8305 (happy eyeballs). The addresses are tried in the
resolver's order (RFC 6724), the families alternating. The next attempt starts as soon as one
fails, or when :data:`ATTEMPT_DELAY` has passed without an answer. The first connection wins and
the other attempts are cancelled.
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
from twisted.internet.tcp import makeBinding
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.net.attempts import AttemptReactor
from echosvc.net.errors import describe_error
from echosvc.net.hosts import (
    ZoneError,
    ascii_host,
    is_address,
    is_ipv6,
    join_host_port,
    needs_zone,
    with_zone_index,
)

#: Seconds until the next address is tried while one has not answered (RFC 8305, 5).
ATTEMPT_DELAY = 0.25

#: Which error to report of several from one name's addresses: the most informative about the
#: server, which has the highest number.
_SPECIFICITY = {"ECONNREFUSED": 4, "ECONNRESET": 4, "ETIMEDOUT": 3}
_SPECIFICITY |= dict.fromkeys(("ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT"), 1)
_DEFAULT_SPECIFICITY = 2
#: Errors after which the next address is tried.
_ADDRESS_ERRORS = (ConnectError, UserError, OSError)
_ADDRESS_ATTRIBUTE = "attempted_address"
_UNRESOLVED_ATTRIBUTE = "name_unresolved"


class AddressError(ConnectError):
    """An address that cannot be tried; its text is the system error's name and the reason."""

    osError = None

    def __init__(self, name: str, why: str) -> None:
        Exception.__init__(self, f"{name} ({why})")

    def __str__(self) -> str:
        return str(self.args[0])


def attempted_address(error: BaseException | None) -> str:
    """Return the address and port whose attempt failed with this; ``""`` = not known."""
    return str(getattr(error, _ADDRESS_ATTRIBUTE, ""))


def unresolved(error: BaseException | None) -> bool:
    """Return whether the time-out expired before the name was resolved."""
    return bool(getattr(error, _UNRESOLVED_ATTRIBUTE, False))


@implementer(IStreamClientEndpoint)
class TCPConnector:
    """Connect to a host by name or address.

    :param host: an address, which may have an IPv6 zone, or a name for the reactor's resolver;
        an ASCII name is passed to it unchanged.
    :param timeout: seconds for name resolution and all attempts together.
    :param bind_address: the local address to connect from; ``""`` = any.
    :ivar max_segment: the longest segment of the next connections, in both directions, bytes; 0 =
        the system's. It is announced to the peer as the MSS, which counts TCP's options.
    :ivar bind_port: the local port that the next connection comes from; 0 = any.
    :ivar latest: the address and port of the newest connection; ``""`` = there was none.
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
        self.max_segment = self.bind_port = 0
        self.latest = ""

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect.

        The Deferred fails with the most informative error of the attempts;
        :func:`attempted_address` returns the address of that attempt.
        """
        race = _Race(self, protocolFactory)
        result = race.result
        race.begin()
        return result


class _Race:
    """The attempts of one ``connect()``."""

    def __init__(self, connector: TCPConnector, factory: IProtocolFactory) -> None:
        self.result: Deferred[IProtocol] = Deferred(self._cancelled)
        self._connector = connector
        self._factory, self._bind_port = factory, connector.bind_port
        self._untried: deque[str] = deque()
        self._pending: dict[Deferred[IProtocol], str] = {}
        self._failures: list[Failure] = []
        self._next_call: Any = None
        self._ended = False

    def begin(self) -> None:
        """Resolve the name, or use the address."""
        self._resolving = not is_address(self._connector.host)
        self._timeout_call = self._connector.reactor.callLater(
            self._connector.timeout, self._timed_out
        )
        if is_address(self._connector.host):
            self._resolved([self._connector.host])
            return
        try:
            self._connector.reactor.nameResolver.resolveHostName(
                _Addresses(self._resolved), self._connector.host, portNumber=self._connector.port
            )
        except Exception:  # an installed resolver may raise anything
            if self._ended:
                raise  # to the caller of connect(): its Deferred has fired already
            self._fail(Failure())

    def _resolved(self, addresses: list[str]) -> None:
        if self._ended:
            return
        self._resolving = False
        bound = self._connector.bind_address
        usable = [each for each in addresses if not bound or is_ipv6(each) == is_ipv6(bound)]
        if not addresses:
            self._fail(Failure(DNSLookupError(f"{self._connector.host} has no address")))
            return
        if not usable:
            why = f"{self._connector.host} has no address that {bound} can connect to"
            self._fail(Failure(AddressError("EAFNOSUPPORT", why)))
            return
        self._untried.extend(interleave_families(usable))
        self._next()

    def _next(self) -> None:
        """Try the next address, if any is left; else fail if no attempt is pending."""
        self._cancel_next()
        if self._untried:
            address = self._untried.popleft()
            if self._untried:
                self._next_call = self._connector.reactor.callLater(ATTEMPT_DELAY, self._next)
            self._attempt(address)
        elif not self._pending:
            self._fail(most_informative(self._failures))

    def _attempt(self, address: str) -> None:
        attempt = self._connecting(address)
        self._pending[attempt] = address
        attempt.addCallbacks(
            self._attempt_connected,
            self._attempt_failed,
            callbackArgs=(attempt,),
            errbackArgs=(attempt,),
        )

    def _connecting(self, address: str) -> Deferred[IProtocol]:
        to = self._connector
        kind: Any = TCP6ClientEndpoint if is_ipv6(address) else TCP4ClientEndpoint
        own: Any = (to.bind_address, 0) if to.bind_address else None
        if self._bind_port:  # which may have belonged to a connection that is closed
            own = makeBinding(to.bind_address, self._bind_port, reuseAddress=True)
        if not to.bind_address and needs_zone(address):
            why = f"a link-local address needs its zone, the interface: [{address}%eth0]"
            return fail(AddressError("EINVAL", why))
        try:
            # The race has the time-out, an attempt has none.
            reactor = AttemptReactor(to.reactor, to.max_segment)
            endpoint = kind(reactor, with_zone_index(address), to.port, None, own)
        except ZoneError as error:
            return fail(AddressError("ENODEV", str(error.strerror)))
        connecting: Deferred[IProtocol] = endpoint.connect(self._factory)
        return connecting

    def _attempt_connected(self, protocol: IProtocol, attempt: Deferred[IProtocol]) -> None:
        self._connector.latest = join_host_port(self._pending.pop(attempt), self._connector.port)
        self._end().callback(protocol)

    def _attempt_failed(self, failure: Failure, attempt: Deferred[IProtocol]) -> None:
        self._set_address(failure.value, self._pending.pop(attempt))
        if self._ended:  # it was cancelled
            return
        if not failure.check(*_ADDRESS_ERRORS):  # an error of the factory: no other address helps
            self._fail(failure)
            return
        self._failures.append(failure)
        self._next()

    def _timed_out(self) -> None:
        for address in self._pending.values():
            failure = Failure(ConnectTimeoutError())
            self._set_address(failure.value, address)
            self._failures.append(failure)
        failure = most_informative(self._failures or [Failure(ConnectTimeoutError())])
        setattr(failure.value, _UNRESOLVED_ATTRIBUTE, self._resolving)
        self._fail(failure)

    def _cancelled(self, _: object) -> None:
        error = ConnectingCancelledError(
            HostnameAddress(self._connector.host.encode("ascii"), self._connector.port)
        )
        setattr(error, _UNRESOLVED_ATTRIBUTE, self._resolving)
        for address in self._pending.values():
            self._set_address(error, address)
        self._fail(Failure(error))

    def _fail(self, failure: Failure) -> None:
        self._end().errback(failure)

    def _end(self) -> Deferred[IProtocol]:
        """Cancel the timers and the other attempts; return the Deferred to fire."""
        self._ended = True
        self._cancel_next()
        if self._timeout_call.active():
            self._timeout_call.cancel()
        self._untried.clear()
        for attempt in list(self._pending):
            # NotConnectingError: connected, but its Deferred has not fired.
            with suppress(NotConnectingError):
                attempt.cancel()
        result = self.result
        del self.result  # it refers to this race: break the reference cycle
        return result

    def _cancel_next(self) -> None:
        if self._next_call is not None and self._next_call.active():
            self._next_call.cancel()
        self._next_call = None

    def _set_address(self, error: BaseException | None, address: str) -> None:
        setattr(error, _ADDRESS_ATTRIBUTE, join_host_port(address, self._connector.port))


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects a name's addresses as text, with their zones, in the resolver's order."""

    def __init__(self, found: Callable[[list[str]], None]) -> None:
        self._resolved = found
        self._addresses: dict[str, None] = {}

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Do nothing: Twisted's resolution cannot be cancelled."""

    def addressResolved(self, address: IAddress) -> None:
        """Collect an address, with the zone that ``IPv6Address`` keeps separately."""
        host = str(getattr(address, "host", ""))
        if isinstance(address, IPv6Address) and address.scopeID and "%" not in host:
            host += f"%{address.scopeID}"
        if is_address(host):
            self._addresses[host] = None

    def resolutionComplete(self) -> None:
        """Pass the addresses on."""
        self._resolved(list(self._addresses))


def interleave_families(addresses: Iterable[str]) -> list[str]:
    """Return addresses with alternating families, each in its own order (RFC 8305, 4)."""
    every = list(addresses)
    first = [each for each in every if is_ipv6(each) == is_ipv6(every[0])]
    other = [each for each in every if each not in first]
    return [each for pair in zip_longest(first, other) for each in pair if each is not None]


def most_informative(failures: list[Failure]) -> Failure:
    """Return the failure that says most of the server; the last of equal ones."""

    def specificity(failure: Failure) -> int:
        return _SPECIFICITY.get(
            describe_error(cast(Exception, failure.value)), _DEFAULT_SPECIFICITY
        )

    return max(reversed(failures), key=specificity)
