"""A connection that was taken over from Twisted, on the real reactor."""

from __future__ import annotations

import socket
from typing import Any

import pytest_twisted
from twisted.internet.protocol import ClientFactory, Protocol

from echosvc.net.attempts import AttemptReactor
from echosvc.net.client_stream import ClientStream
from echosvc.net.epoll import make_group
from tests.support.reactor import no_faults, until


class Owner:
    """Notes how its stream ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def received(self, data: bytes) -> None:
        raise AssertionError(data)

    def writable(self) -> None:
        pass

    def eof_received(self) -> None:
        self.ends.append("FIN")

    def lost(self, error: BaseException | None) -> None:
        self.ends.append(type(error).__name__)


class Taking(Protocol):
    """Has its connection taken over as soon as it is made, and sends at once."""

    def connectionMade(self) -> None:
        stream = ClientStream(self.transport, self.factory.group)
        stream.owner = self.factory.owner
        self.factory.stream = stream
        stream.send(b"~")


def close_next(listener: socket.socket) -> None:
    """Close the connection that waits; the next byte on it is answered by RST."""
    listener.accept()[0].close()


@pytest_twisted.ensureDeferred
async def test_a_stream_learns_its_end_where_the_peer_closed_before_the_connection_was_seen() -> (
    None
):
    from twisted.internet import reactor

    factory: Any = ClientFactory.forProtocol(Taking)
    factory.noisy, factory.owner = False, Owner()
    factory.group = make_group(reactor, lambda _: None)
    with no_faults() as faults, socket.create_server(("127.0.0.1", 0)) as listener:
        AttemptReactor(reactor).connectTCP("127.0.0.1", listener.getsockname()[1], factory)
        reactor.callLater(0, close_next, listener)  # after the attempt, and before its event
        await until(lambda: factory.owner.ends)
        factory.stream.abort()
        assert not faults
