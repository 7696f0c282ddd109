"""``loseConnection`` destroys what it has sent where the client still sends.

The protocol answers the first read with 200,000 bytes and calls ``loseConnection``. The
rest of the client's input is unread then, and to close a socket with unread input is to
reset it (RFC 2525, 2.17): the kernel throws away what it had taken for the client. The
client should get all of it, which takes a lingering close: FIN first, then read and
discard until the client's FIN or a deadline.
"""

import signal
import socket

from twisted.internet import protocol, reactor


class Server(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(b"x" * 200_000)
        self.transport.loseConnection()

    def connectionLost(self, reason):
        reactor.stop()


signal.alarm(10)
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
client.sendall(b"x" * 100_000)  # more than one read takes
reactor.run()
received = 0
try:
    while data := client.recv(65536):
        received += len(data)
except ConnectionResetError:
    pass
print("mended:" if received == 200_000 else "defect:", received, "of 200000 bytes came")
