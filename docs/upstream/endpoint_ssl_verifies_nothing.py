"""The client string ``ssl:`` verifies no certificate.

Unless it names a directory of authorities or a host name, it accepts whatever certificate
anybody shows. ``tls:`` verifies; ``ssl:`` should as well, or be gone.
"""

import signal

from _certificate import server_options
from twisted.internet import endpoints, interfaces, protocol, reactor
from zope.interface import implementer


@implementer(interfaces.IHandshakeListener)
class Client(protocol.Protocol):
    done = False

    def handshakeCompleted(self):
        self.done = True
        self.transport.loseConnection()

    def connectionLost(self, reason):
        print("defect: an unknown certificate was accepted" if self.done else "mended: refused")
        reactor.stop()


signal.alarm(10)
server = protocol.Factory.forProtocol(protocol.Protocol)
port = reactor.listenSSL(0, server, server_options(), interface="127.0.0.1")
where = f"ssl:127.0.0.1:{port.getHost().port}"
endpoints.clientFromString(reactor, where).connect(protocol.Factory.forProtocol(Client))
reactor.run()
