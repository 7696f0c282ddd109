"""Messages that break their framing."""

from __future__ import annotations

import pytest
import pytest_twisted

from echosvc import Outcome
from tests.support.payload import MARK, MIB
from tests.support.reactor import in_thread, serving, until
from tests.support.recording import Recording, all_gone
from tests.support.sockets import (
    connect,
    exchange,
    half_close,
    reader,
    receive_all,
)
from tests.support.waiting import LIMIT

BAD = {
    "a line too long": ("line", b"a\nb\n", b"x" * 11, Outcome.TOO_LONG),
    "a length too long": ("length", b"\0\0\0\1a\0\0\0\1b", b"\0\0\0\x0bx", Outcome.TOO_LONG),
    "a truncated message": ("length", b"\0\0\0\1a\0\0\0\1b", b"\0\0\0\5x", Outcome.TRUNCATED),
    "a truncated header": ("length", b"\0\0\0\1a\0\0\0\1b", b"\0\0", Outcome.TRUNCATED),
}


DUE = {"line": b">a\n>b\n", "length": b"\0\0\0\2>a\0\0\0\2>b"}


@pytest.mark.parametrize("bad", BAD)
@pytest_twisted.ensureDeferred
async def test_a_bad_message_ends_the_connection_after_the_replies_due(bad, where):
    framing, good, wrong, outcome = BAD[bad]
    factory = Recording(prefix=b">", framing=framing, max_message=10)
    async with serving(factory, where) as address:
        assert await in_thread(exchange, address, good + wrong) == DUE[framing]
        await all_gone(factory)
    assert factory.outcomes == [outcome]


@pytest_twisted.ensureDeferred
async def test_a_message_too_long_needs_no_fin_and_never_resets():
    factory = Recording(prefix=b">", framing="line", max_message=10)
    async with serving(factory) as address:
        with connect(address) as client:
            sending = in_thread(client.sendall, b"a\nb\n" + b"x" * 4 * MIB)
            assert await in_thread(receive_all, client) == b">a\n>b\n"
            await sending
        await all_gone(factory)
    assert factory.outcomes == [Outcome.TOO_LONG]


@pytest.mark.parametrize("bad", BAD)
@pytest_twisted.ensureDeferred
async def test_a_slow_reader_gets_all_replies_due_before_a_bad_message(bad):
    framing, good, wrong, outcome = BAD[bad]
    factory = Recording(prefix=MARK * 5000, framing=framing, max_message=10, linger=LIMIT)
    async with serving(factory) as address:
        with reader(address) as client:
            client.sendall(good * 100 + wrong)
            half_close(client)
            await until(lambda: factory.stuck)
            received = await in_thread(receive_all, client)
    assert received.count(MARK * 5000) == 200
    assert factory.outcomes == [outcome]
