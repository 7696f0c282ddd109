"""Waits of the client that are cancelled, and connecting."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
)

from echosvc import Outcome, connect
from echosvc.net.errors import describe_error
from tests.support.client import endpoint_of, fill, pair
from tests.support.payload import MIB, payload
from tests.support.reactor import in_thread, no_faults, turn, until, within
from tests.support.sockets import half_close, receive_exactly, reset
from tests.support.waiting import LIMIT


@pytest_twisted.ensureDeferred
async def test_cancelling_a_connect_ends_the_attempt():
    """To a listener whose queue is full, so that the kernel answers nothing."""
    with no_faults(), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname(), LIMIT):
            attempt = connect(endpoint_of(listener.getsockname()))
            await turn()
            assert not attempt.called
            attempt.cancel()
            with pytest.raises(ConnectingCancelledError):
                await within(attempt)


@pytest_twisted.ensureDeferred
async def test_cancelling_a_write_loses_no_data(where):
    data = payload(16 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        cancelled, kept = client.write(data), client.write(b"after")
        cancelled.cancel()
        with pytest.raises(CancelledError):
            await within(cancelled)
        reading = in_thread(receive_exactly, server, len(data) + 5)
        assert await within(kept) is None
        assert await reading == data + b"after"


@pytest_twisted.ensureDeferred
async def test_cancelling_a_receive_leaves_the_data_to_the_next(where):
    async with pair(where) as (client, server):
        first, second, third = (client.receive() for _ in range(3))
        second.cancel()
        with pytest.raises(CancelledError):
            await within(second)
        server.sendall(b"one")
        assert await within(first) == b"one"
        third.cancel()
        with pytest.raises(CancelledError):
            await within(third)
        server.sendall(b"two")
        assert await within(client.receive()) == b"two"


@pytest_twisted.ensureDeferred
async def test_cancelling_when_closed_leaves_the_connection_and_the_others_alone():
    async with pair() as (client, server):
        first, second = client.when_closed(), client.when_closed()
        first.cancel()
        with pytest.raises(CancelledError):
            await within(first)
        server.sendall(b"alive")
        assert await within(client.receive()) == b"alive"
        server.close()
        assert await within(second) is Outcome.FINISHED


def cancels_next(waiting: list[Deferred[Any]]) -> None:
    """Let the first, as it ends, cancel the second."""

    def cancel(result: object) -> object:
        waiting[1].cancel()
        return result

    waiting[0].addBoth(cancel)


async def ended(waiting: list[Deferred[Any]]) -> None:
    for each in waiting:
        each.addErrback(lambda _: None)
    await until(lambda: all(each.called for each in waiting), 3)


@pytest_twisted.ensureDeferred
async def test_a_write_that_cancels_the_next_leaves_no_other_hanging():
    async with pair(receive_buffer=4096) as (client, server):
        _, first = await fill(client)
        waiting = [first, *(client.write(b"x") for _ in range(3))]
        cancels_next(waiting)
        reading = in_thread(receive_exactly, server, client.bytes_out)
        await ended(waiting)
        await reading


@pytest.mark.parametrize("kind", ["write", "receive", "when_closed"])
@pytest_twisted.ensureDeferred
async def test_a_deferred_that_cancels_the_next_at_the_end_leaves_no_other_hanging(kind):
    async with pair(receive_buffer=4096) as (client, server):
        if kind == "write":
            _, first = await fill(client)
            waiting = [first, *(client.write(b"x") for _ in range(3))]
        else:
            waiting = [getattr(client, kind)() for _ in range(4)]
        cancels_next(waiting)
        reset(server)
        await ended(waiting)


@pytest_twisted.ensureDeferred
async def test_a_receive_that_cancels_the_next_at_the_servers_fin_leaves_no_other_hanging():
    async with pair() as (client, server):
        waiting = [client.receive() for _ in range(4)]
        cancels_next(waiting)
        half_close(server)
        await ended(waiting)
        assert await within(client.when_closed(), 5) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_connect_fails_with_econnrefused_where_nobody_listens():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError) as caught:
            await within(connect(endpoint_of(nobody.getsockname())))
    assert describe_error(caught.value) == "ECONNREFUSED"


@pytest_twisted.ensureDeferred
async def test_connect_fails_with_enoent_where_there_is_no_path(sockets):
    with pytest.raises(ConnectError) as caught:
        await within(connect(endpoint_of(f"{sockets}/nothing")))
    assert describe_error(caught.value) == "ENOENT"
