"""A reactor in memory for endpoint strings."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.endpoints import EndpointError


class EndpointTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def tearDown(self) -> None:
        reactor = self.reactor
        opened = [reactor.tcpServers, reactor.sslServers, reactor.unixServers, reactor.adoptedPorts]
        opened += [reactor.tcpClients, reactor.sslClients, reactor.unixClients]
        self.assertEqual([each for each in opened if each], [])

    def refused(self, read: object, description: str, pattern: str = ".") -> None:
        try:
            found = read(self.reactor, description)
        except EndpointError as error:
            self.assertRegex(str(error), pattern)
            self.assertTrue(str(error).isprintable())
        else:
            self.fail(f"{description!r} was read as {found!r}")
