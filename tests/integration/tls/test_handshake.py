"""The TLS handshake: its time limit, its failures."""

from __future__ import annotations

import random
import socket
import ssl
import warnings
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted

from echosvc import Outcome
from tests.support.payload import MARK, READ
from tests.support.reactor import in_thread, until, within
from tests.support.recording import Recorded, Recording, all_gone, logged_lines
from tests.support.sockets import connect, reset
from tests.support.tls_peer import ANY, GREETING, Peer, all_ended, ask, context, serving_tls


class Unheard(Recorded):
    """Notes every connection, also those of which the application does not hear."""

    def connectionMade(self) -> None:
        self.factory.all_made.append(self)
        super().connectionMade()

    def opened(self) -> None:
        self.factory.opened.append(self)


def unheard(**settings: Any) -> Any:
    factory = Recording(prefix=MARK, greeting=GREETING, **settings)
    factory.protocol = Unheard
    factory.all_made, factory.opened = [], []
    return factory


def client_hello() -> bytes:
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ANY.wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    return out.read()


HTTP = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


NO_CLIENTS = {
    "garbage": random.Random(1).randbytes(300),
    "text": b"hello\n",
    "http": HTTP,
    "nothing": b"",
    "a ClientHello's half": client_hello()[:100],
    "a ClientHello and garbage": client_hello() + b"garbage" * 9,
    "a record too long": b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
    "an alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "data of a connection": b"\x17\x03\x03\x00\x10" + b"x" * 16,
}


def half_close(client: socket.socket) -> None:
    """Send FIN, unless a reset was faster."""
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)


def last_words(address: Any, data: bytes, ending: str) -> bytes:
    """Say ``data`` and an end; everything that comes back."""
    heard = b""
    with connect(address) as client, suppress(ConnectionResetError, BrokenPipeError):
        client.sendall(data)
        if ending == "FIN":
            half_close(client)
        if ending == "RST":
            reset(client)
            return b""
        while piece := client.recv(READ):
            heard += piece
    return heard


@pytest.mark.parametrize("ending", ["FIN", "RST"])
@pytest.mark.parametrize("words", NO_CLIENTS)
@pytest_twisted.ensureDeferred
async def test_who_does_not_shake_hands_is_nobodys_client(words, ending, pem):
    factory = unheard(log="connections")
    with logged_lines() as lines:
        async with serving_tls(factory, pem) as address:
            heard = await in_thread(last_words, address, NO_CLIENTS[words], ending)
            await until(lambda: factory.all_made)
            await within(factory.when_idle())
    assert MARK not in heard
    assert GREETING not in heard
    assert [each.outcome for each in factory.all_made] == [Outcome.HANDSHAKE]
    assert factory.opened == factory.outcomes == []
    assert factory.count == factory.bytes_in == factory.bytes_out == 0
    errors = [line for line in lines if "Error" in line]
    assert len(errors) <= 1
    assert all(line.isprintable() for line in lines)
    assert not any("Client connection" in line for line in lines)
    assert sum("outcome = handshake" in line for line in lines) == 1
    if ending == "FIN":
        assert "TLS: " in errors[0]


@pytest_twisted.ensureDeferred
async def test_a_handshake_that_takes_too_long_is_said_so(pem):
    factory = unheard(log="connections", handshake_timeout=0.2)
    with logged_lines() as lines:
        async with serving_tls(factory, pem) as address:
            with connect(address):
                await until(lambda: factory.all_made)
                await within(factory.when_idle())
    errors = [line for line in lines if "Error" in line]
    assert len(errors) == 1
    assert "TLS: no handshake within 0.2 s" in errors[0]


@pytest.mark.parametrize("words", ["garbage", "text", "http", "data of a connection"])
@pytest_twisted.ensureDeferred
async def test_words_that_are_no_tls_end_the_connection_at_once(words, pem):
    factory = unheard()
    async with serving_tls(factory, pem) as address:
        await in_thread(last_words, address, NO_CLIENTS[words], "none")
        await within(factory.when_idle())
    assert [each.outcome for each in factory.all_made] == [Outcome.HANDSHAKE]


@pytest_twisted.ensureDeferred
async def test_a_failed_handshake_leaves_the_listener_to_others(pem):
    factory = unheard()
    async with serving_tls(factory, pem) as address:
        await in_thread(last_words, address, HTTP, "none")
        assert (await in_thread(ask, address, b"hello")).data == GREETING + MARK + b"hello"
        await all_ended(factory, 1)
    assert factory.outcomes == [Outcome.FINISHED]


@pytest_twisted.ensureDeferred
async def test_a_client_that_distrusts_the_certificate_is_told_of_by_its_alert(pem):
    factory = unheard(log="connections")
    distrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    distrusting.maximum_version = ssl.TLSVersion.TLSv1_2  # whose handshake waits for it
    with logged_lines() as lines:
        async with serving_tls(factory, pem) as address:
            with await in_thread(Peer, address, distrusting, "localhost") as peer:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await in_thread(peer.last_flight)
                peer.socket.sendall(peer._out.read())
                await within(factory.when_idle())
    assert [each.outcome for each in factory.all_made] == [Outcome.HANDSHAKE]
    (error,) = [line for line in lines if "Error" in line]
    assert "unknown ca" in error


@pytest_twisted.ensureDeferred
async def test_the_greeting_comes_first_and_only_after_the_handshake(version, pem):
    factory = unheard()
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            last = await in_thread(peer.last_flight)
            if version.minimum_version == ssl.TLSVersion.TLSv1_3:
                # The server could speak already, and may not.
                assert factory.bytes_out == 0
                assert factory.opened == []
            peer.socket.sendall(last)
            assert await in_thread(peer.receive, len(GREETING)) == GREETING
            assert factory.opened == factory.all_made
            heard = await in_thread(peer.converse, peer.sealed(b"hello", notify=True))
            assert heard.data == MARK + b"hello"
        await all_gone(factory)


@pytest_twisted.ensureDeferred
async def test_templates_are_filled_in(version, pem):
    factory = Recording(greeting="{peer} {local} ", prefix="{connection}/{message} {peer}> ")
    async with serving_tls(factory, pem) as address:
        for number in (1, 2):
            with await in_thread(Peer, address, version) as peer:
                await in_thread(peer.shake_hands)
                me = "{}:{}".format(*peer.socket.getsockname())
                heard = await in_thread(peer.converse, peer.sealed(b"hello", notify=True))
            there = "{}:{}".format(*address)
            assert heard.data.decode() == f"{me} {there} {number}/1 {me}> hello"


@pytest_twisted.ensureDeferred
async def test_tls_1_1_is_refused(pem):
    factory = unheard()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = context(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with serving_tls(factory, pem) as address:
        with (
            await in_thread(Peer, address, old) as peer,
            pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"),
        ):
            await in_thread(peer.last_flight)
        await within(factory.when_idle())
    assert [each.outcome for each in factory.all_made] == [Outcome.HANDSHAKE]
