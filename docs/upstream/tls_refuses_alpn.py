"""A server with ``CertificateOptions`` refuses every client that offers a protocol.

Browsers and curl always offer some by ALPN. The server was given no
``acceptableProtocols``, so it should go on without one, as servers do that do not know the
extension. Twisted sets OpenSSL's callback all the same, and has it refuse whatever is not
in the empty list; ``SSL.NO_OVERLAPPING_PROTOCOLS`` would let the handshake go on.
"""

import signal

from _certificate import server_options
from twisted.internet import interfaces, protocol, reactor, ssl
from zope.interface import implementer


@implementer(interfaces.IHandshakeListener)
class Client(protocol.Protocol):
    done = False

    def handshakeCompleted(self):
        self.done = True
        self.transport.loseConnection()

    def connectionLost(self, reason):
        word = "mended: the client was served:" if self.done else "defect: the client was refused:"
        print(word, reason.value)
        reactor.stop()


signal.alarm(10)
server, client = map(protocol.ClientFactory.forProtocol, (protocol.Protocol, Client))
port = reactor.listenSSL(0, server, server_options(), interface="127.0.0.1")
offer = ssl.CertificateOptions(acceptableProtocols=[b"http/1.1"])
reactor.connectSSL("127.0.0.1", port.getHost().port, client, offer)
reactor.run()
