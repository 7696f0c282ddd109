"""On TLS, ``loseWriteConnection`` closes TCP's direction without a close_notify.

The TLS transport does not know the method and hands it to the socket below. The peer
cannot tell that end from a stream that somebody has cut (RFC 8446, 6.1), and takes it for
a broken connection. A close_notify should go out before the FIN.
"""

import signal

from _certificate import server_options
from twisted.internet import error, interfaces, protocol, reactor, ssl
from zope.interface import implementer


@implementer(interfaces.IHandshakeListener)
class Server(protocol.Protocol):
    def handshakeCompleted(self):
        self.transport.loseWriteConnection()


class Client(protocol.Protocol):
    def connectionLost(self, reason):
        word = "mended:" if reason.check(error.ConnectionDone) else "defect:"
        print(word, "the client was told:", reason.type.__name__)
        reactor.stop()


signal.alarm(10)
server, client = map(protocol.ClientFactory.forProtocol, (Server, Client))
port = reactor.listenSSL(0, server, server_options(), interface="127.0.0.1")
reactor.connectSSL("127.0.0.1", port.getHost().port, client, ssl.CertificateOptions())
reactor.run()
