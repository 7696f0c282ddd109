"""Many messages in a read, and clients that send and never read."""

from __future__ import annotations

import struct

import pytest
import pytest_twisted

from echosvc import Outcome
from tests.support.payload import HIGH_WATER, MARK, READ
from tests.support.reactor import in_thread, serving, until
from tests.support.recording import Recorded, Recording, all_gone, stalled
from tests.support.sockets import (
    ENDS,
    connect,
    half_close,
    last_word,
    push,
    reader,
    receive_all,
    receive_exactly,
    talk,
)
from tests.support.waiting import LIMIT


@pytest.mark.parametrize(
    ("framing", "message", "answer"),
    [
        ("line", b"\n", MARK * 1112 + b"\n"),
        ("length", b"\0\0\0\0", struct.pack("!I", 10008) + MARK * 1112),
    ],
)
@pytest_twisted.ensureDeferred
async def test_thousands_of_messages_in_one_read_never_queue_more_than_64_kib_and_a_reply(
    framing, message, answer
):
    count = 4000
    factory = Recording(prefix=MARK * 1112, framing=framing)
    other = Recording(prefix=MARK)
    async with serving(factory) as address, serving(other) as another:
        with reader(address) as client:
            client.sendall(message * count)
            await until(lambda: factory.stuck)
            assert await in_thread(talk, another)
            receiving = in_thread(receive_exactly, client, count * len(answer))
            assert await in_thread(talk, another)
            assert await receiving == answer * count
            half_close(client)
            assert await in_thread(receive_all, client) == b""
        await all_gone(factory)
    assert factory.peak <= HIGH_WATER + len(answer)
    assert factory.outcomes == [Outcome.FINISHED]


@pytest_twisted.ensureDeferred
async def test_others_are_served_between_the_replies_to_one_read():
    """Though the kernel would take many more of them at once."""
    order: list[int] = []

    class Noting(Recorded):
        def reply(self, message: bytes) -> bytes | None:
            order.append(self.number)
            return super().reply(message)

    factory = Recording(prefix=MARK * 1112, framing="line")
    factory.protocol = Noting
    async with serving(factory) as address:
        with connect(address) as client, connect(address) as other:
            await until(lambda: factory.count == 2)
            # Both before the reactor's next turn, which finds both.
            client.sendall(b"\n" * 5000)
            other.sendall(b"me too\n")
            answer = await in_thread(receive_exactly, other, 10008 + 7)
            assert answer == MARK * 1112 + b"me too\n"
            received = await in_thread(receive_exactly, client, 5000 * 10009)
            assert len(received) == 5000 * 10009
    assert order.index(2) < 20


@pytest_twisted.ensureDeferred
async def test_a_client_that_never_reads_stalls_and_harms_nobody(where):
    factory = Recording(prefix=MARK)
    async with serving(factory, where) as address:
        with reader(address) as client:
            await stalled(factory, client)
            assert await in_thread(talk, address)
            read = factory.bytes_in
            push(client)  # the kernel's buffers may have grown meanwhile
            assert await in_thread(talk, address)
            assert factory.bytes_in - read < 1000, "it read on"
    assert factory.peak <= HIGH_WATER + READ + len(MARK)
    assert factory.held <= READ


@pytest.mark.parametrize("action", ["close", "reset"])
@pytest_twisted.ensureDeferred
async def test_the_idle_action_ends_a_connection_that_is_stalled(action):
    factory = Recording(idle_timeout=0.3, idle_action=action, linger=0.1)
    async with serving(factory) as address:
        with reader(address) as client:
            await stalled(factory, client)
            await all_gone(factory)
            assert factory.outcomes == [Outcome.TIMED_OUT]
            assert len(factory.idles) == 1
            client.settimeout(LIMIT)
            # Either way its unread bytes were dropped at the end: a reset.
            assert await in_thread(last_word, client) == "ECONNRESET"


@pytest.mark.parametrize("action", ["log", "close", "reset"])
@pytest.mark.parametrize("end", ENDS)
@pytest_twisted.ensureDeferred
async def test_a_stalled_connection_can_be_ended_in_every_way(end, action):
    """By a drain within linger, but at least a second; by all else at once."""
    ending, outcome = ENDS[end]
    factory = Recording(idle_timeout=20, idle_action=action, linger=0.1)
    async with serving(factory) as address:
        with reader(address) as client:
            await stalled(factory, client)
            ending(factory, client)
            await all_gone(factory, 10)
    assert factory.outcomes == [outcome]


@pytest.mark.parametrize("end", ["drain", "idle close"])
@pytest_twisted.ensureDeferred
async def test_a_stalled_client_that_is_closed_politely_gets_all_that_is_due_and_eof(end, where):
    settings = {"idle_timeout": 0.2, "idle_action": "close"} if end == "idle close" else {}
    factory = Recording(prefix=MARK, linger=LIMIT, **settings)
    async with serving(factory, where) as address:
        with reader(address) as client:
            await stalled(factory, client)
            due = factory.bytes_out
            if end == "drain":
                factory.end_all()
            await until(lambda: factory.only.closing)
            client.settimeout(LIMIT)
            assert len(await in_thread(receive_all, client)) == due
        await all_gone(factory)
    assert factory.bytes_out == due
    assert factory.outcomes == [Outcome.DRAINED if end == "drain" else Outcome.TIMED_OUT]
