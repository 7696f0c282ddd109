"""A reply is thrown away when the client's FIN comes together with its data.

The client sends five bytes and its FIN at once, as ``printf hello | nc -N`` does. The
protocol answers in ``dataReceived``; the answer waits in the transport's queue for the
reactor's next turn. In that turn the reactor reads first, meets the FIN, and calls
``connectionLost`` for a protocol that does not provide ``IHalfCloseableProtocol``: the
queue is dropped. The client should get five bytes, then the server's FIN.
"""

import signal
import socket

from twisted.internet import protocol, reactor


class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

    def connectionLost(self, reason):
        reactor.stop()


signal.alarm(10)
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
client.sendall(b"hello")
client.shutdown(socket.SHUT_WR)
reactor.run()
reply = client.recv(100)
print("mended:" if reply == b"hello" else "defect:", len(reply), "of 5 bytes came back")
