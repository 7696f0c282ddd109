"""A client made by an endpoint loses half-close if it also listens for the handshake.

``endpoints._WrappingProtocol`` passes on three optional interfaces of the protocol.
It calls ``directlyProvides`` once for each; that replaces what was declared before, so
only the last remains. A protocol with ``IHalfCloseableProtocol`` and
``IHandshakeListener`` is not told of the server's FIN: its connection just ends.
``readConnectionLost`` should be called (``alsoProvides`` would do).
"""

import signal
import socket

from twisted.internet import endpoints, interfaces, protocol, reactor
from zope.interface import implementer


@implementer(interfaces.IHalfCloseableProtocol, interfaces.IHandshakeListener)
class Client(protocol.Protocol):
    told = False

    def readConnectionLost(self):
        self.told = True
        self.transport.loseConnection()

    def connectionLost(self, reason):
        print("mended: told of the FIN" if self.told else "defect: not told of the FIN")
        reactor.stop()


signal.alarm(10)
server = socket.create_server(("127.0.0.1", 0))
endpoint = endpoints.TCP4ClientEndpoint(reactor, *server.getsockname())
endpoint.connect(protocol.Factory.forProtocol(Client)).addCallback(
    lambda _: server.accept()[0].shutdown(socket.SHUT_WR)
)
reactor.run()
