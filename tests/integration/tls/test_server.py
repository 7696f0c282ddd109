"""TLS in this process, on real sockets: against a client that chooses its own segments."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import random
import select
import socket
import ssl
import struct
import subprocess
import sys
import termios
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor
from twisted.internet import ssl as twisted_ssl
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, wrapServerTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogPublisher

from echosvc import EchoClient, EchoClientFactory, EchoProtocol, Outcome
from echosvc import connect as connect_client
from echosvc.connection.phase import Phase
from echosvc.endpoints import client_endpoint
from echosvc.tls.context import client_options
from echosvc.tls.endpoints import TLSConnector
from echosvc.tls.transport import TLSError
from tests.integration.server.test_server import (
    HIGH_WATER,
    KIB,
    MARK,
    MIB,
    READ,
    Recorded,
    Recording,
    all_gone,
    answering,
    payload,
    unmarked,
)
from tests.support.process import (
    LIMIT,
    Process,
    connect,
    exchange,
    in_thread,
    need,
    no_faults,
    receive_all,
    reset,
    serving,
    turn,
    until,
    within,
)
from tests.unit.tls.test_context import Issued, issue

DER = serialization.Encoding.DER
GREETING = b"GREETING GREETING "
#: What TLS adds to what may be queued, generously.
ENCRYPTION = 120 * KIB
#: How a client may say its end.
NOTIFY, NOTIFY_FIN, BARE_FIN = "close_notify", "close_notify and FIN", "FIN alone"
POLITE = (NOTIFY, NOTIFY_FIN)


@pytest.fixture(scope="module")
def own() -> Issued:
    return issue("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def pem(own: Issued, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(own.pem)
    return path


def context(**settings: Any) -> ssl.SSLContext:
    """A client's, which verifies nothing."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    for name, value in settings.items():
        setattr(made, name, value)
    return made


ANY = context()


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> ssl.SSLContext:
    only = ssl.TLSVersion[request.param.replace(".", "_")]
    return context(minimum_version=only, maximum_version=only)


def serving_tls(factory: Any, pem: Path) -> Any:
    return serving(factory, f"ssl:0:interface=127.0.0.1:privateKey={pem}")


# -- a client that chooses its own segments ----------------------------------------------


@contextmanager
def report_lines() -> Iterator[list[str]]:
    """What the package logs meanwhile."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        if event.get("log_namespace") == "echosvc":
            lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observe)


@dataclass
class Heard:
    """What a client has heard until TCP's end.

    :ivar data: the plain text.
    :ivar notified: a close_notify came before TCP's end.
    :ivar end: ``FIN``, or the name of the error.
    """

    data: bytes
    notified: bool
    end: str

    @property
    def polite(self) -> bool:
        return self.notified and self.end == "FIN"


class Peer:
    """A TLS client: what it sends goes through its own hands.

    Its calls block; every wait is bounded.
    """

    def __init__(
        self,
        address: Any,
        settings: ssl.SSLContext = ANY,
        name: str | None = None,
        receive_buffer: int = 0,
    ) -> None:
        self.socket = connect(address, receive_buffer=receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = settings.wrap_bio(self._in, self._out, server_hostname=name)
        self._data: list[bytes] = []
        self._notified = False

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def last_flight(self) -> bytes:
        """Shake hands; give our last flight, which is not sent yet."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.socket.sendall(self._out.read())
                self._take(self.socket.recv(READ))
            else:
                return self._out.read()

    def shake_hands(self) -> Peer:
        self.socket.sendall(self.last_flight())
        return self

    def _take(self, data: bytes) -> None:
        self._in.write(data) if data else self._in.write_eof()

    def sealed(self, data: bytes = b"", notify: bool = False) -> bytes:
        """``data`` in records, and our close_notify after it; nothing is sent."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.tls.write(rest) :]
        if notify:
            self._decrypt()  # so that there is nothing that OpenSSL might meet meanwhile
            with suppress(ssl.SSLWantReadError):  # the server's need not be there yet
                self.tls.unwrap()
        return self._out.read()

    def _decrypt(self) -> None:
        try:
            while data := self.tls.read(MIB):
                self._data.append(data)
            self._notified = True
        except ssl.SSLZeroReturnError:
            self._notified = True
        except (ssl.SSLWantReadError, ssl.SSLEOFError):
            pass

    def receive(self, size: int) -> bytes:
        """``size`` bytes of plain text, or what came before TCP's end."""
        self._decrypt()
        while sum(map(len, self._data)) < size and self._pull():
            pass
        return self._taken()

    def _taken(self) -> bytes:
        data, self._data = b"".join(self._data), []
        return data

    def converse(self, wire: bytes = b"", end: bool = False) -> Heard:
        """Send these very bytes, in one piece if the kernel takes it, and hear all.

        :param end: with a FIN after them, in the last packet.
        """
        todo, sending, how = memoryview(wire), bool(wire) or end, ""
        while not how:
            writers = [self.socket] if sending else []
            readable, writable, _ = select.select([self.socket], writers, [], LIMIT)
            assert readable or writable, f"nothing within {LIMIT} s"
            try:
                if writable:
                    todo = self._push(todo, end)
                    sending = bool(todo)
                if readable and not self._pull():
                    how = "FIN"
            except BlockingIOError:
                pass  # short of memory, the kernel may change its mind
            except ssl.SSLError:
                raise
            except OSError as error:
                how = errno.errorcode[error.errno]
        return Heard(self._taken(), self._notified, how)

    def _push(self, todo: memoryview, end: bool) -> memoryview:
        if todo:
            more = socket.MSG_MORE if end else 0
            todo = todo[self.socket.send(todo, socket.MSG_DONTWAIT | more) :]
        if end and not todo:
            self.socket.shutdown(socket.SHUT_WR)
        return todo

    def _pull(self) -> bool:
        data = self.socket.recv(READ)
        self._take(data)
        self._decrypt()
        return bool(data)


def ask(
    address: Any,
    data: bytes,
    how: str = NOTIFY,
    settings: ssl.SSLContext = ANY,
    name: str | None = None,
) -> Heard:
    """Say ``data`` and the end in one segment; hear everything."""
    with Peer(address, settings, name) as peer:
        peer.shake_hands()
        return peer.converse(peer.sealed(data, how != BARE_FIN), how != NOTIFY)


# -- the client's end -------------------------------------------------------------------


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


LINES = 1070
LONG = b"\xff" * 10_000


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
    with report_lines() as lines:
        async with serving_tls(factory, pem) as address:
            with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
                await in_thread(ask_and_garble, address)
            await all_gone(factory)
    assert factory.bytes_in == 5
    assert factory.outcomes == [Outcome.RESET]
    assert lines == []  # quiet


# -- our own end ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_idle_action_close_says_close_notify_and_reads_on(version, pem):
    factory = Recording(
        idle_timeout=0.2, idle_action="close", linger=LIMIT, greeting=GREETING, prefix=MARK
    )
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            await in_thread(peer.shake_hands)
            assert await in_thread(peer.converse) == Heard(GREETING, True, "FIN")
            wire = peer.sealed(payload(MIB), notify=True)
            assert await in_thread(peer.converse, wire, True) == Heard(b"", True, "FIN")
        await all_gone(factory)
    assert factory.bytes_in == MIB
    assert factory.outcomes == [Outcome.TIMED_OUT]


def say_after_the_end(peer: Peer) -> Heard:
    """Send much while the rest comes in, and more after TCP's end of the other side."""
    heard = peer.converse(peer.sealed(payload(MIB)))
    again = peer.converse(peer.sealed(payload(MIB), notify=True), end=True)
    assert again.end == "FIN"
    return heard


@pytest_twisted.ensureDeferred
async def test_drained_everything_due_arrives_though_the_client_goes_on_sending(version, pem):
    factory = Recording(linger=LIMIT)
    factory.protocol = answering(payload(4 * MIB))
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version, None, 4096) as peer:
            await in_thread(peer.shake_hands)
            peer.socket.sendall(peer.sealed(b"x"))
            await until(lambda: factory.stuck)
            factory.end_all()
            heard = await in_thread(say_after_the_end, peer)
        await all_gone(factory)
    assert heard == Heard(payload(4 * MIB), True, "FIN")
    assert factory.outcomes == [Outcome.DRAINED]
    assert factory.bytes_in == 1 + 2 * MIB


@pytest_twisted.ensureDeferred
async def test_drained_in_the_middle_of_a_read_all_that_was_read_is_answered(pem):
    factory = Recording(prefix=LONG, framing="line", linger=LIMIT)
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, ANY, None, 4096) as peer:
            await in_thread(peer.shake_hands)
            peer.socket.sendall(peer.sealed(b"\n" * LINES))
            await until(lambda: factory.stuck)
            factory.end_all()
            assert await in_thread(peer.converse) == Heard((LONG + b"\n") * LINES, True, "FIN")
        await all_gone(factory)
    assert factory.outcomes == [Outcome.DRAINED]
    assert factory.peak <= HIGH_WATER + len(LONG) + 1 + ENCRYPTION


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_however_the_client_answers_our_end_it_keeps_its_word(how, version, pem):
    factory = Recording(linger=LIMIT, greeting=GREETING)
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            await in_thread(peer.shake_hands)
            await until(lambda: factory.bytes_out)
            factory.end_all()
            assert await in_thread(peer.converse) == Heard(GREETING, True, "FIN")
            wire = peer.sealed(notify=how != BARE_FIN)
            assert (await in_thread(peer.converse, wire, how != NOTIFY)).end == "FIN"
        await all_gone(factory)
    assert factory.outcomes == [Outcome.DRAINED]


@pytest_twisted.ensureDeferred
async def test_finish_in_reply_sends_what_was_due_and_close_notify(version, pem):
    class Finishing(Recorded):
        def reply(self, message: bytes) -> bytes | None:
            self.write(b"bye ")
            self.finish()
            return super().reply(message)

    factory = Recording(prefix=MARK, linger=LIMIT)
    factory.protocol = Finishing
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            await in_thread(peer.shake_hands)
            wire = peer.sealed(b"hello")
            heard = await in_thread(peer.converse, wire)
            assert heard == Heard(b"bye " + MARK + b"hello", True, "FIN")
        await all_gone(factory)
    assert factory.outcomes == [Outcome.CLOSED]


# -- half-open --------------------------------------------------------------------------


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_half_open_the_application_writes_on_after_the_clients_end(how, version, pem):
    factory = Recording(prefix=MARK, allow_half_open=True)
    late = payload(MIB, 7)
    async with serving_tls(factory, pem) as address:
        asking = in_thread(ask, address, b"hello", how, version)
        await until(lambda: factory.peers_ended)
        assert factory.only.eof_received
        assert not factory.only.closing
        factory.only.write(late)
        await turn(0.05)
        factory.only.write(b"bye")
        factory.only.finish()
        assert await asking == Heard(MARK + b"hello" + late + b"bye", True, "FIN")
        await all_gone(factory)
    assert factory.outcomes == [Outcome.CLOSED]


# -- pause and resume -------------------------------------------------------------------


class Pausing(Recorded):
    """Wants no more after each message."""

    def reply(self, message: bytes) -> bytes | None:
        self.pause()
        return super().reply(message)


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_a_pause_stops_between_two_records_of_one_segment(how, version, pem):
    factory = Recording(prefix=MARK)
    factory.protocol = Pausing
    records = [b"record %d" % number for number in range(20)]
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            await in_thread(peer.shake_hands)
            wire = b"".join(map(peer.sealed, records)) + peer.sealed(notify=how != BARE_FIN)
            hearing = in_thread(peer.converse, wire, how != NOTIFY)
            for number in range(len(records)):
                await until(lambda count=number: factory.bytes_in == size_of(records, count + 1))
                await turn()
                assert factory.bytes_in == size_of(records, number + 1)
                assert not factory.only.eof_received
                factory.only.resume()
            assert await hearing == Heard(b"".join(MARK + each for each in records), True, "FIN")
        await all_gone(factory)
    assert factory.outcomes == [Outcome.TRUNCATED if how == BARE_FIN else Outcome.FINISHED]


def size_of(records: list[bytes], count: int) -> int:
    return sum(map(len, records[:count]))


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_pause_holds_up_the_sender_and_resume_loses_nothing(how, version, pem):
    factory = Recording(prefix=MARK)
    data = payload(4 * MIB)
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            await in_thread(peer.shake_hands)
            peer.socket.sendall(peer.sealed(b"one"))
            assert await in_thread(peer.receive, 12) == MARK + b"one"
            (paused,) = factory.connections
            paused.pause()
            wire = peer.sealed(data, how != BARE_FIN)
            hearing = in_thread(peer.converse, wire, how != NOTIFY)
            other = await in_thread(ask, address, b"other")
            assert other == Heard(MARK + b"other", True, "FIN")
            assert paused.bytes_in == 3
            assert not paused.eof_received
            paused.resume()
            heard = await hearing
        await all_gone(factory)
    assert unmarked(heard.data) == data
    assert heard.polite
    last = Outcome.TRUNCATED if how == BARE_FIN else Outcome.FINISHED
    assert factory.outcomes == [Outcome.FINISHED, last]


@pytest_twisted.ensureDeferred
async def test_nothing_is_taken_from_the_kernel_while_paused(pem):
    """What is not decrypted is not heaped up either."""
    factory = Recording(pause_on_connect=True)
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address) as peer:
            await in_thread(peer.shake_hands)
            rest, still = memoryview(peer.sealed(payload(32 * MIB))), 0
            peer.socket.setblocking(False)

            def stands_still() -> bool:
                nonlocal rest, still
                still += 1
                with suppress(BlockingIOError):
                    while rest:
                        rest = rest[peer.socket.send(rest) :]
                        still = 0
                assert rest, "the sender is never held up"
                return still >= 150

            await until(stands_still)
            assert factory.bytes_in == 0


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_an_end_that_comes_while_paused_is_told_after_resume(how, version, pem):
    factory = Recording(prefix=MARK, pause_on_connect=True, greeting=GREETING)
    async with serving_tls(factory, pem) as address:
        hearing = in_thread(ask, address, b"hello", how, version)
        await until(lambda: factory.bytes_out)
        await in_thread(exchange, address, b"")  # another one comes and goes meanwhile
        await turn(0.05)
        assert factory.bytes_in == factory.peers_ended == 0
        (paused,) = (each for each in factory.connections if each.bytes_out)
        paused.resume()
        assert await hearing == Heard(GREETING + MARK + b"hello", True, "FIN")
        await all_ended(factory, 1)
    assert factory.outcomes == [Outcome.TRUNCATED if how == BARE_FIN else Outcome.FINISHED]


async def all_ended(factory: Recording, count: int) -> None:
    """As :func:`all_gone` where some never got as far as to be the application's."""
    await within(factory.when_idle())
    await until(lambda: len(factory.outcomes) == count)


@pytest.mark.parametrize("end", ["drain", "abort", "reset"])
@pytest_twisted.ensureDeferred
async def test_a_paused_connection_with_an_end_unread_can_be_ended(end, pem):
    factory = Recording(pause_on_connect=True, linger=LIMIT)
    # A client whose end came in one packet with its handshake's has finished.
    drained = (Outcome.DRAINED, Outcome.FINISHED)
    outcomes = {"drain": drained, "abort": (Outcome.ABORTED,), "reset": (Outcome.RESET,)}
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address) as peer:
            await in_thread(peer.shake_hands)
            peer.socket.sendall(peer.sealed(b"unread", notify=True))
            await until(lambda: factory.count and factory.only.phase is Phase.OPEN)
            {
                "drain": factory.end_all,
                "abort": factory.abort_all,
                "reset": lambda: reset(peer.socket),
            }[end]()
            if end == "drain":
                assert (await in_thread(peer.converse)).polite
            await all_gone(factory, 10)
    assert len(factory.outcomes) == 1
    assert factory.outcomes[0] in outcomes[end]


def unread(connection: EchoProtocol) -> int:
    """Bytes that the kernel has for a server's connection."""
    size = fcntl.ioctl(connection._sender.socket.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(size, sys.byteorder)


@pytest.mark.parametrize("end", ["drain", "idle", "finish"])
@pytest_twisted.ensureDeferred
async def test_our_own_end_answers_all_that_was_read_from_a_slow_client(end, pem):
    """What is decrypted and what is not yet: it was read by us, and the client knows."""
    idle = {"idle_timeout": 4.0, "idle_action": "close"} if end == "idle" else {}
    factory = Recording(
        framing="line", prefix=b"P" * 1000, linger=LIMIT, pause_on_connect=True, **idle
    )
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, ANY, None, 8192) as peer:
            await in_thread(peer.shake_hands)
            # Paused by then: nothing is read that comes with the handshake's last words.
            await until(lambda: factory.count and factory.only.phase is Phase.OPEN)
            sealed = peer.sealed(b"a\n" * 30_000)
            await in_thread(peer.socket.sendall, sealed)
            await until(lambda: unread(factory.only) == len(sealed))
            connection = factory.only
            connection.resume()  # one read takes it all
            await until(lambda: factory.stuck)
            if end == "idle":
                await until(lambda: connection._deferred_close)
            else:
                {"drain": factory.end_all, "finish": connection.finish}[end]()
            assert connection.outcome is None  # it has yet to answer
            connection.write(b"too late")
            heard = await in_thread(peer.converse)
        await all_gone(factory, 10)
    assert heard.polite
    assert heard.data == (b"P" * 1000 + b"a\n") * (connection.bytes_in // 2)
    assert connection.bytes_in > 3 * 16384  # more than the records that were decrypted
    assert factory.peak <= 64 * 1024 + 4096
    words = {"drain": Outcome.DRAINED, "idle": Outcome.TIMED_OUT, "finish": Outcome.CLOSED}
    assert factory.outcomes == [words[end]]


@pytest_twisted.ensureDeferred
async def test_a_client_that_breaks_tls_and_takes_nothing_is_not_waited_for(pem):
    factory = Recording(prefix=b"P" * 4096, framing="line")
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, ANY, None, 4096) as peer:
            await in_thread(peer.shake_hands)
            lines = peer.sealed(b"a\n" * 7)  # answered by less than stops the reading
            sent = 0
            while not (factory.count and factory.only.queued):
                await in_thread(peer.socket.sendall, lines if not sent else peer.sealed(b"a\n"))
                sent += 1
                await turn(0.002)
            assert not factory.stuck
            await in_thread(peer.socket.sendall, b"\x17\x03\x03\x00\x20" + bytes(32))
            await all_gone(factory, 10)
    assert factory.outcomes == [Outcome.RESET]


@pytest_twisted.ensureDeferred
async def test_a_half_open_end_after_a_cut_is_told_as_such(pem):
    factory = Recording(allow_half_open=True, half_open_timeout=0.1)
    async with serving_tls(factory, pem) as address:
        await in_thread(ask, address, b"hello", BARE_FIN)
        await all_gone(factory, 10)
    assert factory.outcomes == [Outcome.TRUNCATED]


@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["x"]])
@pytest_twisted.ensureDeferred
async def test_a_client_that_offers_protocols_is_served_without_one(offered, pem):
    """As curl, browsers and proxies do (RFC 7301)."""
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings.check_hostname, settings.verify_mode = False, ssl.CERT_NONE
    settings.set_alpn_protocols(offered)
    factory = Recording(prefix=MARK)
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, settings) as peer:
            await in_thread(peer.shake_hands)
            assert peer.tls.selected_alpn_protocol() is None
            heard = await in_thread(peer.converse, peer.sealed(b"x", notify=True), True)
        await all_gone(factory)
    assert heard == Heard(MARK + b"x", True, "FIN")


# -- the handshake ----------------------------------------------------------------------


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
    with report_lines() as lines:
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
    with report_lines() as lines:
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
    with report_lines() as lines:
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


# -- our client -------------------------------------------------------------------------


def to_server(port: int, roots: Path, host: str = "localhost", **settings: Any) -> Any:
    """Our client, connecting as an endpoint string says."""
    words = f"tls:{host}:{port}:trustRoots={roots}"
    if host != "localhost":
        words += f":endpoint=tcp\\:127.0.0.1\\:{port}"
    return within(connect_client(client_endpoint(reactor, words).endpoint, **settings))


async def receive_to_end(client: EchoClient) -> bytes:
    pieces = []
    while piece := await within(client.receive()):
        pieces.append(piece)
    return b"".join(pieces)


@pytest_twisted.ensureDeferred
async def test_our_client_is_echoed_and_says_its_end_in_one_direction_only(pem):
    factory = Recording(prefix=MARK, allow_half_open=True)
    async with serving_tls(factory, pem) as (_, port):
        client = await to_server(port, pem)
        await within(client.write(b"hello"))
        assert await within(client.receive()) == MARK + b"hello"
        assert client.half_closes
        client.finish()
        await until(lambda: factory.peers_ended)
        late = payload(MIB)
        factory.only.write(late)
        await turn(0.05)
        factory.only.write(b"bye")
        factory.only.finish()
        assert await receive_to_end(client) == late + b"bye"
        assert await within(client.when_closed()) is Outcome.FINISHED
        await all_gone(factory)
    assert factory.outcomes == [Outcome.CLOSED]


@pytest_twisted.ensureDeferred
async def test_our_client_that_has_finished_gets_the_5_mib_that_are_in_flight(pem):
    factory = Recording(prefix=MARK)
    data = payload(5 * MIB)
    async with serving_tls(factory, pem) as (_, port):
        client = await to_server(port, pem)
        client.write(data)
        client.finish()
        assert unmarked(await receive_to_end(client)) == data
        assert await within(client.when_closed()) is Outcome.FINISHED
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED]


@pytest_twisted.ensureDeferred
async def test_what_was_written_has_left_before_our_client_says_that_it_has(pem):
    """A write waits for its bytes, though the close_notify is queued behind them."""
    factory = Recording(pause_on_connect=True)
    async with serving_tls(factory, pem) as (_, port):
        client = await to_server(port, pem)
        written = client.write(payload(16 * MIB))
        client.finish()
        await turn(0.05)
        assert client.queued
        assert not written.called
        written.addErrback(lambda _: None)
        client.abort()
        await within(client.when_closed())


@pytest_twisted.ensureDeferred
async def test_our_client_is_ended_by_the_servers_close_notify(pem):
    factory = Recording(greeting=GREETING)
    async with serving_tls(factory, pem) as (_, port):
        client = await to_server(port, pem)
        await until(lambda: factory.bytes_out)
        factory.end_all()
        assert await receive_to_end(client) == GREETING
        assert await within(client.when_closed()) is Outcome.FINISHED
        await all_gone(factory)
    assert factory.outcomes == [Outcome.DRAINED]


def answer_one(listener: socket.socket, settings: ssl.SSLContext, data: bytes) -> None:
    """Shake hands, say ``data``, and end TCP without a close_notify."""
    plain, _ = listener.accept()
    plain.settimeout(LIMIT)
    with settings.wrap_socket(plain, server_side=True) as server:
        server.sendall(data)
        with closing(socket.socket(fileno=server.detach())) as bare:
            bare.settimeout(LIMIT)
            bare.shutdown(socket.SHUT_WR)
            receive_all(bare)


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)
        yield listener


def server_context(pem: Path) -> ssl.SSLContext:
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    settings.load_cert_chain(pem)
    return settings


@pytest.mark.parametrize("finished", [False, True])
@pytest_twisted.ensureDeferred
async def test_our_client_can_tell_a_cut_from_an_end(finished, pem):
    with no_faults(), listening() as listener:
        serving_one = in_thread(answer_one, listener, server_context(pem), b"half of it")
        client = await to_server(listener.getsockname()[1], pem)
        if finished:
            client.finish()
        assert await receive_to_end(client) == b"half of it"
        assert await within(client.when_closed()) is Outcome.TRUNCATED
        await serving_one


@asynccontextmanager
async def failing_at_its_server(factory: Any, pem: Path) -> AsyncIterator[int]:
    """A server whose only client does not shake hands in the end; nothing is logged."""
    async with serving_tls(factory, pem) as (_, port):
        yield port
        await within(factory.when_idle())
    assert factory.outcomes == []
    assert factory.bytes_in == 0


@pytest_twisted.ensureDeferred
async def test_a_wrong_root_is_a_tls_error_that_says_so(pem, tmp_path):
    other = tmp_path / "other.pem"
    other.write_bytes(issue("localhost").certificate_pem)
    async with failing_at_its_server(Recording(), pem) as port:
        with pytest.raises(TLSError, match="certificate verify failed") as caught:
            await to_server(port, other)
    assert str(caught.value).isprintable()


@pytest_twisted.ensureDeferred
async def test_a_wrong_name_is_a_tls_error(tmp_path):
    other = tmp_path / "other.pem"
    other.write_bytes(issue("other.example").pem)
    async with failing_at_its_server(Recording(), other) as port:
        with pytest.raises(TLSError) as caught:
            await to_server(port, other)
    assert str(caught.value).isprintable()
    async with serving_tls(Recording(), other) as (_, port):
        client = await to_server(port, other, "other.example")
        client.finish()
        assert await receive_to_end(client) == b""


@pytest_twisted.ensureDeferred
async def test_an_expired_certificate_is_a_tls_error(tmp_path):
    old = tmp_path / "old.pem"
    old.write_bytes(issue("localhost", days=-0.5).pem)
    async with failing_at_its_server(Recording(), old) as port:
        with pytest.raises(TLSError, match="certificate verify failed"):
            await to_server(port, old)


def connecting(port: int, roots: Path, timeout: float = LIMIT) -> Any:
    """The attempt itself."""
    below = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    connector = TLSConnector(reactor, below, client_options("localhost", roots=str(roots)), timeout)
    return connector.connect(EchoClientFactory())


@pytest_twisted.ensureDeferred
async def test_a_server_that_never_shakes_hands_is_given_up_and_reset(pem):
    with no_faults(), listening() as listener:
        attempt = connecting(listener.getsockname()[1], pem, timeout=0.3)
        server, _ = await in_thread(listener.accept)
        server.settimeout(LIMIT)
        with server:
            with pytest.raises(DeferredTimeout, match=r"0\.3"):
                await within(attempt)
            with pytest.raises(ConnectionResetError):
                await in_thread(receive_all, server)


@pytest_twisted.ensureDeferred
async def test_an_attempt_can_be_cancelled_and_the_server_sees_its_end(pem):
    with no_faults(), listening() as listener:
        attempt = connecting(listener.getsockname()[1], pem)
        server, _ = await in_thread(listener.accept)
        server.settimeout(LIMIT)
        with server:
            assert (await in_thread(server.recv, 1)) == b"\x16"
            attempt.cancel()
            with pytest.raises(CancelledError):
                await within(attempt)
            with suppress(ConnectionResetError):
                await in_thread(receive_all, server)


@pytest_twisted.ensureDeferred
async def test_a_server_of_plain_text_is_a_tls_error(pem):
    for settings in ({"prefix": b""}, {"greeting": GREETING}):
        factory = Recording(**settings)
        async with serving(factory) as (_, port):
            with pytest.raises(TLSError, match=r"TLS: .+") as caught:
                await to_server(port, pem)
            assert str(caught.value).isprintable()


@pytest_twisted.ensureDeferred
async def test_a_server_that_hangs_up_is_an_error_in_words(pem):
    with no_faults(), listening() as listener:
        attempt = connecting(listener.getsockname()[1], pem)
        server, _ = await in_thread(listener.accept)
        with server:
            server.shutdown(socket.SHUT_WR)
            with pytest.raises(TLSError, match="ended before the handshake"):
                await within(attempt)


class Textbook(Protocol):
    """What every introduction to Twisted shows."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


@asynccontextmanager
async def textbook(pem: Path, protocol: type[Protocol] = Textbook) -> AsyncIterator[int]:
    """Twisted's own TLS, with a protocol that knows nothing."""
    creator = twisted_ssl.PrivateCertificate.loadPEM(pem.read_bytes()).options()
    endpoint = wrapServerTLS(creator, TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
    with no_faults():
        port = await endpoint.listen(Factory.forProtocol(protocol))
        try:
            yield port.getHost().port
        finally:
            await within(port.stopListening())


twisteds_own = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


@twisteds_own
@pytest_twisted.ensureDeferred
async def test_twisteds_own_server_echoes_and_our_client_finishes(pem):
    async with textbook(pem) as port:
        client = await to_server(port, pem)
        await within(client.write(b"hello"))
        assert await within(client.receive()) == b"hello"
        client.finish()
        assert await receive_to_end(client) == b""
        assert await within(client.when_closed()) is Outcome.FINISHED


@twisteds_own
@pytest_twisted.ensureDeferred
async def test_twisteds_own_server_gives_back_all_that_our_client_sent_before_its_end(pem):
    """Our close_notify comes in a later read of the server's than the data."""
    data = payload(MIB)
    async with textbook(pem) as port:
        client = await to_server(port, pem)
        writing = client.write(data)
        received = b""
        while len(received) < len(data):
            received += await within(client.receive())
        await within(writing)
        client.finish()
        assert received + await receive_to_end(client) == data
        assert await within(client.when_closed()) is Outcome.FINISHED


@twisteds_own
@pytest_twisted.ensureDeferred
async def test_twisteds_own_server_delivers_what_it_had_queued_when_our_client_finishes(pem):
    """It would throw that away at a FIN: our client sends none."""
    answer = payload(16 * MIB)

    class Generous(Protocol):
        def dataReceived(self, _: bytes) -> None:
            self.transport.write(answer)

    async with textbook(pem, Generous) as port:
        client = await to_server(port, pem)
        client.write(b"x")
        first = await within(client.receive())
        client.finish()
        await turn(0.1)  # so that the server knows of it long before it is done
        assert first + await receive_to_end(client) == answer
        assert await within(client.when_closed()) is Outcome.FINISHED


@twisteds_own
@pytest_twisted.ensureDeferred
async def test_twisteds_own_server_throws_away_at_most_what_it_read_last(pem):
    """It does so with what it wrote in the turn in which a close_notify comes.

    No client can help it but by waiting for the answers.
    """
    data = payload(MIB)
    async with textbook(pem) as port:
        client = await to_server(port, pem)
        client.write(data)
        client.finish()
        received = await receive_to_end(client)
        assert await within(client.when_closed()) is Outcome.FINISHED
    assert data.startswith(received)
    assert len(data) - len(received) < 64_000  # what Twisted collects before it encrypts


# -- other programs ---------------------------------------------------------------------


@pytest.mark.programs
@pytest_twisted.ensureDeferred
async def test_openssl_s_client_hears_everything(pem):
    openssl = need("openssl")
    factory = Recording(prefix=MARK, idle_timeout=0.5, idle_action="close")
    data = payload(200_000)
    async with serving_tls(factory, pem) as (_, port):
        command = [openssl, "s_client", "-quiet", "-connect", f"127.0.0.1:{port}"]
        done = await in_thread(run, command, data)
        await all_gone(factory)
    assert unmarked(done.stdout) == data
    assert factory.outcomes == [Outcome.TIMED_OUT]


def run(command: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=stdin, capture_output=True, timeout=LIMIT - 5, check=False)


NODE_CLIENT = r"""
const [port, size] = process.argv.slice(1).map(Number);
const options = {port, host: "127.0.0.1", servername: "localhost", allowHalfOpen: true,
                 ca: require("fs").readFileSync(process.argv[3])};
const hash = require("crypto").createHash("sha256");
const socket = require("tls").connect(options, () => socket.end(Buffer.alloc(size, "x")));
let bytes = 0;
socket.on("data", (data) => { bytes += data.length; hash.update(data); });
socket.on("error", (error) => { console.log(JSON.stringify({error: String(error)})); });
socket.on("end", () => console.log(JSON.stringify({bytes, sha256: hash.digest("hex")})));
"""


@pytest.mark.programs
@pytest.mark.parametrize("size", [5, 1_000_000])
@pytest_twisted.ensureDeferred
async def test_a_node_client_that_sends_and_ends_hears_everything(size, pem):
    node = need("node")
    factory = Recording(prefix=b"")
    async with serving_tls(factory, pem) as (_, port):
        command = [node, "-e", NODE_CLIENT, str(port), str(size), str(pem)]
        done = await in_thread(run, command, b"")
        await all_gone(factory)
    sha256 = hashlib.sha256(b"x" * size).hexdigest()
    assert json.loads(done.stdout) == {"bytes": size, "sha256": sha256}, done.stderr
    assert factory.outcomes == [Outcome.FINISHED]


NODE_SERVER = r"""
const pem = require("fs").readFileSync(process.argv[1]);
const options = {key: pem, cert: pem, allowHalfOpen: true};
const server = require("tls").createServer(options, (socket) => {
    socket.on("error", (error) => console.log("error", String(error)));
    socket.on("end", () => console.log("end"));
    socket.pipe(socket);
});
server.on("tlsClientError", (error) => console.log("no handshake", String(error)));
server.listen(0, "127.0.0.1", () => console.log("port", server.address().port));
"""


@pytest.mark.programs
@pytest_twisted.ensureDeferred
async def test_our_client_gets_everything_back_from_a_node_server(pem):
    data = payload(MIB)
    with no_faults(), closing(Process([need("node"), "-e", NODE_SERVER, str(pem)])) as node:
        port = int((await in_thread(node.wait_line, "^port ")).split()[1])
        client = await to_server(port, pem)
        client.write(data)
        client.finish()
        assert await receive_to_end(client) == data
        assert await within(client.when_closed()) is Outcome.FINISHED
        await in_thread(node.wait_line, "^end$")
        assert not node.matching("error|handshake")


# -- certificates by name ---------------------------------------------------------------


def shown_to(address: Any, name: str | None) -> bytes:
    with Peer(address, ANY, name) as peer:
        peer.shake_hands()
        found = peer.tls.getpeercert(binary_form=True)
        assert peer.converse(peer.sealed(b"x", notify=True)) == Heard(MARK + b"x", True, "FIN")
        assert found is not None
        return found


@pytest_twisted.ensureDeferred
async def test_the_name_that_a_client_asks_for_chooses_its_certificate(tmp_path):
    first, wild = issue("one.example", "also.example"), issue("*.wild.example")
    (tmp_path / "b.pem").write_bytes(wild.pem)
    (tmp_path / "a.pem").write_bytes(first.pem)
    factory = Recording(prefix=MARK)
    async with serving(factory, f"tls:{tmp_path}:0:interface=127.0.0.1") as address:
        assert address[1] != 0
        for name, wanted in (
            ("one.example", first),
            ("also.example", first),
            ("any.wild.example", wild),
            ("ANY.Wild.example", wild),
            ("unknown.example", first),
            (None, first),
        ):
            found = await in_thread(shown_to, address, name)
            assert found == wanted.certificate.public_bytes(DER), name
        await all_gone(factory)
    assert set(factory.outcomes) == {Outcome.FINISHED}


@pytest_twisted.ensureDeferred
async def test_our_client_verifies_the_name_that_it_asks_for(tmp_path):
    first, wild = issue("localhost"), issue("*.wild.example")
    (tmp_path / "a.pem").write_bytes(first.pem)
    (tmp_path / "b.pem").write_bytes(wild.pem)
    factory = Recording(prefix=MARK)
    async with serving(factory, f"tls:{tmp_path}:0:interface=127.0.0.1") as (_, port):
        for host in ("localhost", "any.wild.example"):
            client = await to_server(port, tmp_path, host)
            client.write(b"hello")
            client.finish()
            assert await receive_to_end(client) == MARK + b"hello"
        with pytest.raises(TLSError):
            await to_server(port, tmp_path, "unknown.example")
