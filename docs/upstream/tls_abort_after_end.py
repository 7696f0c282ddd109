"""On TLS, ``abortConnection`` raises ``AttributeError`` once the connection is gone.

On TCP it does nothing then, and so may be called by a timer that is late. The TLS
transport has set its OpenSSL connection to ``None`` and calls it. It should do nothing.
"""

from twisted.internet import protocol, ssl
from twisted.internet.testing import StringTransport
from twisted.protocols import tls

factory = protocol.Factory.forProtocol(protocol.Protocol)
wrapping = tls.TLSMemoryBIOFactory(ssl.CertificateOptions(), True, factory)
transport = wrapping.buildProtocol(None)
transport.makeConnection(StringTransport())
transport.connectionLost(protocol.connectionDone)
try:
    transport.abortConnection()
    print("mended: nothing happened")
except AttributeError as error:
    print("defect: AttributeError:", error)
