"""An exception in ``dataReceived`` throws away what was written before it.

The protocol answers a first message, and fails on the second of the same read. The
reactor closes the connection at once and drops the transport's queue, the good answer
with it. What was written should be sent first, as ``loseConnection`` does.
"""

import signal
import socket

from twisted.internet import protocol, reactor


class Server(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(b"hello")
        raise ValueError("this traceback is intended")

    def connectionLost(self, reason):
        reactor.stop()


signal.alarm(10)
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
client.sendall(b"hello?")
reactor.run()
reply = client.recv(100)
print("mended:" if reply == b"hello" else "defect:", len(reply), "of 5 bytes came back")
