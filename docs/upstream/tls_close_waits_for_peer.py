"""On TLS, ``loseConnection`` waits for the peer's close_notify for ever.

The client has shaken hands and then reads no more, as one that hangs or was unplugged. The
server's ``loseConnection`` sends its close_notify and waits for the client's before it
closes TCP; nothing bounds that. The server need not wait (RFC 8446, 6.1): it should send
its FIN behind its close_notify.
"""

import signal

from _certificate import server_options
from twisted.internet import interfaces, protocol, reactor, ssl
from zope.interface import implementer


@implementer(interfaces.IHandshakeListener)
class Server(protocol.Protocol):
    def handshakeCompleted(self):
        self.transport.loseConnection()
        reactor.callLater(0.3, self.report)

    def report(self):
        still = self.transport.connected
        print("defect: still open 0.3 s after loseConnection" if still else "mended: closed")
        reactor.stop()


@implementer(interfaces.IHandshakeListener)
class Client(protocol.Protocol):
    def handshakeCompleted(self):
        self.transport.pauseProducing()


signal.alarm(10)
server, client = map(protocol.ClientFactory.forProtocol, (Server, Client))
port = reactor.listenSSL(0, server, server_options(), interface="127.0.0.1")
reactor.connectSSL("127.0.0.1", port.getHost().port, client, ssl.CertificateOptions())
reactor.run()
