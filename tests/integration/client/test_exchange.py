"""The client writes and receives, on real sockets."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from echosvc import EchoClient, Outcome, connect
from tests.support.client import (
    endpoint_of,
    fill,
    pair,
    quiet,
    receive_to_end,
    server_words,
    started,
)
from tests.support.payload import HIGH_WATER, MARK, MIB, READ, payload
from tests.support.reactor import in_thread, serving, until, within
from tests.support.sockets import half_close, receive_all, receive_exactly, reset
from tests.support.waiting import LIMIT


async def write_all(client: EchoClient, data: bytes) -> int:
    """Write with back-pressure, then finish; give the most that was queued."""
    most = 0
    for start in range(0, len(data), READ):
        written = client.write(data[start : start + READ])
        most = max(most, client.queued)
        await within(written)
    client.finish()
    return most


@pytest_twisted.ensureDeferred
async def test_32_mib_go_there_and_back_with_little_queued_on_either_side(where):
    data = payload(32 * MIB)
    async with serving(quiet(), server_words(where)) as address:
        client = await within(connect(endpoint_of(address)))
        writing = started(write_all(client, data))
        received = await receive_to_end(client)
        assert await writing <= HIGH_WATER + READ
        assert await within(client.when_closed()) is Outcome.FINISHED
    assert received.replace(b"\xff", b"") == data
    assert client.bytes_out == len(data)
    assert client.bytes_in == len(received)


@pytest_twisted.ensureDeferred
async def test_many_clients_at_once_each_get_their_own(where):
    async with serving(quiet(), server_words(where)) as address:
        attempts = [connect(endpoint_of(address)) for _ in range(20)]
        clients = [await within(attempt) for attempt in attempts]
        for number, client in enumerate(clients):
            client.write(b"client %d" % number)
            client.finish()
        for number, client in enumerate(clients):
            assert await receive_to_end(client) == MARK + b"client %d" % number
            assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_the_client_knows_both_addresses():
    async with serving(quiet()) as address:
        client = await within(connect(endpoint_of(address), nagle=True, keep_alive=9))
        assert client.remote == f"127.0.0.1:{address[1]}"
        assert client.local.startswith("127.0.0.1:")
        handle = client.transport.getHandle()
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 9
        client.finish()
        await within(client.when_closed())


@pytest_twisted.ensureDeferred
async def test_a_write_waits_while_the_server_does_not_read(where):
    data = payload(16 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        assert client.write(b"first").called
        waiting = client.write(data)
        assert not waiting.called
        second = client.write(b"last")
        reading = in_thread(receive_exactly, server, len(data) + 9)
        await within(waiting)
        await within(second)
        assert client.queued == 0
        assert await reading == b"first" + data + b"last"


@implementer(IPushProducer)
class Source:
    """Writes whenever it may, a piece a turn."""

    def __init__(self, client: EchoClient, data: bytes) -> None:
        self.calls: list[str] = []
        self.peak = 0
        self.done: Deferred[None] = Deferred()
        self._client = client
        self._data = memoryview(data)
        self._paused = False
        client.registerProducer(self, True)
        reactor.callLater(0, self._produce)

    def _produce(self) -> None:
        if self._paused or self.done.called:
            return  # paused and resumed, there are two of us
        if not self._data:
            self._client.unregisterProducer()
            self._client.finish()
            self.done.callback(None)
            return
        piece, self._data = bytes(self._data[:READ]), self._data[READ:]
        self._client.write(piece)
        self.peak = max(self.peak, self._client.queued)
        reactor.callLater(0, self._produce)

    def pauseProducing(self) -> None:
        self.calls.append("pause")
        self._paused = True

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        self._paused = False
        reactor.callLater(0, self._produce)

    def stopProducing(self) -> None:
        self.calls.append("stop")
        self._paused = True


@pytest_twisted.ensureDeferred
async def test_a_push_producer_is_held_up_while_the_server_does_not_read(where):
    data = payload(24 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        source = Source(client, data)
        await until(lambda: source.calls)
        assert source.calls == ["pause"]
        assert client.bytes_out < len(data)
        reading = in_thread(receive_all, server)
        await within(source.done)
        assert await reading == data
    assert source.peak <= HIGH_WATER + READ
    assert source.calls[:2] == ["pause", "resume"]
    assert "stop" not in source.calls


@pytest_twisted.ensureDeferred
async def test_a_push_producer_is_stopped_when_the_connection_ends():
    async with pair(receive_buffer=4096) as (client, server):
        source = Source(client, payload(24 * MIB))
        await until(lambda: source.calls)
        reset(server)
        await within(client.when_closed())
        assert source.calls == ["pause", "stop"]


@pytest_twisted.ensureDeferred
async def test_a_producer_that_comes_while_much_waits_is_paused_at_once():
    async with pair(receive_buffer=4096) as (client, _):
        await fill(client)
        assert Source(client, b"").calls == ["pause"]


@pytest_twisted.ensureDeferred
async def test_a_producer_that_comes_too_late_is_stopped_at_once():
    async with pair() as (client, _):
        client.finish()
        assert Source(client, b"").calls == ["stop"]


@pytest_twisted.ensureDeferred
async def test_pull_producers_and_second_producers_are_refused():
    async with pair() as (client, _):
        with pytest.raises(ValueError, match="push"):
            client.registerProducer(object(), False)
        source = Source(client, b"x")
        with pytest.raises(RuntimeError):
            client.registerProducer(source, True)
        await within(source.done)


@pytest_twisted.ensureDeferred
async def test_several_waiting_receivers_get_the_pieces_in_order(where):
    async with pair(where) as (client, server):
        waiting = [client.receive() for _ in range(3)]
        for number, receiver in enumerate(waiting):
            assert not receiver.called
            server.sendall(b"piece %d" % number)
            assert await within(receiver) == b"piece %d" % number


@pytest_twisted.ensureDeferred
async def test_what_nobody_asked_for_waits_for_the_next_receivers():
    async with pair() as (client, server):
        for size in (3, 6):
            server.sendall(b"abc")
            await until(lambda size=size: client.bytes_in == size)
        server.close()
        await until(lambda: client.eof_received)
        assert await receive_to_end(client) == b"abcabc"
        assert await within(client.receive()) == b"", "and so for ever"


@pytest_twisted.ensureDeferred
async def test_a_server_that_floods_is_held_up_and_nothing_is_lost(where):
    data = payload(24 * MIB)
    async with pair(where) as (client, server):
        server.setblocking(False)
        sent = 0

        def flooded() -> bool:
            nonlocal sent
            before = sent
            with suppress(BlockingIOError):
                while sent < len(data):
                    sent += server.send(data[sent : sent + READ])
            return sent == before and client.bytes_in >= HIGH_WATER

        await until(flooded)
        assert sent < len(data), "the server is never held up"
        assert sum(map(len, client._receive_buffer)) <= HIGH_WATER + READ
        assert client.bytes_in <= HIGH_WATER + READ
        server.settimeout(LIMIT)
        sending = in_thread(lambda: (server.sendall(data[sent:]), half_close(server)))
        assert await receive_to_end(client) == data
        await sending
