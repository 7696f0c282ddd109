"""On TLS, a greeting with back-pressure stops the handshake.

The protocol makes the transport its own producer and writes a greeting, both in
``connectionMade``. The greeting cannot be encrypted before the handshake is done, so the
TLS transport pauses the producer until then; the producer, paused, reads nothing, so that
the handshake is never done. The handshake should go on whatever is paused above it.
"""

import signal

from _certificate import server_options
from twisted.internet import interfaces, protocol, reactor, ssl
from zope.interface import implementer


class Server(protocol.Protocol):
    def connectionMade(self):
        self.transport.registerProducer(self.transport, True)
        self.transport.write(b"hello")


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
