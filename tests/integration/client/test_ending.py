"""How a client's connection ends."""

from __future__ import annotations

import time

import pytest
import pytest_twisted
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionLost,
)

from echosvc import EchoClient, EchoClientFactory, Outcome
from tests.support.client import fill, pair, receive_to_end
from tests.support.payload import MIB, payload
from tests.support.reactor import in_thread, turn, until, within
from tests.support.sockets import half_close, receive_all, reset


@pytest_twisted.ensureDeferred
async def test_after_a_half_close_the_rest_can_be_received(where):
    async with pair(where) as (client, server):
        client.write(b"hello")
        client.finish()
        assert await in_thread(receive_all, server) == b"hello"
        data = payload(4 * MIB)
        sending = in_thread(lambda: (server.sendall(data), server.close()))
        assert await receive_to_end(client) == data
        await sending
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_a_write_that_waits_at_the_half_close_fires_when_it_has_left(where):
    data = payload(16 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        waiting = client.write(data)
        client.finish()
        reading = in_thread(receive_all, server)
        await within(reading)
        half_close(server)
        await within(client.when_closed())
        assert await within(waiting) is None


@pytest_twisted.ensureDeferred
async def test_the_servers_fin_ends_the_connection_after_what_was_written(where):
    data = payload(8 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        receiving = client.receive()
        client.write(data).addErrback(lambda _: None)
        half_close(server)
        assert await within(receiving) == b""
        assert await in_thread(receive_all, server) == data
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_a_write_after_the_servers_fin_fails_with_a_broken_pipe(where):
    async with pair(where) as (client, server):
        half_close(server)
        assert await within(client.receive()) == b""
        with pytest.raises(BrokenPipeError):
            await within(client.write(b"too late"))
        assert await in_thread(receive_all, server) == b""


@pytest_twisted.ensureDeferred
async def test_a_write_after_our_own_end_fails_with_a_broken_pipe():
    async with pair() as (client, server):
        client.finish()
        with pytest.raises(BrokenPipeError):
            await within(client.write(b"too late"))
        assert await in_thread(receive_all, server) == b""
        server.close()
        await within(client.when_closed())
        with pytest.raises(BrokenPipeError):
            await within(client.write(b"too late"))


@pytest_twisted.ensureDeferred
async def test_a_reset_fails_what_waits_after_what_had_come():
    async with pair() as (client, server):
        server.sendall(b"hello")
        await until(lambda: client.bytes_in)
        reset(server)
        assert await within(client.when_closed()) is Outcome.RESET
        assert await within(client.receive()) == b"hello"
        with pytest.raises(ConnectionLost):
            await within(client.receive())
        assert client.reason.check(ConnectionLost)


@pytest_twisted.ensureDeferred
async def test_a_reset_that_a_write_meets_first_is_no_proper_end():
    """The kernel tells of it once; to a read that comes after, it looks like a FIN."""
    async with pair() as (client, server):
        receiving = client.receive()
        reset(server)  # before the reactor's next turn,
        client.write(b"x").addErrback(lambda _: None)  # so that this is the first to know
        with pytest.raises(ConnectionLost):
            await within(receiving)
        assert await within(client.when_closed()) is Outcome.RESET
        assert not client.eof_received


ENDS = {
    "reset": (lambda client, server: reset(server), Outcome.RESET, ConnectionLost),
    "loss": (lambda client, server: server.close(), Outcome.RESET, ConnectionLost),
    "abort": (lambda client, server: client.abort(), Outcome.ABORTED, ConnectionAborted),
}


@pytest.mark.parametrize("end", ENDS)
@pytest_twisted.ensureDeferred
async def test_every_waiting_deferred_ends_with_the_connection(end):
    ending, outcome, reason = ENDS[end]
    async with pair(receive_buffer=4096) as (client, server):
        _, first = await fill(client)
        waiting = [first, client.write(b"x"), client.receive(), client.receive()]
        closed = [client.when_closed() for _ in range(2)]
        ending(client, server)
        for each in closed:
            assert await within(each) is outcome
        for each in waiting:
            with pytest.raises(reason):
                await within(each)
        assert await within(client.when_closed()) is outcome


@pytest_twisted.ensureDeferred
async def test_a_server_that_never_closes_is_given_up_after_linger(where):
    async with pair(where, linger=0.3) as (client, _):
        receiving = client.receive()
        client.finish()
        finished = time.monotonic()
        await within(client.when_closed())
        assert time.monotonic() - finished >= 0.29
        with pytest.raises(ConnectionAborted):
            await within(receiving)


@pytest_twisted.ensureDeferred
async def test_linger_begins_anew_with_whatever_comes():
    async with pair(linger=0.5) as (client, server):
        client.finish()
        for _ in range(5):
            server.sendall(b"x")
            assert await within(client.receive()) == b"x"
            await turn(0.2)
        half_close(server)
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_the_idle_hook_is_called_once_a_period_and_not_early():
    idles: list[float] = []

    class Waiting(EchoClient):
        def idle(self, seconds: float) -> None:
            idles.append(time.monotonic())

    factory = EchoClientFactory(idle_timeout=0.3)
    factory.protocol = Waiting
    before = time.monotonic()
    async with pair(factory=factory) as (client, server):
        await until(lambda: idles)
        assert idles[0] - before >= 0.3
        server.sendall(b"x")
        before = time.monotonic()
        assert await within(client.receive()) == b"x"
        await until(lambda: len(idles) > 1)
        assert idles[1] - before >= 0.3
        assert not client.closing
