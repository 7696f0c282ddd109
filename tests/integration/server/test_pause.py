"""A connection that is paused and resumed."""

from __future__ import annotations

import pytest
import pytest_twisted

from echosvc import Outcome
from tests.support.payload import MARK
from tests.support.reactor import in_thread, serving, turn, until
from tests.support.recording import Recorded, Recording, all_gone
from tests.support.sockets import (
    ENDS,
    connect,
    half_close,
    last_word,
    receive_all,
    reset,
)
from tests.support.waiting import LIMIT


@pytest_twisted.ensureDeferred
async def test_a_connection_paused_on_connect_reads_nothing_until_resumed(where):
    factory = Recording(prefix=MARK, pause_on_connect=True, idle_timeout=0.2)
    async with serving(factory, where) as address:
        with connect(address) as client:
            client.sendall(b"hello")
            half_close(client)
            await until(lambda: factory.idles)
            assert factory.bytes_in == 0
            factory.only.resume()
            assert await in_thread(receive_all, client) == MARK + b"hello"
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED]
    assert len(factory.idles) == 1


@pytest_twisted.ensureDeferred
async def test_pause_in_the_middle_of_a_read_keeps_the_rest_for_later():
    class Pausing(Recorded):
        def reply(self, message: bytes) -> bytes:
            self.pause()
            return super().reply(message)

    factory = Recording(prefix=b">", framing="line")
    factory.protocol = Pausing
    async with serving(factory) as address:
        with connect(address) as client:
            client.sendall(b"a\nb\nc\n")
            half_close(client)
            receiving = in_thread(receive_all, client)
            while factory.accepted == 0 or factory.count:
                for connection in factory.connections:
                    connection.resume()
                await turn()
            assert await receiving == b">a\n>b\n>c\n"
    assert factory.outcomes == [Outcome.FINISHED]


@pytest.mark.parametrize("sent", [b"", b"unread"])
@pytest_twisted.ensureDeferred
async def test_a_reset_is_noticed_while_paused(sent):
    factory = Recording(pause_on_connect=True, linger=0.1)
    async with serving(factory) as address:
        client = connect(address)
        client.sendall(sent)
        await until(lambda: factory.count)
        reset(client)
        await all_gone(factory, 5)
    assert factory.outcomes == [Outcome.RESET]


@pytest_twisted.ensureDeferred
async def test_a_reset_that_a_write_meets_first_is_not_taken_for_a_fin():
    """The kernel tells of it once; to a read that comes after, it looks like a FIN."""
    factory = Recording()
    async with serving(factory) as address:
        client = connect(address)
        await until(lambda: factory.count)
        reset(client)  # before the reactor's next turn,
        factory.only.write(b"x")  # so that this is the first to know
        await all_gone(factory)
    assert factory.outcomes == [Outcome.RESET]
    assert factory.peers_ended == 0


@pytest.mark.parametrize("end", ["drain", "abort", "close", "reset"])
@pytest_twisted.ensureDeferred
async def test_a_paused_connection_can_be_ended_in_every_way(end, where):
    action = end if end in ("close", "reset") else "log"
    factory = Recording(pause_on_connect=True, idle_timeout=0.2, idle_action=action, linger=LIMIT)
    outcomes = {"drain": Outcome.DRAINED, "abort": Outcome.ABORTED}
    async with serving(factory, where) as address:
        with connect(address) as client:
            client.sendall(b"unread")
            await until(lambda: factory.accepted)
            if end in outcomes:
                ENDS[end][0](factory, client)
            await in_thread(last_word, client)
        await all_gone(factory, 5)
    assert factory.outcomes == [outcomes.get(end, Outcome.TIMED_OUT)]
