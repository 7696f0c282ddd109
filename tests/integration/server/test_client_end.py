"""A client's FIN: every reply still comes, on real sockets."""

from __future__ import annotations

import socket
from typing import Any

import pytest_twisted

from echosvc import EchoFactory, EchoProtocol, Outcome
from tests.support.payload import HIGH_WATER, KIB, MARK, MIB, READ, payload, unmarked
from tests.support.reactor import in_thread, serving, until
from tests.support.recording import Recording, all_gone, answering
from tests.support.sockets import (
    connect,
    exchange,
    finished_clients,
    half_close,
    reader,
    receive_all,
    receive_each,
    receive_exactly,
    send_and_finish,
    talk,
)


@pytest_twisted.ensureDeferred
async def test_data_and_fin_in_one_packet_lose_nothing_on_1000_connections(where):
    factory = Recording(prefix=MARK)
    async with serving(factory, where) as address:
        for batch in range(10):
            messages = [payload(1 + 37 * number, batch) for number in range(100)]
            clients = finished_clients(address, messages)
            answers = await in_thread(receive_each, clients)
            assert answers == [MARK + message for message in messages]
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED] * 1000


@pytest_twisted.ensureDeferred
async def test_a_subclass_that_wants_every_read_gets_it(where):
    reads = []

    class Overhearing(EchoProtocol):
        def dataReceived(self, data: bytes) -> None:
            reads.append(data)
            super().dataReceived(data)

    factory = EchoFactory(log="quiet")
    factory.protocol = Overhearing
    async with serving(factory, where) as address:
        assert await in_thread(talk, address)
    assert b"".join(reads) == b"".join(b"message %d\n" % number for number in range(20))


@pytest_twisted.ensureDeferred
async def test_a_fin_with_nothing_sent_is_answered_with_a_fin(where):
    factory = Recording()
    async with serving(factory, where) as address:
        assert await in_thread(exchange, address, b"") == b""
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED]
    assert factory.bytes_in == factory.bytes_out == 0


def ask_and_close(address: Any) -> bytes:
    with connect(address) as client:
        client.sendall(b"hello")
        return receive_exactly(client, 14)


@pytest_twisted.ensureDeferred
async def test_a_client_that_closes_both_directions_at_once_has_finished_and_not_reset(where):
    factory = Recording(prefix=MARK)
    async with serving(factory, where) as address:
        await in_thread(lambda: connect(address).close())
        assert await in_thread(ask_and_close, address) == MARK + b"hello"
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED] * 2


def read_slowly(client: socket.socket) -> bytes:
    """Small sips first, then the rest."""
    sips = [client.recv(2048) for _ in range(500)]
    return b"".join(sips) + receive_all(client)


@pytest_twisted.ensureDeferred
async def test_a_fin_while_16_mib_are_queued_to_a_slow_reader_loses_nothing(where):
    answer = payload(16 * MIB)
    factory = Recording()
    factory.protocol = answering(answer)
    async with serving(factory, where) as address:
        with reader(address) as client:
            client.sendall(b"all of it")
            half_close(client)
            await until(lambda: factory.stuck)
            assert factory.only.queued > 8 * MIB
            assert await in_thread(read_slowly, client) == answer
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED]


async def queue_a_little(client: socket.socket, factory: Recording) -> None:
    """Ask until the kernel takes no more of the answers, and no longer."""
    asked = 0

    def answered() -> bool:
        return factory.bytes_in == asked

    while not factory.count or not factory.only.queued:
        client.send(b"x")
        asked += 1
        await until(answered)
    assert factory.only.queued <= HIGH_WATER
    assert not factory.stuck


@pytest_twisted.ensureDeferred
async def test_a_fin_while_less_is_queued_than_stops_the_reading_loses_nothing(where):
    """Then the FIN is seen before the queue is empty."""
    answer = payload(16 * KIB)
    factory = Recording()
    factory.protocol = answering(answer)
    async with serving(factory, where) as address:
        with reader(address) as client:
            await queue_a_little(client, factory)
            half_close(client)
            await until(lambda: factory.peers_ended)
            assert factory.only.queued
            asked = factory.bytes_in
            assert await in_thread(receive_all, client) == answer * asked
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED]


async def echoed_late(address: Any, factory: Recording, data: bytes) -> bytes:
    """What comes back to a client that sends all and reads only once it must."""
    with reader(address) as client:
        sending = in_thread(send_and_finish, client, data)
        await until(lambda: factory.stuck)
        received = await in_thread(read_slowly, client)
        await sending
    await all_gone(factory)
    return received


@pytest_twisted.ensureDeferred
async def test_64_mib_to_a_reader_that_starts_late_arrive_whole_with_the_queue_bounded(where):
    factory = Recording(prefix=MARK)
    data = payload(64 * MIB)
    async with serving(factory, where) as address:
        received = await echoed_late(address, factory, data)
    assert unmarked(received) == data
    assert len(received) == factory.bytes_out
    assert factory.peak <= HIGH_WATER + READ + len(MARK)
    assert factory.held <= READ
    assert factory.outcomes == [Outcome.FINISHED]
