"""On TLS, ``IHalfCloseableProtocol`` is never told of the peer's close_notify.

It is TLS's FIN: the client says that it sends no more (RFC 8446, 6.1, each direction ends
alone). The transport answers it with its own close_notify and ends both directions, so
that a protocol with something left to send cannot. ``readConnectionLost`` should be
called, as for a FIN on TCP.
"""

import signal

from _certificate import server_options
from twisted.internet import interfaces, protocol, reactor, ssl
from zope.interface import implementer


@implementer(interfaces.IHalfCloseableProtocol)
class Server(protocol.Protocol):
    told = False

    def readConnectionLost(self):
        self.told = True
        self.transport.loseConnection()

    def connectionLost(self, reason):
        print("mended: told of the end" if self.told else "defect: not told before the end")
        reactor.stop()


@implementer(interfaces.IHandshakeListener)
class Client(protocol.Protocol):
    def handshakeCompleted(self):
        self.transport.loseConnection()


signal.alarm(10)
server, client = map(protocol.ClientFactory.forProtocol, (Server, Client))
port = reactor.listenSSL(0, server, server_options(), interface="127.0.0.1")
reactor.connectSSL("127.0.0.1", port.getHost().port, client, ssl.CertificateOptions())
reactor.run()
