"""``optionsForClientTLS`` believes a certificate without names for every host.

The callback that compares the names refuses where they are others, by service_identity's
``VerificationError``. Where there are none, or one cannot be read, that raises another
exception; the callback logs it, and lets OpenSSL go on. Anything raised should refuse.
"""

import signal

from _certificate import server_options, trusting
from twisted.internet import endpoints, interfaces, protocol, reactor, ssl
from zope.interface import implementer


@implementer(interfaces.IHandshakeListener)
class Client(protocol.Protocol):
    done = False

    def handshakeCompleted(self):
        self.done = True
        self.transport.loseConnection()

    def connectionLost(self, reason):
        print("defect: believed for bank.example" if self.done else "mended: refused")
        reactor.stop()


signal.alarm(10)
options = server_options()
server = protocol.Factory.forProtocol(protocol.Protocol)
port = reactor.listenSSL(0, server, options, interface="127.0.0.1")
below = endpoints.HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
client = ssl.optionsForClientTLS("bank.example", trustRoot=trusting(options))
endpoints.wrapClientTLS(client, below).connect(protocol.Factory.forProtocol(Client))
reactor.run()
