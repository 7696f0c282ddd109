"""close_notify and FIN of a TLS client: every reply still comes."""

from __future__ import annotations

import random
import socket
import ssl
import struct
from typing import Any

import pytest
import pytest_twisted

from echosvc import Outcome
from tests.support.payload import HIGH_WATER, MARK, MIB, payload, unmarked
from tests.support.reactor import in_thread, until
from tests.support.recording import Recording, all_gone, logged_lines
from tests.support.tls_peer import (
    ANY,
    BARE_FIN,
    ENCRYPTION,
    GREETING,
    LINES,
    LONG,
    NOTIFY,
    POLITE,
    Heard,
    Peer,
    ask,
    serving_tls,
)


def framed(size: int) -> bytes:
    return struct.pack("!I", size)


def spoken(framing: str, size: int) -> tuple[bytes, bytes]:
    """What a client says, and what it must hear; chunks are cut anywhere."""
    messages = [payload(size)]
    if framing != "chunk":
        cuts = random.Random(size)
        text = payload(size).replace(b"\n", b"\0")
        messages, at = [], 0
        while at < size:
            length = cuts.choice((1, 9, 1000, 20_000))
            messages.append(text[at : at + length])
            at += length
    if framing == "line":
        messages = [message + b"\n" for message in messages]
    if framing == "length":
        return b"".join(framed(len(each)) + each for each in messages), b"".join(
            framed(len(MARK + each)) + MARK + each for each in messages
        )
    return b"".join(messages), b"".join(MARK + each for each in messages)


def is_answer(framing: str, heard: bytes, wanted: bytes) -> bool:
    if framing != "chunk":
        return heard == wanted
    return heard.startswith(MARK) and unmarked(heard) == unmarked(wanted)


@pytest.mark.parametrize("how", POLITE)
@pytest.mark.parametrize("size", [5, 1_000_000])
@pytest.mark.parametrize("framing", ["chunk", "line", "length"])
@pytest_twisted.ensureDeferred
async def test_data_and_close_notify_in_one_segment_lose_nothing(framing, size, how, version, pem):
    factory = Recording(prefix=MARK, framing=framing)
    said, wanted = spoken(framing, size)
    async with serving_tls(factory, pem) as address:
        heard = await in_thread(ask, address, said, how, version)
        await all_gone(factory)
    assert is_answer(framing, heard.data, wanted)
    assert heard.polite
    assert factory.outcomes == [Outcome.FINISHED]
    assert factory.bytes_in == len(said)


def ask_each(address: Any, messages: list[bytes], how: str) -> list[Heard]:
    return [ask(address, message, how) for message in messages]


@pytest.mark.parametrize("how", POLITE)
@pytest_twisted.ensureDeferred
async def test_of_200_connections_in_a_row_none_loses_anything(how, pem):
    factory = Recording(prefix=MARK)
    messages = [payload(1 + 37 * number, number) for number in range(200)]
    async with serving_tls(factory, pem) as address:
        answers = await in_thread(ask_each, address, messages, how)
        await all_gone(factory)
    assert [unmarked(heard.data) for heard in answers] == messages
    assert all(heard.polite and heard.data.startswith(MARK) for heard in answers)
    assert factory.outcomes == [Outcome.FINISHED] * 200


def ask_with_the_last_flight(address: Any, data: bytes, how: str) -> Heard:
    with Peer(address) as peer:
        last = peer.last_flight()
        return peer.converse(last + peer.sealed(data, how != BARE_FIN), how != NOTIFY)


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_a_client_may_say_all_in_one_segment_with_the_end_of_the_handshake(how, pem):
    factory = Recording(prefix=MARK, greeting=GREETING, framing="line")
    async with serving_tls(factory, pem) as address:
        heard = await in_thread(ask_with_the_last_flight, address, b"one\ntwo", how)
        await all_gone(factory)
    assert heard.data == GREETING + MARK + b"one\n" + MARK + b"two"
    assert heard.polite
    assert factory.outcomes == [Outcome.TRUNCATED if how == BARE_FIN else Outcome.FINISHED]


def ask_bytewise(address: Any, data: bytes) -> Heard:
    """In segments that respect no record."""
    with Peer(address) as peer:
        wire = peer.last_flight() + peer.sealed(data, notify=True)
        for byte in wire[:-1]:
            peer.socket.sendall(bytes([byte]))
        return peer.converse(wire[-1:])


@pytest_twisted.ensureDeferred
async def test_records_may_come_byte_by_byte(pem):
    factory = Recording(prefix=MARK)
    async with serving_tls(factory, pem) as address:
        heard = await in_thread(ask_bytewise, address, b"hello")
        await all_gone(factory)
    assert heard == Heard(MARK + b"hello", True, "FIN")
    assert factory.outcomes == [Outcome.FINISHED]


@pytest_twisted.ensureDeferred
async def test_a_close_notify_with_nothing_said_is_answered_with_one(version, pem):
    factory = Recording()
    async with serving_tls(factory, pem) as address:
        for how in POLITE:
            assert await in_thread(ask, address, b"", how, version) == Heard(b"", True, "FIN")
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED] * 2
    assert factory.bytes_in == factory.bytes_out == 0


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_a_read_that_asks_for_10_mib_is_answered_whole_and_in_little_memory(how, pem):
    factory = Recording(prefix=LONG, framing="line")
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, ANY, None, 4096) as peer:
            await in_thread(peer.shake_hands)
            wire = peer.sealed(b"\n" * LINES, how != BARE_FIN)
            peer.socket.sendall(wire)
            if how != NOTIFY:
                peer.socket.shutdown(socket.SHUT_WR)
            await until(lambda: factory.stuck)
            heard = await in_thread(peer.converse)
        await all_gone(factory)
    assert heard.data == (LONG + b"\n") * LINES
    assert len(heard.data) > 10 * MIB
    assert heard.polite
    assert factory.peak <= HIGH_WATER + len(LONG) + 1 + ENCRYPTION
    assert factory.outcomes == [Outcome.TRUNCATED if how == BARE_FIN else Outcome.FINISHED]


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest.mark.parametrize(
    ("settings", "said", "wanted"),
    [
        ({"framing": "line"}, b"one\ntwo", [b"one\n", b"two"]),
        ({"encoding": "utf-8"}, b"\xe2\x82", ["\N{REPLACEMENT CHARACTER}".encode()]),
        ({"encoding": "utf-8"}, b"a\xe2\x82", [b"a", "\N{REPLACEMENT CHARACTER}".encode()]),
        (
            {"framing": "line", "encoding": "utf-8"},
            b"a\n\xe2\x82",
            [b"a\n", "\N{REPLACEMENT CHARACTER}".encode()],
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_only_the_end_makes_a_message_is_answered(settings, said, wanted, how, pem):
    factory = Recording(prefix=MARK, **settings)
    async with serving_tls(factory, pem) as address:
        heard = await in_thread(ask, address, said, how)
        await all_gone(factory)
    assert heard == Heard(b"".join(MARK + each for each in wanted), True, "FIN")
    assert factory.outcomes == [Outcome.TRUNCATED if how == BARE_FIN else Outcome.FINISHED]


@pytest.mark.parametrize("size", [5, 1_000_000])
@pytest_twisted.ensureDeferred
async def test_a_fin_without_close_notify_is_truncated_and_all_replies_arrive(size, version, pem):
    factory = Recording(prefix=MARK)
    async with serving_tls(factory, pem) as address:
        heard = await in_thread(ask, address, payload(size), BARE_FIN, version)
        await all_gone(factory)
    assert is_answer("chunk", heard.data, payload(size))
    assert heard.polite
    assert factory.outcomes == [Outcome.TRUNCATED]


def ask_and_break_off(address: Any, cut: int) -> Heard:
    with Peer(address) as peer:
        peer.shake_hands()
        whole, part = peer.sealed(b"whole"), peer.sealed(b"part")
        return peer.converse(whole + part[:cut], end=True)


@pytest.mark.parametrize("cut", [3, 5, 12])
@pytest_twisted.ensureDeferred
async def test_a_fin_inside_a_record_is_truncated_and_what_came_before_is_answered(cut, pem):
    factory = Recording(prefix=MARK)
    async with serving_tls(factory, pem) as address:
        heard = await in_thread(ask_and_break_off, address, cut)
        await all_gone(factory)
    assert heard == Heard(MARK + b"whole", True, "FIN")
    assert factory.outcomes == [Outcome.TRUNCATED]


def ask_and_garble(address: Any) -> Heard:
    with Peer(address) as peer:
        peer.shake_hands()
        whole, forged = peer.sealed(b"whole"), bytearray(peer.sealed(b"forged"))
        forged[-1] ^= 1
        return peer.converse(whole + forged)


@pytest_twisted.ensureDeferred
async def test_a_record_that_was_forged_is_not_answered_and_ends_the_connection(pem):
    factory = Recording(prefix=MARK)
    with logged_lines() as lines:
        async with serving_tls(factory, pem) as address:
            with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
                await in_thread(ask_and_garble, address)
            await all_gone(factory)
    assert factory.bytes_in == 5
    assert factory.outcomes == [Outcome.RESET]
    assert lines == []  # quiet
