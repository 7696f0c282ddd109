"""Every wrapper of ``twisted.protocols.policies`` hides ``IHalfCloseableProtocol``.

The protocol provides it, to answer data that comes together with the client's FIN.
``ProtocolWrapper.makeConnection`` makes the wrapper provide the interfaces of the
transport, never those of the wrapped protocol; so the reactor does not know, calls
``connectionLost`` at the FIN, and the answer is dropped. The wrapper should provide
what its protocol provides, and pass it on: the client should get five bytes.
"""

import signal
import socket

from twisted.internet import interfaces, protocol, reactor
from twisted.protocols import policies
from zope.interface import implementer


@implementer(interfaces.IHalfCloseableProtocol)
class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

    def readConnectionLost(self):
        self.transport.loseConnection()

    def connectionLost(self, reason):
        reactor.stop()


signal.alarm(10)
factory = policies.WrappingFactory(protocol.Factory.forProtocol(Echo))
port = reactor.listenTCP(0, factory, interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
client.sendall(b"hello")
client.shutdown(socket.SHUT_WR)
reactor.run()
reply = client.recv(100)
print("mended:" if reply == b"hello" else "defect:", len(reply), "of 5 bytes came back")
