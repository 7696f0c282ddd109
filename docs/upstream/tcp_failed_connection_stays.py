"""A connection whose ``connectionMade`` raises stays open.

The exception is logged and nothing else: the protocol, half set up, will get the client's
data. An exception in ``dataReceived`` closes the connection; one in ``connectionMade``
should, too.
"""

import signal
import socket

from twisted.internet import protocol, reactor


class Server(protocol.Protocol):
    def connectionMade(self):
        reactor.callLater(0.3, self.report)
        raise ValueError("this traceback is intended")

    def report(self):
        still = self.transport.connected
        print("defect: the connection is still open" if still else "mended: it was closed")
        reactor.stop()


signal.alarm(10)
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
reactor.run()
