"""On TLS, a reply is thrown away when the client's close_notify comes with its data.

The client sends five bytes and its close_notify in one segment. The server's
``BufferingTLSTransport`` keeps the answer until the reactor's next turn, meets the
close_notify in this one, answers it, and drops the answer. ``TLSMemoryBIOProtocol``, the
only one until 23.10, sends it. The client should get five bytes: in TLS 1.3 a close_notify
ends one direction only (RFC 8446, 6.1).
"""

import signal

from _certificate import server_options
from twisted.internet import interfaces, protocol, reactor, ssl
from zope.interface import implementer


class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


@implementer(interfaces.IHandshakeListener)
class Client(protocol.Protocol):
    reply = b""

    def handshakeCompleted(self):
        self.transport.write(b"hello")
        self.transport.loseConnection()

    def dataReceived(self, data):
        Client.reply += data

    def connectionLost(self, reason):
        reactor.stop()


signal.alarm(10)
server, client = map(protocol.ClientFactory.forProtocol, (Echo, Client))
port = reactor.listenSSL(0, server, server_options(), interface="127.0.0.1")
reactor.connectSSL("127.0.0.1", port.getHost().port, client, ssl.CertificateOptions())
reactor.run()
reply = Client.reply
print("mended:" if reply == b"hello" else "defect:", len(reply), "of 5 bytes came back")
