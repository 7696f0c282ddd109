"""``haproxy:`` closes a connection whose first segment is shorter than eight bytes.

TCP is a stream: a header may come in any pieces, though it seldom does. Twisted decides
by the first piece which version of the header it is, and gives up where that cannot be
told yet; later pieces may be of any size. It should wait for more.
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
client.sendall(b"PROXY")
reactor.callLater(0.1, client.sendall, b" TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello")
reactor.run()
reply = client.recv(100)
print("mended:" if reply == b"hello" else "defect:", len(reply), "of 5 bytes came back")
