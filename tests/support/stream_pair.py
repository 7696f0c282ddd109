"""A stream of ours, server or client, and a raw peer at its other end."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred

from echosvc import EchoClient, EchoClientFactory, EchoFactory, EchoProtocol, Outcome
from echosvc.connection.phase import Phase
from tests.support.payload import MARK
from tests.support.raw_peer import RawPeer
from tests.support.reactor import in_thread, no_faults, until, within
from tests.support.sockets import connect
from tests.support.waiting import LIMIT


@dataclass
class Record:
    """What the connections of one factory have reported.

    :ivar outcomes: of those that have ended.
    :ivar lost: calls of ``connectionLost``.
    :ivar idles: calls of the hook ``idle``.
    :ivar ended: connections whose peer has ended its direction.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    lost: int = 0
    idles: int = 0
    ended: int = 0


class Server(EchoProtocol):
    """An echo that overrides nothing that keeps it from the fast path."""

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.record.lost += 1
        super().connectionLost(reason)

    def peer_ended(self) -> None:
        self.factory.record.ended += 1

    def idle(self, seconds: float) -> None:
        self.factory.record.idles += 1

    def ended(self, outcome: Outcome) -> None:
        self.factory.record.outcomes.append(outcome)


class Client(EchoClient):
    """A client that echoes, so that it can be asked whatever a server is asked."""

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.record.lost += 1
        super().connectionLost(reason)

    def idle(self, seconds: float) -> None:
        self.factory.record.idles += 1

    async def echo(self) -> None:
        """Answer until the peer ends, at the pace at which it takes the answers."""
        while piece := await self.receive():
            if not self.closing:
                await self.write(MARK + piece)
        self.factory.record.ended += 1
        if self.factory.finishes:
            self.finish()


@dataclass
class Pair:
    """A connected stream.

    :ivar stream: our side, an ``EchoProtocol`` or an ``EchoClient``.
    :ivar peer: the other side.
    :ivar dial: connects another peer to the same server; ``None`` where a client is tested.
    """

    stream: Any
    peer: RawPeer
    record: Record
    dial: Callable[[], RawPeer] | None = None


Contexts = Sequence[ssl.SSLContext]


@contextmanager
def _closing(peer: RawPeer) -> Iterator[RawPeer]:
    try:
        yield peer
    finally:
        peer.close()


@asynccontextmanager
async def server_pair(
    endpoint: Any,
    contexts: Contexts = (),
    answers_end: bool = False,
    *,
    protocol: type[Server] = Server,
    **settings: Any,
) -> AsyncIterator[Pair]:
    """A connection that a server has accepted, and the client.

    :param endpoint: where the server listens.
    :param contexts: the TLS layers of the client; this and ``answers_end`` as of :class:`RawPeer`.
    """
    factory = EchoFactory(**{"prefix": MARK, "idle_timeout": 0, "log": "quiet", **settings})
    factory.protocol, factory.record = protocol, Record()
    with no_faults() as faults:
        port = await endpoint.listen(factory)
        host = port.getHost()
        address = (host.host, host.port) if hasattr(host, "port") else os.fsdecode(host.name)

        def dial() -> RawPeer:
            return RawPeer(connect(address, receive_buffer=4096), contexts, answers_end)

        try:
            with _closing(await in_thread(dial)) as peer:
                await until(lambda: factory.count and factory.connections[0].phase is Phase.OPEN)
                yield Pair(factory.connections[0], peer, factory.record, dial)
        finally:
            await within(port.stopListening())
            factory.abort_all()
            await within(factory.when_idle())
            if protocol is not Server:
                faults.clear()  # which fails on purpose


@asynccontextmanager
async def client_pair(
    listener: socket.socket,
    endpoint: Any,
    contexts: Contexts = (),
    *,
    allow_half_open: bool = False,
    **settings: Any,
) -> AsyncIterator[Pair]:
    """A connection of a client, and the server.

    :param listener: where the server accepts.
    :param endpoint: connects the client to it.
    :param contexts: the TLS layers of the server, see :class:`RawPeer`.
    """
    factory = EchoClientFactory(allow_half_open=True, **settings)
    factory.protocol, factory.record, factory.finishes = Client, Record(), not allow_half_open

    def accept() -> RawPeer:
        return RawPeer(listener.accept()[0], contexts)

    with no_faults(), listener:
        listener.settimeout(LIMIT)
        accepting = in_thread(accept)
        client = await within(endpoint.connect(factory))
        closed = client.when_closed().addCallback(factory.record.outcomes.append)
        echoing = Deferred.fromCoroutine(client.echo()).addErrback(lambda _: None)
        with _closing(await accepting) as peer:
            try:
                yield Pair(client, peer, factory.record)
            finally:
                client.abort()
                await within(closed)
                await within(echoing)
