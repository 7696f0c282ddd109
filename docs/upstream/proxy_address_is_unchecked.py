"""``haproxy:`` takes anything for an address, and ``getPeer`` gives it to the application.

Whatever stands between two blanks becomes ``getPeer().host``: line feeds and the escape
sequences of terminals, which the next log line may pass on. It should be an IP address of
the family that the header names, or the connection be closed.
"""

import signal
import socket

from twisted.internet import endpoints, protocol, reactor


class Server(protocol.Protocol):
    host = None

    def dataReceived(self, data):
        Server.host = self.transport.getPeer().host
        self.transport.loseConnection()

    def connectionLost(self, reason):
        reactor.stop()


signal.alarm(10)
client = socket.socket()
endpoint = endpoints.serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1")
listening = endpoint.listen(protocol.Factory.forProtocol(Server))
listening.addCallback(lambda port: client.connect(("127.0.0.1", port.getHost().port)))
client.sendall(b"PROXY TCP4 1\n\x1b[2J 192.0.2.2 1 2\r\nhello")
reactor.run()
print("mended: refused" if Server.host is None else f"defect: the peer is {Server.host!r}")
