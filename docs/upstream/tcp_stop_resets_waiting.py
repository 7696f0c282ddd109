"""``stopListening`` resets the clients that the kernel has queued.

Their connections are complete, and what they have sent was acknowledged; the port closes
its socket without accepting them. They should be accepted before: else no
server under load can stop without an error at some client.
"""

import signal
import socket

from twisted.internet import protocol, reactor


class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


def stopped(_):
    reactor.callLater(0.1, reactor.stop)


signal.alarm(10)
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
client.sendall(b"hello")
reactor.callWhenRunning(lambda: port.stopListening().addCallback(stopped))
reactor.run()
try:
    print("mended: the client got", client.recv(100))
except ConnectionResetError:
    print("defect: the client was reset")
