"""What the tests of the client share."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint

from echosvc import EchoClient, EchoFactory, connect
from echosvc.cli.send_session import SendOptions, SendSession
from echosvc.endpoints import client_endpoint
from tests.support.payload import MARK, READ, payload
from tests.support.reactor import in_thread, no_faults, turn, until, within
from tests.support.waiting import LIMIT


def quiet(**settings: Any) -> EchoFactory:
    return EchoFactory(**{"prefix": MARK, "idle_timeout": 0, "log": "quiet", **settings})


def endpoint_of(address: Any) -> Any:
    if isinstance(address, tuple):
        return TCP4ClientEndpoint(reactor, *address)
    return UNIXClientEndpoint(reactor, address)


def listening(where: str, receive_buffer: int = 0) -> socket.socket:
    """A plain listener: the kernel alone connects whoever comes."""
    family = socket.AF_INET if where == "tcp" else socket.AF_UNIX
    listener = socket.socket(family)
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind(("127.0.0.1", 0) if where == "tcp" else where)
    listener.listen()
    listener.settimeout(LIMIT)
    return listener


def accepted(listener: socket.socket) -> socket.socket:
    server, _ = listener.accept()
    server.settimeout(LIMIT)
    return server


@asynccontextmanager
async def pair(
    where: str = "tcp", *, receive_buffer: int = 0, factory: Any = None, **settings: Any
) -> AsyncIterator[tuple[EchoClient, socket.socket]]:
    """A client, and the plain socket at the other end."""
    with no_faults(), listening(where, receive_buffer) as listener:
        endpoint = endpoint_of(listener.getsockname())
        attempt = endpoint.connect(factory) if factory else connect(endpoint, **settings)
        client = await within(attempt)
        with accepted(listener) as server:
            try:
                yield client, server
            finally:
                client.abort()
                await within(client.when_closed())


def server_words(where: str) -> str:
    return "tcp:0:interface=127.0.0.1" if where == "tcp" else f"unix:{where}"


async def receive_to_end(client: EchoClient) -> bytes:
    pieces = []
    while piece := await within(client.receive()):
        pieces.append(piece)
    return b"".join(pieces)


def started(coroutine: Any) -> Deferred[Any]:
    return within(Deferred.fromCoroutine(coroutine))


async def fill(client: EchoClient) -> tuple[int, Deferred[None]]:
    """Write until a write has to wait; give how much that was, and the last Deferred."""
    written = 0
    while True:
        waiting = client.write(payload(READ))
        written += READ
        if not waiting.called:
            return written, waiting
        await turn()


def talk(address: Any, out: Any, **options: Any) -> SendSession:
    words = "tcp:{}:{}".format(*address) if isinstance(address, tuple) else f"unix:{address}"
    target = client_endpoint(reactor, words)
    return SendSession(reactor, target, "Dwarves", SendOptions(**options), out)


@asynccontextmanager
async def talking(
    messages: list[bytes], out: Any, **manner: Any
) -> AsyncIterator[tuple[Deferred[None], socket.socket]]:
    """A conversation with a plain socket; gives its Deferred and that socket."""
    with no_faults(), listening("tcp", 4096) as listener:
        running = started(talk(listener.getsockname(), out, **manner).run(messages))
        with await in_thread(accepted, listener) as server:
            yield running, server
        await until(lambda: running.called)
