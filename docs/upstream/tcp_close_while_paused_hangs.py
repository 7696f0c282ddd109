"""``loseConnection`` never closes a transport that is its own paused producer.

``transport.registerProducer(transport, True)`` is the short way to back-pressure for
an echo: read no more while replies wait. ``loseConnection`` sends everything that
waits, then resumes the producer, which does nothing since the transport is closing,
and waits for it for ever. The client gets all bytes but never the FIN, and the
descriptor is in no set of the reactor any more. The connection should end once the
queue is empty, as it does where the same producer is not paused.
"""

import signal
import socket

from twisted.internet import protocol, reactor


class Server(protocol.Protocol):
    def connectionMade(self):
        self.transport.registerProducer(self.transport, True)
        self.transport.write(b"x" * 100_000)
        self.transport.loseConnection()
        reactor.callLater(0.3, self.report)

    def report(self):
        still = self.transport.connected
        print("defect: still open 0.3 s after loseConnection" if still else "mended: closed")
        reactor.stop()


signal.alarm(10)
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
reactor.run()
