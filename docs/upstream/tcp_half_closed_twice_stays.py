"""A connection of which both directions are closed never ends.

The protocol sends its FIN by ``loseWriteConnection``, then the client sends its own. Both
directions are over and nothing can happen any more, but ``connectionLost`` is not called,
and the descriptor stays open. It should be called.
"""

import signal
import socket

from twisted.internet import interfaces, protocol, reactor
from zope.interface import implementer


@implementer(interfaces.IHalfCloseableProtocol)
class Server(protocol.Protocol):
    def connectionMade(self):
        self.transport.loseWriteConnection()

    def writeConnectionLost(self):
        client.shutdown(socket.SHUT_WR)

    def readConnectionLost(self):
        reactor.callLater(0.3, self.report)

    def report(self):
        open_ = self.transport.connected
        print("defect: no connectionLost in 0.3 s" if open_ else "mended: the connection ended")
        reactor.stop()


signal.alarm(10)
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
reactor.run()
