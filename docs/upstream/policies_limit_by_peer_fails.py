"""``policies.LimitConnectionsByPeer`` fails at the first connection.

It takes the peer's address for a tuple, which it has not been for long. It should count
connections by ``address.host``.
"""

from twisted.internet import address, protocol
from twisted.protocols import policies

limit = policies.LimitConnectionsByPeer(protocol.Factory.forProtocol(protocol.Protocol))
limit.maxConnectionsPerPeer = 1
limit.startFactory()
peer = address.IPv4Address("TCP", "127.0.0.1", 1)
try:
    print("mended:", limit.buildProtocol(peer), limit.buildProtocol(peer))
except TypeError as error:
    print("defect: TypeError:", error)
