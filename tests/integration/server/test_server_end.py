"""How the server itself ends a connection; and half-open connections."""

from __future__ import annotations

import time

import pytest_twisted

from echosvc import EchoFactory, EchoProtocol, Outcome
from echosvc.net.addresses import format_address
from tests.support.payload import MARK, MIB, payload
from tests.support.reactor import in_thread, serving, until
from tests.support.recording import Recording, all_gone, answering
from tests.support.sockets import (
    connect,
    half_close,
    last_word,
    reader,
    receive_all,
    receive_exactly,
    send_and_finish,
)
from tests.support.waiting import LIMIT


@pytest_twisted.ensureDeferred
async def test_a_close_while_the_client_is_sending_lets_every_byte_arrive():
    factory = Recording()
    answer = payload(4_000_000)

    class Ending(answering(answer)):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.finish()

    factory.protocol = Ending
    async with serving(factory) as address:
        with reader(address) as client:
            sending = in_thread(client.sendall, payload(8 * MIB))
            assert await in_thread(receive_all, client) == answer
            await sending
        await all_gone(factory)
    assert factory.outcomes == [Outcome.CLOSED]
    assert factory.bytes_in == 8 * MIB


@pytest_twisted.ensureDeferred
async def test_a_client_that_never_closes_is_aborted_after_linger_and_not_counted(where):
    factory = Recording(linger=0.3)
    async with serving(factory, where) as address:
        with connect(address) as client:
            await until(lambda: factory.count)
            factory.only.finish()
            finished = time.monotonic()
            assert await in_thread(receive_all, client) == b""
            await all_gone(factory)
            assert 0.29 <= time.monotonic() - finished < LIMIT
    assert factory.count == 0
    assert factory.outcomes == [Outcome.CLOSED]


@pytest_twisted.ensureDeferred
async def test_the_addresses_are_known_when_a_connection_has_ended(where):
    seen: list[tuple[str, str]] = []

    class Noting(EchoProtocol):
        def opened(self) -> None:
            seen.append((format_address(self.transport.getHost()), self.remote))

        def ended(self, outcome: Outcome) -> None:
            seen.append((self.local, self.remote))

    factory = EchoFactory(log="quiet")
    factory.protocol = Noting
    async with serving(factory, where) as address:
        with connect(address) as client:
            await in_thread(half_close, client)
            assert await in_thread(receive_all, client) == b""
        await factory.when_idle()
    assert seen[0] == seen[1]
    assert "-" not in seen[1]


@pytest_twisted.ensureDeferred
async def test_the_idle_action_close_is_polite():
    """EOF; what the client then sends is read and not answered."""
    factory = Recording(idle_timeout=0.2, idle_action="close", linger=LIMIT)
    async with serving(factory) as address:
        with connect(address) as client:
            assert await in_thread(receive_all, client) == b""
            await in_thread(send_and_finish, client, payload(MIB))
            await all_gone(factory)
            assert await in_thread(last_word, client) == "EOF"
    assert factory.bytes_in == MIB
    assert factory.outcomes == [Outcome.TIMED_OUT]


@pytest_twisted.ensureDeferred
async def test_a_half_open_connection_ends_after_its_time_out(where):
    factory = Recording(prefix=MARK, allow_half_open=True, half_open_timeout=0.4)
    async with serving(factory, where) as address:
        with connect(address) as client:
            client.sendall(b"hi")
            half_close(client)
            finished = time.monotonic()
            assert await in_thread(receive_all, client) == MARK + b"hi"
            assert 0.39 <= time.monotonic() - finished < LIMIT
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED]


@pytest_twisted.ensureDeferred
async def test_a_half_open_connection_with_much_queued_loses_nothing():
    answer = payload(4 * MIB)
    factory = Recording(allow_half_open=True, half_open_timeout=LIMIT)
    factory.protocol = answering(answer)
    async with serving(factory) as address:
        with reader(address) as client:
            client.sendall(b"x")
            half_close(client)
            await until(lambda: factory.stuck)
            receiving = in_thread(receive_exactly, client, len(answer) + 3)
            await until(lambda: factory.peers_ended)
            factory.only.write(b"bye")
            assert await receiving == answer + b"bye"
