"""Names that are resolved in threads which no process waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from echosvc.net.resolver import DaemonResolver
from tests.support.waiting import LIMIT


class Receiver:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: Any = None
        self.addresses: list[Any] = []
        self.done = threading.Event()

    def resolutionBegan(self, resolution: Any) -> None:
        self.begun = resolution

    def addressResolved(self, address: Any) -> None:
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        self.done.set()


class Threads:
    """The part of a reactor that a resolver needs."""

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        assert threading.current_thread().daemon
        function(*arguments)


class DaemonResolverTests(SynchronousTestCase):
    def resolved(self, name: str, *arguments: Any) -> list[Any]:
        receiver = Receiver()
        resolution = DaemonResolver(Threads()).resolveHostName(receiver, name, *arguments)
        self.assertIs(receiver.begun, resolution)
        self.assertEqual(resolution.name, name)
        resolution.cancel()  # changes nothing
        self.assertTrue(receiver.done.wait(LIMIT))
        return receiver.addresses

    def test_an_address_is_found_with_its_port(self) -> None:
        self.assertEqual(self.resolved("127.0.0.1", 80), [IPv4Address("TCP", "127.0.0.1", 80)])
        (found,) = self.resolved("::1", 80)
        self.assertEqual((type(found), found.host, found.port), (IPv6Address, "::1", 80))

    def test_only_the_wanted_kinds_are_given(self) -> None:
        self.assertEqual(self.resolved("127.0.0.1", 80, [IPv6Address]), [])
        self.assertEqual(len(self.resolved("127.0.0.1", 80, [IPv4Address])), 1)
        (datagram,) = self.resolved("127.0.0.1", 80, None, "UDP")
        self.assertEqual(datagram.type, "UDP")

    def test_a_name_that_nobody_knows_has_no_addresses(self) -> None:
        for name in ("256.256.256.256", "a" * 64 + ".invalid", "\udcff"):
            self.assertEqual(self.resolved(name, 80), [])
