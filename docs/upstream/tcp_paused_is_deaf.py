"""A paused transport does not notice that its peer is gone.

With reading paused and nothing to write, the descriptor is in no set of the reactor, so
that neither the peer's FIN nor its reset is noticed, and a keep-alive that finds nobody
is not either. ``connectionLost`` should be called at the reset: epoll and poll report it
for a descriptor that waits for nothing.
"""

import signal
import socket
import struct

from twisted.internet import protocol, reactor


class Server(protocol.Protocol):
    def connectionMade(self):
        self.transport.pauseProducing()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # with a reset
        reactor.callLater(0.3, self.report)

    def report(self):
        deaf = self.transport.connected
        print("defect: no connectionLost in 0.3 s" if deaf else "mended: the reset was noticed")
        reactor.stop()


signal.alarm(10)
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
reactor.run()
