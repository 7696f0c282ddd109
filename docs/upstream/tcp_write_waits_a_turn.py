"""``transport.write`` sends nothing before the reactor's next turn.

The socket could take the bytes at once. Instead the transport queues them, asks the
reactor to watch the descriptor for writing, and to stop watching it afterwards: two more
system calls and a second dispatch for each message. With an empty queue ``write``
could try ``send`` first.
"""

import signal
import socket

from twisted.internet import protocol, reactor


class Server(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")
        try:
            print("mended: sent at once:", client.recv(100))
        except BlockingIOError:
            print("defect: nothing was sent when write() returned")
        reactor.stop()


signal.alarm(10)
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
client.setblocking(False)
reactor.run()
