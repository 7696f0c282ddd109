"""The race of a name's addresses, with a clock and a resolver of our own."""

from __future__ import annotations

import errno
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    NoRouteError,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import makeBinding
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from echosvc.net.connector import (
    ATTEMPT_DELAY,
    TCPConnector,
    attempted_address,
    interleave_families,
    unresolved,
)
from echosvc.net.errors import describe_error
from echosvc.net.hosts import HostError, is_ipv6

FOUR, FIVE, SIX, SEVEN = "192.0.2.4", "192.0.2.5", "2001:db8::6", "2001:db8::7"


def address(text: str) -> IPv4Address | IPv6Address:
    host, _, zone = text.partition("%")
    if ":" in host:
        return IPv6Address("TCP", host, 9000, scopeID=int(zone or 0))
    return IPv4Address("TCP", host, 9000)


@implementer(IHostnameResolver)
class Resolver:
    """It answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, portNumber: int = 0, *_: Any
    ) -> None:
        self.asked.append((hostName, portNumber))
        self.receiver = resolutionReceiver
        resolutionReceiver.resolutionBegan(None)

    def answer(self, *addresses: str) -> None:
        for each in addresses:
            self.receiver.addressResolved(address(each))
        self.receiver.resolutionComplete()


class RaceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.resolver = Resolver()
        self.reactor.installNameResolver(self.resolver)
        self.built: list[Any] = []
        self.factory = Factory.forProtocol(Protocol)

    def race(self, *addresses: str, host: str = "my_echo", **options: Any) -> Deferred[Any]:
        result = TCPConnector(self.reactor, host, 9000, **options).connect(self.factory)
        if addresses:
            self.resolver.answer(*addresses)
        return result

    def tried(self) -> list[str]:
        return [client[0] for client in self.reactor.tcpClients]

    def refuse(self, index: int, error: Exception | None = None) -> None:
        factory, connector = self.reactor.tcpClients[index][2], self.reactor.connectors[index]
        factory.clientConnectionFailed(connector, Failure(error or Refused(111)))

    def accept(self, index: int) -> Any:
        protocol = self.reactor.tcpClients[index][2].buildProtocol(None)
        if protocol is not None:
            protocol.makeConnection(StringTransport())
        return protocol

    def stopped(self) -> list[bool]:
        return [each.stoppedConnecting for each in self.reactor.connectors]

    def nothing_waits(self) -> None:
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class RaceTests(RaceTestCase):
    def test_the_resolver_is_asked_for_the_name_as_it_is(self) -> None:
        for host, asked in (
            ("my_echo", "my_echo"),
            ("LOCALHOST.", "LOCALHOST."),
            ("BÜCHER.test", "xn--bcher-kva.test"),
        ):
            self.race(host=host).addErrback(lambda _: None).cancel()
            self.assertEqual(self.resolver.asked.pop(), (asked, 9000))

    def test_an_address_is_not_looked_up(self) -> None:
        for host in (FOUR, SIX):
            self.race(host=host)
        self.assertEqual((self.tried(), self.resolver.asked), ([FOUR, SIX], []))

    def test_a_zone_goes_with_its_address(self) -> None:
        self.race(host="fe80::1%1")
        self.race("fe80::2%1")
        self.assertEqual(self.tried(), ["fe80::1%1", "fe80::2%1"])

    def test_a_zone_that_is_not_there_is_named(self) -> None:
        error = self.failureResultOf(self.race(host="fe80::1%nosuch0"), ConnectError).value
        self.assertEqual(describe_error(error), "ENODEV (there is no network interface 'nosuch0')")
        self.assertEqual(attempted_address(error), "[fe80::1%nosuch0]:9000")
        self.nothing_waits()

    def test_a_reset_behind_a_fin_is_a_reset(self) -> None:
        """Linux reports EPIPE for it."""
        self.assertEqual(describe_error(ConnectError(errno.EPIPE)), "ECONNRESET")
        self.assertEqual(describe_error(BrokenPipeError(errno.EPIPE, "")), "EPIPE")

    def test_the_first_that_connects_wins_and_the_others_are_cancelled(self) -> None:
        result = self.race(SIX, FOUR, SEVEN)
        self.reactor.advance(ATTEMPT_DELAY)
        self.reactor.advance(ATTEMPT_DELAY)
        self.assertEqual(self.tried(), [SIX, FOUR, SEVEN])
        protocol = self.accept(1)
        self.assertIs(self.successResultOf(result), protocol._wrappedProtocol)
        self.assertEqual(self.stopped(), [True, False, True])
        self.nothing_waits()

    def test_the_next_attempt_starts_after_the_delay_and_not_before(self) -> None:
        self.race(SIX, FOUR)
        self.reactor.advance(ATTEMPT_DELAY - 0.001)
        self.assertEqual(self.tried(), [SIX])
        self.reactor.advance(0.001)
        self.assertEqual(self.tried(), [SIX, FOUR])

    def test_the_next_attempt_starts_at_once_when_one_fails(self) -> None:
        result = self.race(SIX, FOUR, SEVEN)
        self.refuse(0)
        self.assertEqual(self.tried(), [SIX, FOUR])
        self.reactor.advance(ATTEMPT_DELAY)  # which began anew
        self.assertEqual(self.tried(), [SIX, FOUR, SEVEN])
        self.accept(2)
        self.successResultOf(result)
        self.nothing_waits()

    def test_where_all_refuse_it_fails_at_once(self) -> None:
        result = self.race(SIX, FOUR)
        self.refuse(0)
        self.refuse(1)
        error = self.failureResultOf(result, Refused).value
        self.assertEqual(attempted_address(error), f"{FOUR}:9000")
        self.assertEqual(self.reactor.seconds(), 0)
        self.nothing_waits()

    def test_the_last_one_may_still_connect_when_all_others_have_failed(self) -> None:
        result = self.race(SIX, FOUR)
        self.reactor.advance(ATTEMPT_DELAY)
        self.refuse(1)
        self.assertNoResult(result)
        self.accept(0)
        self.successResultOf(result)
        self.nothing_waits()

    def test_the_error_that_says_most_of_the_server_is_reported(self) -> None:
        refused, no_route, silent = Refused(111), NoRouteError(101), TimedOut()
        odd = ConnectError(errno.EPERM)
        for errors, told in (
            ((no_route, refused), 1), ((refused, no_route), 0), ((refused, silent), 0),
            ((silent, no_route), 0), ((no_route, odd), 1), ((odd, refused), 1),
            ((refused, Refused(111)), 1), ((no_route, NoRouteError(101)), 1),
        ):  # fmt: skip
            self.reactor.tcpClients.clear()
            self.reactor.connectors.clear()
            result = self.race(SIX, FOUR)
            for index, error in enumerate(errors):
                self.refuse(index, error)
            found = self.failureResultOf(result).value
            self.assertIs(found, errors[told])
            self.assertEqual(attempted_address(found), (f"[{SIX}]:9000", f"{FOUR}:9000")[told])

    def test_a_name_without_addresses_is_not_found(self) -> None:
        result = self.race()
        self.resolver.answer()
        error = self.failureResultOf(result, DNSLookupError).value
        self.assertEqual((describe_error(error), attempted_address(error)), ("ENOTFOUND", ""))
        self.nothing_waits()

    def test_an_address_that_comes_twice_is_tried_once(self) -> None:
        result = self.race(FOUR, FOUR)
        self.refuse(0)
        self.failureResultOf(result, Refused)

    def test_a_resolver_that_raises_is_a_failure(self) -> None:
        class Broken:
            def resolveHostName(self, *_: Any, **__: Any) -> None:
                raise DNSLookupError("broken")

        self.reactor.installNameResolver(Broken())
        self.failureResultOf(self.race(), DNSLookupError)
        self.nothing_waits()

    def test_the_time_out_is_over_everything(self) -> None:
        looking_up = self.race(timeout=3)
        self.reactor.advance(3)
        error = self.failureResultOf(looking_up, TimedOut).value
        self.assertEqual((describe_error(error), attempted_address(error)), ("ETIMEDOUT", ""))
        self.assertTrue(unresolved(error))
        self.resolver.answer(FOUR)  # too late
        self.assertEqual(self.tried(), [])

        connecting = self.race(timeout=3)
        self.reactor.advance(2)
        self.resolver.answer(SIX, FOUR)
        self.reactor.advance(0.999)
        self.assertNoResult(connecting)
        self.reactor.advance(0.001)
        error = self.failureResultOf(connecting, TimedOut).value
        self.assertEqual(attempted_address(error), f"{FOUR}:9000")
        self.assertFalse(unresolved(error))
        self.assertEqual(self.stopped(), [True, True])
        self.nothing_waits()

    def test_cancelled_it_leaves_nothing_behind(self) -> None:
        for addresses in ((), (SIX, FOUR), (SIX,)):
            self.reactor.connectors.clear()
            result = self.race(*addresses)
            result.cancel()
            error = self.failureResultOf(result, ConnectingCancelledError).value
            self.assertEqual(unresolved(error), not addresses)
            self.assertEqual(self.stopped(), [True] * bool(addresses))
            self.nothing_waits()
        self.resolver.answer(FOUR)
        self.assertEqual(len(self.reactor.connectors), 1)

    def test_what_the_factory_refuses_no_other_address_is_tried_for(self) -> None:
        class Refusal(Exception):
            pass

        def refuse(_: object) -> None:
            raise Refusal

        self.factory.buildProtocol = refuse
        result = self.race(SIX, FOUR)
        self.accept(0)
        self.failureResultOf(result, Refusal)
        self.assertEqual(self.tried(), [SIX])
        self.nothing_waits()

    def test_it_binds_to_the_own_address_and_tries_its_family_alone(self) -> None:
        self.race(SIX, FOUR, bind_address="127.0.0.2")
        self.assertEqual([(each[0], each[4]) for each in self.reactor.tcpClients],
                         [(FOUR, ("127.0.0.2", 0))])  # fmt: skip
        result = self.race(SIX, bind_address="127.0.0.2")
        self.assertEqual(
            describe_error(self.failureResultOf(result, ConnectError).value),
            "EAFNOSUPPORT (my_echo has no address that 127.0.0.2 can connect to)",
        )

    def test_it_binds_to_the_port_that_it_had_when_it_was_asked(self) -> None:
        connector = TCPConnector(self.reactor, "my_echo", 9000)
        connector.bind_port = 5000
        connector.connect(self.factory).addErrback(lambda _: None)
        connector.bind_port = 5001
        self.resolver.answer(FOUR)
        self.assertEqual([each[4] for each in self.reactor.tcpClients],
                         [makeBinding("", 5000, reuseAddress=True)])  # fmt: skip

    def test_a_link_local_address_without_its_zone_is_refused_in_words(self) -> None:
        error = self.failureResultOf(self.race(host="fe80::77"), ConnectError).value
        self.assertIn("EINVAL (a link-local address needs its zone", describe_error(error))

    def test_what_is_no_host_is_refused_before_anything_is_asked(self) -> None:
        self.assertRaises(HostError, TCPConnector, self.reactor, "a..b", 80)


class NameTests(SynchronousTestCase):
    def test_nothing_of_twisted_is_in_the_name_of_an_error_without_a_number(self) -> None:
        """A reactor tells the end of a socket that has not connected."""
        for end in (ConnectionDone(), ConnectionLost()):
            error = ConnectError(string=Failure(end))
            self.assertEqual(describe_error(error), "the connection was refused or lost")


class OrderTests(SynchronousTestCase):
    def test_families_take_turns_in_the_resolvers_order(self) -> None:
        for addresses, order in (
            ((), []),
            ((SIX, SEVEN, FOUR, FIVE), [SIX, FOUR, SEVEN, FIVE]),
            ((FOUR, FIVE, SIX), [FOUR, SIX, FIVE]),
            ((SIX, SEVEN), [SIX, SEVEN]),
            ((FOUR, SIX), [FOUR, SIX]),
        ):
            self.assertEqual(interleave_families(addresses), order)

    @given(st.lists(st.ip_addresses().map(str), unique=True))
    def test_every_address_is_there_once_the_resolvers_first_one_first(
        self, addresses: list[str]
    ) -> None:
        order = interleave_families(addresses)
        self.assertEqual(sorted(order), sorted(addresses))
        self.assertEqual(order[:1], addresses[:1])
        for family in (True, False):
            before = [each for each in addresses if is_ipv6(each) == family]
            self.assertEqual([each for each in order if is_ipv6(each) == family], before)
