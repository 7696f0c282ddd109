"""The client string ``tcp:`` finds no server that has an IPv6 address only.

A name is looked up for IPv4 alone. ``HostnameEndpoint`` looks up both and tries what it
finds; ``tcp:`` should use it.
"""

from twisted.internet import endpoints, reactor

endpoint = endpoints.clientFromString(reactor, "tcp:localhost:80")
only = isinstance(endpoint, endpoints.TCP4ClientEndpoint)
print("defect:" if only else "mended:", "tcp: gives", type(endpoint).__name__)
