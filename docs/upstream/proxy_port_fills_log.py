"""``haproxy:`` logs a traceback for a header whose port is no number.

Any peer can send one, as often as it likes. Other faults of a header close the connection
and are not logged; this one escapes as ``ValueError``, from ``dataReceived`` to the
reactor. It should close the connection, too.
"""

import signal
import socket

from twisted.internet import endpoints, protocol, reactor
from twisted.logger import LogLevel, globalLogPublisher


class Server(protocol.Protocol):
    def connectionLost(self, reason):
        reactor.stop()


signal.alarm(10)
levels = []
globalLogPublisher.addObserver(lambda event: levels.append(event["log_level"]))
client = socket.socket()
endpoint = endpoints.serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1")
listening = endpoint.listen(protocol.Factory.forProtocol(Server))
listening.addCallback(lambda port: client.connect(("127.0.0.1", port.getHost().port)))
client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 http 2\r\n")
reactor.run()
errors = levels.count(LogLevel.critical)
print("defect:" if errors else "mended:", errors, "errors in the log for a bad header")
