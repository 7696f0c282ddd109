"""``HostnameEndpoint`` reports a refused connection only when its next turn comes, after 0.3 s.

It looks once every 0.3 s whether an address is left, even where the only one has failed
already. It should fail, or try the next address, when an attempt fails (RFC 8305, 5).
"""

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

reactor = MemoryReactorClock()
failures = []
HostnameEndpoint(reactor, "127.0.0.1", 80).connect(Factory()).addErrback(failures.append)
reactor.tcpClients[0][2].clientConnectionFailed(reactor.connectors[0], Failure(Refused()))
print("mended: it failed at once" if failures else "defect: the only address refused, and it waits")
