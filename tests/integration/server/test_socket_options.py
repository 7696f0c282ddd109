"""What the kernel is told of each connection."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted

from tests.support.payload import MARK
from tests.support.reactor import in_thread, serving, until
from tests.support.recording import Recording
from tests.support.sockets import connect, exchange


@pytest_twisted.ensureDeferred
async def test_keep_alive_sets_the_delay_an_interval_of_a_second_and_10_probes():
    factory = Recording(keep_alive=7)
    async with serving(factory) as address:
        with connect(address):
            await until(lambda: factory.count)
            handle = factory.only.transport.getHandle()
            assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            tcp = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
            values = [handle.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in tcp]
    assert values == [7, 1, 10]


@pytest.mark.parametrize("nagle", [False, True])
@pytest_twisted.ensureDeferred
async def test_nagle_and_keep_alive_are_off_where_they_are_to_be(nagle):
    factory = Recording(nagle=nagle, keep_alive=0)
    async with serving(factory) as address:
        with connect(address):
            await until(lambda: factory.count)
            handle = factory.only.transport.getHandle()
            assert bool(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) is not nagle
            assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


@pytest_twisted.ensureDeferred
async def test_keep_alive_begins_after_a_minute_by_default():
    factory = Recording()
    async with serving(factory) as address:
        with connect(address):
            await until(lambda: factory.count)
            handle = factory.only.transport.getHandle()
            assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


@pytest_twisted.ensureDeferred
async def test_tcp_options_do_no_harm_on_unix_sockets(sockets):
    factory = Recording(prefix=MARK, keep_alive=7, nagle=True)
    async with serving(factory, f"unix:{sockets}/s") as address:
        assert await in_thread(exchange, address, b"hello") == MARK + b"hello"
