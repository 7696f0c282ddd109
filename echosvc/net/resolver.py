"""Name resolution that does not delay the end of the process.

The reactor's own resolver runs getaddrinfo() in the reactor's thread pool, and the reactor
waits for these threads when it stops: 10 s and more if no DNS server answers, whatever
time-out has expired.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorFromThreads,
    IResolutionReceiver,
)
from zope.interface import implementer

_KINDS = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}


@implementer(IHostResolution)
class _Resolution:
    """A look-up that runs in a thread."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Do nothing: getaddrinfo() cannot be interrupted."""


@implementer(IHostnameResolver)
class DaemonResolver:
    """Resolve by getaddrinfo(), each name in a daemon thread."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Resolve; after an error the name has no addresses."""

        def look_up() -> None:
            addresses = _addresses(hostName, portNumber, transportSemantics)
            wanted = [each for each in addresses if type(each) in (addressTypes or [type(each)])]
            self._reactor.callFromThread(_deliver, resolutionReceiver, wanted)

        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        threading.Thread(target=look_up, daemon=True).start()
        return resolution


def _addresses(host: str, port: int, transport: str) -> list[Any]:
    kind = socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except (OSError, UnicodeError):
        return []
    return [_KINDS[entry[0]](transport, *entry[4]) for entry in found if entry[0] in _KINDS]


def _deliver(receiver: IResolutionReceiver, addresses: list[Any]) -> None:
    for each in addresses:
        receiver.addressResolved(each)
    receiver.resolutionComplete()
