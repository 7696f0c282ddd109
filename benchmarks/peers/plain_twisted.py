"""The textbook's echo on Twisted, with the prefix: what the service here is compared to.

Usage: ``plain_twisted.py ADDRESS [CERTIFICATE KEY]``; ADDRESS is 127.0.0.1:PORT or a path.
"""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo


class PrefixedEcho(Echo):
    """Answers each read with the prefix and the data."""

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(b"Sending: " + data)  # type: ignore[union-attr]


def endpoint(address: str, *files: str) -> str:
    """The endpoint string for an address."""
    if address.startswith("/"):
        return f"unix:{address}"
    port = address.rpartition(":")[2]
    if files:
        return f"ssl:{port}:interface=127.0.0.1:certKey={files[0]}:privateKey={files[1]}"
    return f"tcp:{port}:interface=127.0.0.1:backlog=511"


serverFromString(reactor, endpoint(*sys.argv[1:])).listen(Factory.forProtocol(PrefixedEcho))
reactor.run()
