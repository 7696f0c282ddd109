"""``haproxy:`` waits for the rest of a header for ever.

The client sends a part of it and falls silent. The application cannot bound that: to its
protocol the connection looks as if it were complete, and silent clients may be welcome to
it. There should be a time limit for the header; here no timer at all is running.
"""

import signal
import socket

from twisted.internet import endpoints, protocol, reactor


def report():
    timers = reactor.getDelayedCalls()
    print("mended:" if timers else "defect:", len(timers), "timers wait for the header")
    reactor.stop()


signal.alarm(10)
client = socket.socket()
endpoint = endpoints.serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1")
listening = endpoint.listen(protocol.Factory.forProtocol(protocol.Protocol))
listening.addCallback(lambda port: client.connect(("127.0.0.1", port.getHost().port)))
client.sendall(b"PROXY TCP4")
reactor.callLater(0.1, report)
reactor.run()
