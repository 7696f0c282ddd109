"""A TLS transport sends plain text when asked to ``writeSomeData``.

Whatever a ``ProtocolWrapper`` does not know it passes on to the transport it wraps. For
TLS that is the socket: a method of the socket, called on the TLS transport, works on the
wire behind TLS's back. A TLS transport should have no such method, or encrypt.
"""

import signal
import socket

from _certificate import server_options
from twisted.internet import protocol, reactor


class Server(protocol.Protocol):
    def connectionMade(self):
        reactor.callLater(0.1, reactor.stop)
        self.transport.writeSomeData(b"secret")


signal.alarm(10)
factory = protocol.Factory.forProtocol(Server)
port = reactor.listenSSL(0, factory, server_options(), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
reactor.run()
client.setblocking(False)
try:
    seen = client.recv(100)
except BlockingIOError:
    seen = b""
print("defect:" if b"secret" in seen else "mended:", "on the wire:", seen)
