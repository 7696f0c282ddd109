"""``haproxy:`` refuses the shortest valid header, ``PROXY UNKNOWN`` and CR LF.

A proxy sends it for connections of its own, such as health checks; whatever else a line
that says UNKNOWN holds may be left out (proxy-protocol.txt, 2.1). Twisted's parser looks
for a second blank, and closes the connection. It should serve the client, with the
connection's own addresses.
"""

import signal
import socket

from twisted.internet import endpoints, protocol, reactor


class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)
        self.transport.loseConnection()

    def connectionLost(self, reason):
        reactor.stop()


signal.alarm(10)
client = socket.socket()
endpoint = endpoints.serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1")
listening = endpoint.listen(protocol.Factory.forProtocol(Echo))
listening.addCallback(lambda port: client.connect(("127.0.0.1", port.getHost().port)))
client.sendall(b"PROXY UNKNOWN\r\nhello")
reactor.run()
reply = client.recv(100)
print("mended:" if reply == b"hello" else "defect:", len(reply), "of 5 bytes came back")
