"""``HostnameEndpoint`` drops the zone of an IPv6 address, which then cannot be reached.

The resolver's answer has it apart, as ``scopeID``. Without it connect(2) to a link-local
address fails with EINVAL (RFC 4007, 11; ipv6(7)).
"""

from twisted.internet.address import IPv6Address
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock


class Resolver:
    def resolveHostName(self, receiver, *names, **options):
        receiver.addressResolved(IPv6Address("TCP", "fe80::1", 80, scopeID=1))
        receiver.resolutionComplete()


reactor = MemoryReactorClock()
reactor.installNameResolver(Resolver())
HostnameEndpoint(reactor, "fe80::1%1", 80).connect(Factory())
host = reactor.tcpClients[0][0]
print("mended:" if "%" in host else "defect:", "fe80::1%1 is connected to as", host)
