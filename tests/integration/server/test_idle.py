"""Idle connections: reported once, closed where asked."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress

import pytest_twisted

from echosvc import EchoProtocol
from tests.support.payload import KIB, MARK, MIB, payload
from tests.support.reactor import in_thread, serving, turn, until
from tests.support.recording import Recording, answering, stalled
from tests.support.sockets import connect, reader, receive_exactly


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_is_reported_once_and_not_early():
    """That there is no second report is seen when the second connection has had its."""
    factory = Recording(idle_timeout=0.3)
    async with serving(factory) as address:
        before = time.monotonic()
        with connect(address):
            await until(lambda: factory.idles)
            assert factory.idles[0][1] - before >= 0.3
            with connect(address):
                await until(lambda: len(factory.idles) > 1)
                assert [number for number, _ in factory.idles] == [1, 2]
                assert factory.count == 2


@pytest_twisted.ensureDeferred
async def test_every_read_begins_a_new_idle_period():
    factory = Recording(idle_timeout=0.4, prefix=MARK)
    async with serving(factory) as address:
        with connect(address) as client:
            for _ in range(4):
                client.sendall(b"x")
                sent = time.monotonic()
                assert await in_thread(receive_exactly, client, 10) == MARK + b"x"
                await turn(0.2)
            assert not factory.idles
            await until(lambda: factory.idles)
            assert factory.idles[0][1] - sent >= 0.4
            client.sendall(b"x")
            sent = time.monotonic()
            await until(lambda: len(factory.idles) > 1)
            assert factory.idles[1][1] - sent >= 0.4


def sip(client: socket.socket, connection: EchoProtocol) -> Callable[[], bool]:
    """Read on until the server could send more."""
    before = connection.queued
    client.setblocking(False)

    def moved() -> bool:
        with suppress(BlockingIOError):
            while connection.queued == before:
                client.recv(MIB)
        return connection.queued < before

    return moved


@pytest_twisted.ensureDeferred
async def test_a_reader_that_drains_slowly_is_not_idle_and_one_that_stalls_is():
    factory = Recording(idle_timeout=0.8)
    factory.protocol = answering(payload(64 * MIB))
    async with serving(factory) as address:
        with connect(address, receive_buffer=512 * KIB) as client:
            client.sendall(b"x")
            await until(lambda: factory.stuck)
            for _ in range(12):
                await until(sip(client, factory.only))
                moved = time.monotonic()
                await turn(0.1)
            assert not factory.idles
            assert factory.only.queued
            await until(lambda: factory.idles)
            assert factory.idles[0][1] - moved >= 0.8
    assert len(factory.idles) == 1


@pytest_twisted.ensureDeferred
async def test_a_client_that_never_reads_is_reported_once():
    factory = Recording(idle_timeout=0.3)
    async with serving(factory) as address:
        with reader(address) as client:
            await stalled(factory, client)
            await until(lambda: factory.idles)
            with connect(address):
                await until(lambda: len(factory.idles) > 1)
            assert [number for number, _ in factory.idles] == [1, 2]
