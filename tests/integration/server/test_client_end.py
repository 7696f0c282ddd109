"""A client's FIN: every reply still comes, on real sockets."""

from __future__ import annotations

from typing import Any

import pytest_twisted

from echosvc import EchoFactory, EchoProtocol, Outcome
from tests.support.payload import MARK, payload
from tests.support.reactor import in_thread, serving
from tests.support.recording import Recording, all_gone
from tests.support.sockets import (
    connect,
    finished_clients,
    receive_each,
    receive_exactly,
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
