"""``HostnameEndpoint`` refuses a name with an underscore without asking the resolver.

Names of Docker services such as ``my_echo`` are in /etc/hosts or in a resolver's answers. The
name should be passed on as it is where it is ASCII: whether it exists is the resolver's to say.
"""

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

reactor = MemoryReactorClock()  # its resolver knows every name
HostnameEndpoint(reactor, "my_echo", 80).connect(Factory()).addErrback(lambda _: None)
asked = bool(reactor.tcpClients)
print("mended: it was looked up" if asked else "defect: it was not looked up")
