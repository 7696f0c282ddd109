"""On TLS, ``pauseProducing`` in ``connectionMade`` stops the handshake.

On TCP it means that no data is to be delivered yet. The TLS transport stops reading the
socket, so that it never sees the client's hello. The handshake should go on, with the
client's data held back.
"""

import signal

from _certificate import server_options
from twisted.internet import interfaces, protocol, reactor, ssl
from zope.interface import implementer


class Server(protocol.Protocol):
    def connectionMade(self):
        self.transport.pauseProducing()


@implementer(interfaces.IHandshakeListener)
class Client(protocol.Protocol):
    done = False

    def handshakeCompleted(self):
        Client.done = True
        reactor.stop()


signal.alarm(10)
server, client = map(protocol.ClientFactory.forProtocol, (Server, Client))
port = reactor.listenSSL(0, server, server_options(), interface="127.0.0.1")
reactor.connectSSL("127.0.0.1", port.getHost().port, client, ssl.CertificateOptions())
reactor.callLater(0.5, reactor.stop)
reactor.run()
print("mended: the handshake went on" if Client.done else "defect: no handshake within 0.5 s")
