"""Limits on real sockets: of connections, networks, stalls and lifetimes."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress

import pytest_twisted

from echosvc import Outcome
from tests.support.process import running
from tests.support.reactor import in_thread, serving, turn, until
from tests.support.recording import Recording, logged_lines
from tests.support.sockets import (
    connect,
    exchange,
    is_reset_or_end,
    receive_all,
    receive_exactly,
)
from tests.support.waiting import LIMIT


@pytest_twisted.ensureDeferred
async def test_who_finds_no_place_waits_and_is_served_when_one_is_free():
    factory = Recording(max_connections=2)
    async with serving(factory) as address:
        with ExitStack() as stack:
            first, *others = [stack.enter_context(connect(address)) for _ in range(4)]
            for client in (first, *others):
                client.sendall(b"x")
            await until(lambda: factory.accepted == 2)
            for _ in range(5):
                await turn(0.01)
            assert factory.accepted == 2
            first.shutdown(socket.SHUT_WR)
            assert await in_thread(receive_all, first) == b"Sending: x"
            await until(lambda: factory.accepted == 3)
            for client in others[:2]:
                assert await in_thread(receive_exactly, client, 10) == b"Sending: x"
            others[0].close()
            assert await in_thread(receive_exactly, others[2], 10) == b"Sending: x"
        await until(lambda: not factory.count)
    assert factory.admission.refused == 0


@pytest_twisted.ensureDeferred
async def test_who_finds_no_place_is_closed_where_that_is_asked_for():
    factory = Recording(max_connections=1, over_limit="refuse")
    with logged_lines() as said:
        async with serving(factory) as address:
            with connect(address) as first:
                first.sendall(b"x")
                assert await in_thread(receive_exactly, first, 10) == b"Sending: x"
                for _ in range(20):
                    with connect(address) as other:
                        assert await in_thread(is_reset_or_end, other)
                first.sendall(b"y")
                assert await in_thread(receive_exactly, first, 10) == b"Sending: y"
            await until(lambda: not factory.count)
            assert await in_thread(exchange, address, b"z") == b"Sending: z"
    assert factory.admission.refused == 20
    assert 1 <= len([line for line in said if "limit of 1 connections" in line]) < 10


def test_a_stop_at_the_limit_ends_and_every_connection_says_its_end():
    with running("--max-connections", "3", "--drain", "1", "--linger", "0.1") as server:
        clients = [server.connect() for _ in range(6)]
        server.wait_lines("Client connection", 3)
        server.wait_line("at the limit of 3 connections")
        server.signal()
        server.wait()
        for client in clients:
            client.close()
    assert not server.matching("Traceback")
    assert len(server.matching("Client disconnected")) == len(server.matching("Client connection"))


@pytest_twisted.ensureDeferred
async def test_one_peer_takes_no_more_than_its_places():
    factory = Recording(max_per_peer=2)
    async with serving(factory) as address:
        with connect(address) as one, connect(address) as two, connect(address) as three:
            for client in (one, two):
                client.sendall(b"x")
                assert await in_thread(receive_exactly, client, 10) == b"Sending: x"
            assert await in_thread(is_reset_or_end, three)
            other = socket.create_connection(address, LIMIT, ("127.0.0.9", 0))
            with other:
                other.sendall(b"x")
                assert await in_thread(receive_exactly, other, 10) == b"Sending: x"
        await until(lambda: not factory.count)
        assert await in_thread(exchange, address, b"x") == b"Sending: x"


@pytest_twisted.ensureDeferred
async def test_a_denied_client_gets_nothing_and_others_do():
    factory = Recording(deny=("127.0.0.9",), greeting="hello")
    async with serving(factory) as address:
        with socket.create_connection(address, LIMIT, ("127.0.0.9", 0)) as denied:
            assert await in_thread(is_reset_or_end, denied)
        assert await in_thread(exchange, address, b"x") == b"helloSending: x"
    assert factory.accepted == 1


# -- time ---------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_client_that_takes_nothing_is_reset_and_a_slow_one_is_not():
    factory = Recording(stall_timeout=1.0)
    async with serving(factory) as address:
        with connect(address, receive_buffer=4096) as slow, connect(address) as still:
            await until(lambda: factory.count == 2)
            end = time.monotonic() + LIMIT
            for client, connection in zip((slow, still), factory.connections, strict=True):
                client.setblocking(False)
                while not connection.stuck and factory.count == 2:
                    assert time.monotonic() < end
                    with suppress(BlockingIOError, ConnectionResetError):
                        client.send(b"x" * 65536)
                    if client is still:  # meanwhile the other one reads
                        with suppress(BlockingIOError):
                            slow.recv(4096)
                    await turn(0.001)
            slow.setblocking(True)
            began = time.monotonic()
            while factory.count == 2 or time.monotonic() < began + 2.5:
                assert time.monotonic() < began + LIMIT
                assert await in_thread(slow.recv, 262144)
                await turn(0.02)
            assert factory.outcomes == [Outcome.STALLED]
            assert time.monotonic() - began > 0.9
    assert factory.outcomes[0] is Outcome.STALLED


@pytest_twisted.ensureDeferred
async def test_a_life_ends_politely_when_it_has_been_long_enough():
    factory = Recording(max_lifetime=0.5, idle_timeout=0.1)
    async with serving(factory) as address:
        with connect(address) as client:
            began = time.monotonic()
            client.sendall(b"x")
            assert await in_thread(receive_all, client) == b"Sending: x"
            assert 0.45 < time.monotonic() - began < LIMIT
        await until(lambda: factory.outcomes)
    assert factory.outcomes == [Outcome.EXPIRED]
