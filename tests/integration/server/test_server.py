"""The server in this process, on real sockets: plain blocking clients in threads.

Everything here holds for every reactor.
"""

from __future__ import annotations

import errno
import random
import select
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet import ssl as twisted_ssl
from twisted.internet.endpoints import TCP4ServerEndpoint, wrapServerTLS
from twisted.logger import globalLogPublisher

from echosvc import EchoFactory, EchoProtocol, EchoService, Outcome
from echosvc.endpoints import server_endpoint
from echosvc.net.errors import ListenError
from tests.support.process import (
    LIMIT,
    connect,
    exchange,
    in_thread,
    no_faults,
    receive_all,
    receive_exactly,
    reset,
    serving,
    turn,
    until,
    within,
)

KIB = 1024
MIB = KIB * KIB
READ = 64 * KIB  # what one read of Twisted's delivers at most
HIGH_WATER = 64 * KIB
#: A prefix that occurs in no payload: taking its bytes out gives back what was sent.
MARK = b"\xff" * 9
#: More than any kernel holds for a connection whose two ends have small buffers.
TOO_MUCH = 64 * MIB
TLS_STRING = "ssl"


class Recorded(EchoProtocol):
    """Notes what tests ask for, at every moment at which it changes."""

    factory: Recording
    stuck = False
    answered = 0

    def _note(self) -> None:
        self.factory.peak = max(self.factory.peak, self.queued)
        self.factory.held = max(self.factory.held, self.bytes_in - self.answered)

    def reply(self, message: bytes) -> bytes | None:
        self.answered += len(message)
        return super().reply(message)

    def opened(self) -> None:
        super().opened()
        self._note()

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self._note()

    def pauseProducing(self) -> None:
        self.stuck = True
        super().pauseProducing()
        self._note()

    def resumeProducing(self) -> None:
        self.stuck = False
        super().resumeProducing()
        self._note()

    def idle(self, seconds: float) -> None:
        self.factory.idles.append((self.number, time.monotonic()))

    def peer_ended(self) -> None:
        self.factory.peers_ended += 1

    def ended(self, outcome: Outcome) -> None:
        self.factory.outcomes.append(outcome)


class Recording(EchoFactory):
    """Nothing logged, no idle time-out unless asked for.

    :ivar peak: the most that any connection had queued.
    :ivar held: the most that any had read and not answered yet.
    :ivar idles: the idle reports: which connection, when.
    """

    protocol = Recorded

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"idle_timeout": 0, "log": "quiet", **settings})
        self.peak = self.held = self.peers_ended = 0
        self.idles: list[tuple[int, float]] = []
        self.outcomes: list[Outcome] = []

    @property
    def only(self) -> Any:
        (connection,) = self.connections
        return connection

    @property
    def stuck(self) -> bool:
        return any(connection.stuck for connection in self.connections)


def answering(answer: bytes) -> type[Recorded]:
    """A protocol that answers every message with ``answer``."""

    class Answering(Recorded):
        def reply(self, message: bytes) -> bytes:
            return answer

    return Answering


def payload(size: int, seed: int = 0) -> bytes:
    """Bytes without :data:`MARK`'s. Their period divides no power of two, so that a

    block that is lost, repeated or out of order shows.
    """
    block = random.Random(seed).randbytes(65521).replace(b"\xff", b"\0")
    return (block * (size // len(block) + 1))[:size]


def unmarked(data: bytes) -> bytes:
    return data.replace(b"\xff", b"")


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def push(client: socket.socket, data: bytes = payload(READ)) -> int:
    """Send until the kernel takes no more; give how much it took."""
    client.setblocking(False)
    sent = 0
    try:
        while True:
            sent += client.send(data)
    except (BlockingIOError, ssl.SSLWantWriteError):
        return sent


async def stalled(factory: Recording, client: socket.socket, looks_in_a_row: int = 1) -> int:
    """Send, and never read, until nothing moves any more; give how much was sent.

    The server is stuck for a moment now and then, and a full kernel tries again after
    some 200 ms. Where nothing may move any more at all, ask for many looks in a row.
    """
    sent = 0
    looks: list[tuple[int, int]] = []

    def stands_still() -> bool:
        nonlocal sent
        more = push(client)
        sent += more
        assert sent < TOO_MUCH, "the sender is never held up"
        state = factory.bytes_in, factory.bytes_out - sum(c.queued for c in factory.connections)
        if more or not factory.stuck or (looks and looks[-1] != state):
            looks.clear()
        looks.append(state)
        return not more and factory.stuck and len(looks) >= looks_in_a_row

    await until(stands_still)
    return sent


def reader(address: Any) -> socket.socket:
    """A client whose sender soon has to wait for it. The kernel alone connects it."""
    return connect(address, receive_buffer=4096)


def talk(address: Any, times: int = 20) -> bool:
    """Whether another client is served."""
    with connect(address) as client:
        for number in range(times):
            message = b"message %d\n" % number
            client.sendall(message)
            if not receive_until(client, message):
                return False
    return True


def receive_until(client: socket.socket, end: bytes) -> bytes:
    """What comes until it ends with ``end``; nothing, if the stream ends before."""
    data = b""
    while not data.endswith(end):
        piece = client.recv(READ)
        if not piece:
            return b""
        data += piece
    return data


async def all_gone(factory: Recording, limit: float = LIMIT) -> None:
    """Wait until every connection has ended and has said how."""
    await within(factory.when_idle(), limit)
    await until(lambda: len(factory.outcomes) == factory.accepted)


def last_word(client: socket.socket) -> str:
    """How the stream ends for a client that still reads: EOF, or the error's name."""
    try:
        while client.recv(MIB):
            pass
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "EOF"


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory whose name is short enough for UNIX sockets."""
    with tempfile.TemporaryDirectory(prefix="echo") as directory:
        yield Path(directory)


@pytest.fixture(params=["tcp", "unix"])
def where(request: pytest.FixtureRequest, sockets: Path) -> str:
    return "tcp:0:interface=127.0.0.1" if request.param == "tcp" else f"unix:{sockets}/s"


# -- the client's end -------------------------------------------------------------------


def finished_clients(address: Any, messages: list[bytes]) -> list[socket.socket]:
    """Clients whose data and FIN are all in the kernel before anybody reads them.

    To be called on the reactor's thread, which thereby reads nothing meanwhile.
    """
    clients = []
    for message in messages:
        client = connect(address)
        client.send(message, socket.MSG_MORE)  # so that one packet takes the FIN too
        half_close(client)
        clients.append(client)
    return clients


def receive_each(clients: list[socket.socket]) -> list[bytes]:
    answers = []
    for client in clients:
        with client:
            answers.append(receive_all(client))
    return answers


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


def send_and_finish(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    half_close(client)


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


# -- many messages in one read ----------------------------------------------------------


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


# -- clients that send and never read ---------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_client_that_never_reads_stalls_and_harms_nobody(where):
    factory = Recording(prefix=MARK)
    async with serving(factory, where) as address:
        with reader(address) as client:
            await stalled(factory, client)
            assert await in_thread(talk, address)
            assert push(client) == 0
            read = factory.bytes_in
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


ENDS = {
    "drain": (lambda factory, client: factory.end_all(), Outcome.DRAINED),
    "abort": (lambda factory, client: factory.abort_all(), Outcome.ABORTED),
    "client reset": (lambda factory, client: reset(client), Outcome.RESET),
    "client loss": (lambda factory, client: client.close(), Outcome.RESET),
}


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


@pytest_twisted.ensureDeferred
async def test_a_stalled_client_gets_everything_once_it_reads():
    factory = Recording(prefix=MARK)
    async with serving(factory) as address:
        with reader(address) as client:
            sent = await stalled(factory, client)
            client.settimeout(LIMIT)
            half_close(client)
            received = await in_thread(receive_all, client)
    assert len(unmarked(received)) == sent


# -- our own end ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_our_close_with_unread_client_data_lets_every_byte_arrive(where):
    factory = Recording(pause_on_connect=True)
    answer = payload(4_000_000)
    async with serving(factory, where) as address:
        with reader(address) as client:
            client.sendall(b"x" * 20_000)
            await until(lambda: factory.count)
            factory.only.write(answer)
            factory.only.finish()
            assert await in_thread(receive_all, client) == answer
        await all_gone(factory)
    assert factory.outcomes == [Outcome.CLOSED]


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
            assert 0.29 <= time.monotonic() - finished < 3
    assert factory.count == 0
    assert factory.outcomes == [Outcome.CLOSED]


@pytest_twisted.ensureDeferred
async def test_what_comes_after_our_fin_is_read_and_discarded():
    factory = Recording(linger=LIMIT)
    async with serving(factory) as address:
        with connect(address) as client:
            await until(lambda: factory.count)
            factory.only.finish()
            assert await in_thread(receive_all, client) == b""
            await in_thread(send_and_finish, client, payload(16 * MIB))
            await all_gone(factory)
            assert await in_thread(last_word, client) == "EOF"
    assert factory.bytes_in == 16 * MIB
    assert factory.bytes_out == 0
    assert factory.outcomes == [Outcome.CLOSED]


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


# -- half-open --------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_half_open_connection_is_ended_by_the_application(where):
    factory = Recording(prefix=MARK, allow_half_open=True, idle_timeout=0.1)
    async with serving(factory, where) as address:
        with connect(address) as client:
            client.sendall(b"hi")
            half_close(client)
            assert await in_thread(receive_exactly, client, 11) == MARK + b"hi"
            await until(lambda: factory.peers_ended and factory.idles)
            assert factory.only.eof_received
            assert not factory.only.closing
            factory.only.write(b"bye")
            factory.only.finish()
            assert await in_thread(receive_all, client) == b"bye"
        await all_gone(factory)
    assert factory.outcomes == [Outcome.CLOSED]


@pytest_twisted.ensureDeferred
async def test_a_half_open_connection_ends_after_its_time_out(where):
    factory = Recording(prefix=MARK, allow_half_open=True, half_open_timeout=0.4)
    async with serving(factory, where) as address:
        with connect(address) as client:
            client.sendall(b"hi")
            half_close(client)
            finished = time.monotonic()
            assert await in_thread(receive_all, client) == MARK + b"hi"
            assert 0.39 <= time.monotonic() - finished < 3
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


# -- messages that are none -------------------------------------------------------------

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


# -- TLS --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with a fresh key and a certificate that it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + signed.public_bytes(serialization.Encoding.PEM)
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(pem)
    return path


@asynccontextmanager
async def serving_tls(factory: EchoFactory, pem: Path, how: str) -> AsyncIterator[Any]:
    """As :func:`serving`, by an endpoint string or by Twisted's wrapper."""
    if how == TLS_STRING:
        async with serving(factory, f"ssl:0:privateKey={pem}:interface=127.0.0.1") as address:
            yield address
        return
    context = twisted_ssl.PrivateCertificate.loadPEM(pem.read_bytes()).options()
    endpoint = wrapServerTLS(context, TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
    with no_faults():
        port = await endpoint.listen(factory)
        try:
            yield ("127.0.0.1", port.getHost().port)
        finally:
            await within(port.stopListening())
            factory.abort_all()
            await within(factory.when_idle())


def tls(test: Any) -> Any:
    """For both ways; what Twisted passes to pyOpenSSL is not our concern."""
    ignoring = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
    return pytest.mark.parametrize("how", [TLS_STRING, "wrapServerTLS"])(ignoring(test))


def connect_tls(address: Any, receive_buffer: int = 0) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = connect(address, receive_buffer)
    try:
        return context.wrap_socket(plain)
    except BaseException:
        plain.close()
        raise


class Relay:
    """Between one client and the server; records every byte that passes."""

    def __init__(self, target: Any) -> None:
        self.seen = b""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LIMIT)
        self.address = self._listener.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, connect(self._target) as server:
            peers = {client: server, server: client}
            while peers:
                for source in select.select(list(peers), [], [], LIMIT)[0]:
                    self._pass_on(source, peers)

    def _pass_on(self, source: socket.socket, peers: dict[socket.socket, socket.socket]) -> None:
        data = source.recv(READ)
        self.seen += data
        if data:
            peers[source].sendall(data)
        else:
            half_close(peers.pop(source))

    def close(self) -> None:
        self._listener.close()
        self._thread.join(LIMIT)


def talk_tls(address: Any, message: bytes, size: int) -> bytes:
    with connect_tls(address) as client:
        client.sendall(message)
        answer = receive_exactly(client, size)
        client.unwrap().close()
        return answer


@tls
@pytest_twisted.ensureDeferred
async def test_tls_puts_no_plain_text_on_the_wire(how, certificate):
    factory = Recording(prefix=b"PREFIX PREFIX ", greeting=b"GREETING GREETING ")
    async with serving_tls(factory, certificate, how) as address:
        relay = Relay(address)
        try:
            answer = await in_thread(talk_tls, relay.address, b"SECRET", 18 + 14 + 6)
            await all_gone(factory)
        finally:
            await in_thread(relay.close)
    assert answer == b"GREETING GREETING PREFIX PREFIX SECRET"
    assert len(relay.seen) > 500
    assert not any(word in relay.seen for word in (b"SECRET", b"PREFIX", b"GREETING"))
    assert factory.outcomes == [Outcome.FINISHED]


def alternate(client: ssl.SSLSocket, data: bytes, size: int) -> bytes:
    """Send ``data`` and read ``size`` bytes, each as it goes."""
    received, todo = [], memoryview(data)
    client.setblocking(False)
    while size:
        select.select([client], [client] if todo else [], [], 0.05)
        try:
            while todo:
                todo = todo[client.send(todo[:16384]) :]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        try:
            while size:
                received.append(client.recv(READ))
                size -= len(received[-1])
                assert received[-1], "EOF"
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
    return b"".join(received)


@tls
@pytest_twisted.ensureDeferred
async def test_tls_has_back_pressure_and_loses_nothing(how, certificate):
    factory = Recording(prefix=b"")
    async with serving_tls(factory, certificate, how) as address:
        with await in_thread(connect_tls, address, 4096) as client:
            await stalled(factory, client, looks_in_a_row=300)
            read = factory.bytes_in
            with await in_thread(connect_tls, address) as other:
                await in_thread(other.sendall, b"hello")
                assert await in_thread(receive_exactly, other, 5) == b"hello"
            assert factory.bytes_in == read + 5
            client.settimeout(LIMIT)
            received = await in_thread(receive_exactly, client, read)
            assert received == (payload(READ) * (read // READ + 1))[:read]
    assert factory.peak <= 4 * HIGH_WATER


@tls
@pytest_twisted.ensureDeferred
async def test_tls_delivers_all_that_is_due_when_a_stalled_client_is_closed(how, certificate):
    factory = Recording(prefix=b"", linger=LIMIT)
    async with serving_tls(factory, certificate, how) as address:
        with await in_thread(connect_tls, address, 4096) as client:
            await stalled(factory, client)
            due = factory.bytes_in  # with no prefix, as much as comes back
            factory.end_all()
            client.settimeout(LIMIT)
            # And what was read of the next, but not decrypted yet.
            assert due <= len(await in_thread(receive_all, client)) <= due + READ
        await all_gone(factory, 5)  # it has closed, so there is nothing to wait for
    assert factory.outcomes == [Outcome.DRAINED]


@tls
@pytest_twisted.ensureDeferred
async def test_tls_delivers_8_mib_in_order(how, certificate):
    factory = Recording(prefix=b"")
    data = payload(8 * MIB)
    async with serving_tls(factory, certificate, how) as address:
        with await in_thread(connect_tls, address, 4096) as client:
            assert await in_thread(alternate, client, data, len(data)) == data
    assert factory.peak <= 4 * HIGH_WATER


@pytest.mark.parametrize("stall", [False, True])
@tls
@pytest_twisted.ensureDeferred
async def test_tls_idle_close_ends_within_its_bound(how, stall, certificate):
    """Though the client never answers our close_notify, or reads nothing at all."""
    factory = Recording(idle_timeout=0.3, idle_action="close", linger=0.1, greeting=b"hello")
    async with serving_tls(factory, certificate, how) as address:
        with await in_thread(connect_tls, address, 4096) as client:
            if stall:
                await stalled(factory, client)
            await all_gone(factory, 10)
    assert factory.outcomes == [Outcome.TIMED_OUT]


@pytest_twisted.ensureDeferred
async def test_a_tls_client_that_never_shakes_hands_is_ended(certificate):
    """It is a connection, counted and ended, but none that the application hears of."""
    factory = Recording(handshake_timeout=0.3, idle_timeout=0.1, greeting=b"hello")
    async with serving_tls(factory, certificate, TLS_STRING) as address:
        with connect(address) as client:
            await until(lambda: factory.count)
            connection = factory.only
            await until(lambda: not factory.count, 10)
            with pytest.raises(ConnectionResetError):
                await in_thread(receive_all, client)
    assert connection.outcome is Outcome.HANDSHAKE
    assert factory.outcomes == factory.idles == []


@tls
@pytest_twisted.ensureDeferred
async def test_tls_paused_on_connect_shakes_hands_and_reads_after_resume(how, certificate):
    factory = Recording(prefix=MARK, pause_on_connect=True)
    async with serving_tls(factory, certificate, how) as address:
        with await in_thread(connect_tls, address) as client:
            await in_thread(client.sendall, b"hello")
            assert factory.bytes_out == 0
            factory.only.resume()
            assert await in_thread(receive_exactly, client, 14) == MARK + b"hello"


# -- pause and resume -------------------------------------------------------------------


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
async def test_pause_holds_up_the_sender_and_resume_loses_nothing(where):
    factory = Recording(prefix=MARK)
    async with serving(factory, where) as address:
        with connect(address) as client:
            client.sendall(b"one")
            assert await in_thread(receive_exactly, client, 12) == MARK + b"one"
            factory.only.pause()
            data = payload(16 * MIB)
            sending = in_thread(send_and_finish, client, data)
            await in_thread(exchange, address, b"")
            read = factory.only.bytes_in
            assert read == 3
            factory.only.resume()
            assert unmarked(await in_thread(receive_all, client)) == data
            await sending


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


# -- socket options ---------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_keep_alive_sets_the_delay_an_interval_of_a_second_and_10_probes():
    factory = Recording(keep_alive=7)
    async with serving(factory) as address:
        with connect(address):
            await until(lambda: factory.count)
            handle = factory.only.transport.getHandle()
            assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            tcp = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
            values = [handle.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in tcp]
    assert values == [7, 1, 10]


@pytest.mark.parametrize("nagle", [False, True])
@pytest_twisted.ensureDeferred
async def test_nagle_and_keep_alive_are_off_where_they_are_to_be(nagle):
    factory = Recording(nagle=nagle, keep_alive=0)
    async with serving(factory) as address:
        with connect(address):
            await until(lambda: factory.count)
            handle = factory.only.transport.getHandle()
            assert bool(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) is not nagle
            assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


@pytest_twisted.ensureDeferred
async def test_keep_alive_begins_after_a_minute_by_default():
    factory = Recording()
    async with serving(factory) as address:
        with connect(address):
            await until(lambda: factory.count)
            handle = factory.only.transport.getHandle()
            assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


@pytest_twisted.ensureDeferred
async def test_tcp_options_do_no_harm_on_unix_sockets(sockets):
    factory = Recording(prefix=MARK, keep_alive=7, nagle=True)
    async with serving(factory, f"unix:{sockets}/s") as address:
        assert await in_thread(exchange, address, b"hello") == MARK + b"hello"


# -- idle time --------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_is_reported_once_and_not_early():
    """That there is no second report is seen when the second connection has had its."""
    factory = Recording(idle_timeout=0.3)
    async with serving(factory) as address:
        before = time.monotonic()
        with connect(address):
            await until(lambda: factory.idles)
            assert factory.idles[0][1] - before >= 0.3
            with connect(address):
                await until(lambda: len(factory.idles) > 1)
                assert [number for number, _ in factory.idles] == [1, 2]
                assert factory.count == 2


@pytest_twisted.ensureDeferred
async def test_every_read_begins_a_new_idle_period():
    factory = Recording(idle_timeout=0.4, prefix=MARK)
    async with serving(factory) as address:
        with connect(address) as client:
            for _ in range(4):
                client.sendall(b"x")
                sent = time.monotonic()
                assert await in_thread(receive_exactly, client, 10) == MARK + b"x"
                await turn(0.2)
            assert not factory.idles
            await until(lambda: factory.idles)
            assert factory.idles[0][1] - sent >= 0.4
            client.sendall(b"x")
            sent = time.monotonic()
            await until(lambda: len(factory.idles) > 1)
            assert factory.idles[1][1] - sent >= 0.4


def sip(client: socket.socket, connection: EchoProtocol) -> Callable[[], bool]:
    """Read on until the server could send more."""
    before = connection.queued
    client.setblocking(False)

    def moved() -> bool:
        with suppress(BlockingIOError):
            while connection.queued == before:
                client.recv(MIB)
        return connection.queued < before

    return moved


@pytest_twisted.ensureDeferred
async def test_a_reader_that_drains_slowly_is_not_idle_and_one_that_stalls_is():
    factory = Recording(idle_timeout=0.8)
    factory.protocol = answering(payload(64 * MIB))
    async with serving(factory) as address:
        with connect(address, receive_buffer=512 * KIB) as client:
            client.sendall(b"x")
            await until(lambda: factory.stuck)
            for _ in range(12):
                await until(sip(client, factory.only))
                moved = time.monotonic()
                await turn(0.1)
            assert not factory.idles
            assert factory.only.queued
            await until(lambda: factory.idles)
            assert factory.idles[0][1] - moved >= 0.8
    assert len(factory.idles) == 1


@pytest_twisted.ensureDeferred
async def test_a_client_that_never_reads_is_reported_once():
    factory = Recording(idle_timeout=0.3)
    async with serving(factory) as address:
        with reader(address) as client:
            await stalled(factory, client)
            await until(lambda: factory.idles)
            with connect(address):
                await until(lambda: len(factory.idles) > 1)
            assert [number for number, _ in factory.idles] == [1, 2]


# -- the service ------------------------------------------------------------------------


@asynccontextmanager
async def started(factory: EchoFactory, *endpoints: str) -> AsyncIterator[EchoService]:
    service = EchoService(factory, [server_endpoint(reactor, words) for words in endpoints])
    with no_faults():
        service.startService()
        try:
            yield service
        finally:
            factory.abort_all()
            if service.running:
                await within(service.stopService())
            await within(factory.when_idle())


def address_of(service: EchoService, index: int = 0) -> Any:
    host = service.ports[index].getHost()
    return (host.host, host.port) if hasattr(host, "port") else host.name.decode()


def refused(address: Any) -> bool:
    try:
        connect(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


@pytest_twisted.ensureDeferred
async def test_the_service_serves_on_every_listener_and_then_on_none(sockets):
    factory = Recording(prefix=MARK)
    words = ("tcp:0:interface=127.0.0.1", "tcp6:0:interface=\\:\\:1", f"unix:{sockets}/s")
    async with started(factory, *words) as service:
        addresses = [address_of(service, index) for index in range(3)]
        for address in addresses:
            assert await in_thread(exchange, address, b"hello") == MARK + b"hello"
        await within(service.stopService())
        assert all(refused(address) for address in addresses)
    assert not (sockets / "s").exists()


@pytest.mark.parametrize("moment", ["before the stop", "right after it"])
@pytest_twisted.ensureDeferred
async def test_clients_that_nobody_has_accepted_yet_are_answered_at_the_stop(where, moment):
    factory = Recording(prefix=MARK)
    async with started(factory, where) as service:
        address = address_of(service)
        # All this before the reactor's next turn: nobody is accepted meanwhile.
        late = moment != "before the stop"
        stopping = service.stopService() if late else None
        clients = finished_clients(address, [b"client %d" % number for number in range(20)])
        stopping = stopping or service.stopService()
        answers = await in_thread(receive_each, clients)
        await within(stopping)
    assert answers == [MARK + b"client %d" % number for number in range(20)]


@pytest_twisted.ensureDeferred
async def test_live_connections_are_served_until_they_end(where):
    factory = Recording(prefix=MARK)
    async with started(factory, where) as service:
        address = address_of(service)
        with connect(address) as client:
            await until(lambda: factory.count)
            stopping = service.stopService()
            await turn()  # in this turn the listener, empty, is closed
            await turn()
            assert refused(address)
            for _ in range(20):
                client.sendall(b"x")
                assert await in_thread(receive_exactly, client, 10) == MARK + b"x"
            assert not stopping.called
            half_close(client)
            assert await in_thread(receive_all, client) == b""
        await within(stopping)
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED]


@pytest_twisted.ensureDeferred
async def test_when_the_time_is_up_connections_are_closed_politely(where):
    factory = Recording(prefix=MARK, drain=0.3, linger=LIMIT)
    async with started(factory, where) as service:
        with connect(address_of(service)) as client:
            await until(lambda: factory.count)
            asked = time.monotonic()
            stopping = service.stopService()
            assert await in_thread(receive_all, client) == b""
            assert 0.29 <= time.monotonic() - asked < 3
            assert not stopping.called
            await in_thread(client.sendall, b"too late")
        await within(stopping)
        await all_gone(factory)
    assert factory.outcomes == [Outcome.DRAINED]


@pytest.mark.parametrize("reads", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_close_is_aborted_after_drain_and_linger(reads):
    factory = Recording(prefix=MARK, drain=0.2, linger=0.2)
    async with started(factory, "tcp:0:interface=127.0.0.1") as service:
        with reader(address_of(service)) as client:
            await until(lambda: factory.count)
            if not reads:
                await stalled(factory, client)
            asked = time.monotonic()
            await within(service.stopService())
            assert 0.39 <= time.monotonic() - asked < 5
        await all_gone(factory)
    assert factory.outcomes == [Outcome.DRAINED]


@pytest_twisted.ensureDeferred
async def test_the_service_is_terminated_only_when_the_last_connection_has_said_its_end():
    factory = Recording(log="connections")
    lines: list[str] = []

    def observe(event: Any) -> None:
        if event.get("log_namespace") == "echosvc":
            lines.append(event["log_format"].partition(":")[0])

    globalLogPublisher.addObserver(observe)
    try:
        async with started(factory, "tcp:0:interface=127.0.0.1") as service:
            with connect(address_of(service)):
                await until(lambda: factory.count)
                stopping = service.stopService()
            await within(stopping)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert lines == [
        "Server listening",
        "Client connection",
        "Client disconnected",
        "Server Terminated",
    ]


@pytest_twisted.ensureDeferred
async def test_the_server_is_idle_only_when_the_last_connection_has_ended_for_the_application():
    factory = Recording()
    async with serving(factory) as address:
        client = connect(address)
        await until(lambda: factory.count)
        told = factory.when_idle().addCallback(lambda _: list(factory.outcomes))
        client.close()
        assert await within(told) == [Outcome.FINISHED]


@pytest_twisted.ensureDeferred
async def test_a_second_round_of_start_and_stop_works():
    factory = Recording(prefix=MARK)
    async with started(factory, "tcp:0:interface=127.0.0.1") as service:
        await within(service.stopService())
        service.startService()
        assert await in_thread(exchange, address_of(service), b"x") == MARK + b"x"


@pytest_twisted.ensureDeferred
async def test_a_failed_bind_names_the_address_and_closes_what_was_opened():
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        first, second = free.getsockname(), taken.getsockname()
        free.close()
        words = [f"tcp:{port}:interface=127.0.0.1" for _, port in (first, second)]
        service = EchoService(Recording(), [server_endpoint(reactor, each) for each in words])
        with pytest.raises(ListenError) as caught:
            service.bind()
        assert f"127.0.0.1:{second[1]}" in str(caught.value)
        assert "EADDRINUSE" in str(caught.value)
        await until(lambda: refused(first))
        assert service.ports == []
    service.startService()
    assert len(service.ports) == 2
    await within(service.stopService())


@pytest_twisted.ensureDeferred
async def test_a_live_unix_path_is_refused_and_named(sockets):
    factory = Recording(prefix=MARK)
    words = f"unix:{sockets}/s"
    async with started(factory, words) as service:
        second = EchoService(Recording(), [server_endpoint(reactor, words)])
        with pytest.raises(ListenError, match=rf"{sockets}/s.*EADDRINUSE"):
            second.startService()
        assert await in_thread(exchange, address_of(service), b"x") == MARK + b"x"
