"""The client in this process, on real sockets: against our server and against plain sockets."""

from __future__ import annotations

import os
import random
import select
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionLost,
)
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from echosvc import EchoClient, EchoClientFactory, EchoFactory, Outcome, connect
from echosvc.cli.send import STDIN, SendError, SendOptions, SendSession
from echosvc.cli.standard_input import InputError, InputReader
from echosvc.cli.terminal import OutputError
from echosvc.endpoints import client_endpoint
from echosvc.net.errors import describe_error
from echosvc.wire.template import Template
from tests.support.process import (
    LIMIT,
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
READ = HIGH_WATER = 64 * KIB
MARK = b"\xff" * 9  # a prefix that occurs in no payload


def payload(size: int) -> bytes:
    block = random.Random(size).randbytes(65521).replace(b"\xff", b"\0")
    return (block * (size // len(block) + 1))[:size]


def quiet(**settings: Any) -> EchoFactory:
    return EchoFactory(**{"prefix": MARK, "idle_timeout": 0, "log": "quiet", **settings})


def endpoint_of(address: Any) -> Any:
    if isinstance(address, tuple):
        return TCP4ClientEndpoint(reactor, *address)
    return UNIXClientEndpoint(reactor, address)


def listening(where: str, receive_buffer: int = 0) -> socket.socket:
    """A plain listener: the kernel alone connects whoever comes."""
    family = socket.AF_INET if where == "tcp" else socket.AF_UNIX
    listener = socket.socket(family)
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind(("127.0.0.1", 0) if where == "tcp" else where)
    listener.listen()
    listener.settimeout(LIMIT)
    return listener


def accepted(listener: socket.socket) -> socket.socket:
    server, _ = listener.accept()
    server.settimeout(LIMIT)
    return server


@asynccontextmanager
async def pair(
    where: str = "tcp", *, receive_buffer: int = 0, factory: Any = None, **settings: Any
) -> AsyncIterator[tuple[EchoClient, socket.socket]]:
    """A client, and the plain socket at the other end."""
    with no_faults(), listening(where, receive_buffer) as listener:
        endpoint = endpoint_of(listener.getsockname())
        attempt = endpoint.connect(factory) if factory else connect(endpoint, **settings)
        client = await within(attempt)
        with accepted(listener) as server:
            try:
                yield client, server
            finally:
                client.abort()
                await within(client.when_closed())


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory whose name is short enough for UNIX sockets."""
    with tempfile.TemporaryDirectory(prefix="echo") as directory:
        yield Path(directory)


@pytest.fixture(params=["tcp", "unix"])
def where(request: pytest.FixtureRequest, sockets: Path) -> str:
    return "tcp" if request.param == "tcp" else f"{sockets}/s"


def server_words(where: str) -> str:
    return "tcp:0:interface=127.0.0.1" if where == "tcp" else f"unix:{where}"


async def receive_to_end(client: EchoClient) -> bytes:
    pieces = []
    while piece := await within(client.receive()):
        pieces.append(piece)
    return b"".join(pieces)


def started(coroutine: Any) -> Deferred[Any]:
    return within(Deferred.fromCoroutine(coroutine))


def half_close(server: socket.socket) -> None:
    server.shutdown(socket.SHUT_WR)


# -- with our server --------------------------------------------------------------------


async def write_all(client: EchoClient, data: bytes) -> int:
    """Write with back-pressure, then finish; give the most that was queued."""
    most = 0
    for start in range(0, len(data), READ):
        written = client.write(data[start : start + READ])
        most = max(most, client.queued)
        await within(written)
    client.finish()
    return most


@pytest_twisted.ensureDeferred
async def test_32_mib_go_there_and_back_with_little_queued_on_either_side(where):
    data = payload(32 * MIB)
    async with serving(quiet(), server_words(where)) as address:
        client = await within(connect(endpoint_of(address)))
        writing = started(write_all(client, data))
        received = await receive_to_end(client)
        assert await writing <= HIGH_WATER + READ
        assert await within(client.when_closed()) is Outcome.FINISHED
    assert received.replace(b"\xff", b"") == data
    assert client.bytes_out == len(data)
    assert client.bytes_in == len(received)


@pytest_twisted.ensureDeferred
async def test_many_clients_at_once_each_get_their_own(where):
    async with serving(quiet(), server_words(where)) as address:
        attempts = [connect(endpoint_of(address)) for _ in range(20)]
        clients = [await within(attempt) for attempt in attempts]
        for number, client in enumerate(clients):
            client.write(b"client %d" % number)
            client.finish()
        for number, client in enumerate(clients):
            assert await receive_to_end(client) == MARK + b"client %d" % number
            assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_the_client_knows_both_addresses():
    async with serving(quiet()) as address:
        client = await within(connect(endpoint_of(address), nagle=True, keep_alive=9))
        assert client.remote == f"127.0.0.1:{address[1]}"
        assert client.local.startswith("127.0.0.1:")
        handle = client.transport.getHandle()
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 9
        client.finish()
        await within(client.when_closed())


# -- writing ----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_write_waits_while_the_server_does_not_read(where):
    data = payload(16 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        assert client.write(b"first").called
        waiting = client.write(data)
        assert not waiting.called
        second = client.write(b"last")
        reading = in_thread(receive_exactly, server, len(data) + 9)
        await within(waiting)
        await within(second)
        assert client.queued == 0
        assert await reading == b"first" + data + b"last"


async def fill(client: EchoClient) -> tuple[int, Deferred[None]]:
    """Write until a write has to wait; give how much that was, and the last Deferred."""
    written = 0
    while True:
        waiting = client.write(payload(READ))
        written += READ
        if not waiting.called:
            return written, waiting
        await turn()


@implementer(IPushProducer)
class Source:
    """Writes whenever it may, a piece a turn."""

    def __init__(self, client: EchoClient, data: bytes) -> None:
        self.calls: list[str] = []
        self.peak = 0
        self.done: Deferred[None] = Deferred()
        self._client = client
        self._data = memoryview(data)
        self._paused = False
        client.registerProducer(self, True)
        reactor.callLater(0, self._produce)

    def _produce(self) -> None:
        if self._paused or self.done.called:
            return  # paused and resumed, there are two of us
        if not self._data:
            self._client.unregisterProducer()
            self._client.finish()
            self.done.callback(None)
            return
        piece, self._data = bytes(self._data[:READ]), self._data[READ:]
        self._client.write(piece)
        self.peak = max(self.peak, self._client.queued)
        reactor.callLater(0, self._produce)

    def pauseProducing(self) -> None:
        self.calls.append("pause")
        self._paused = True

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        self._paused = False
        reactor.callLater(0, self._produce)

    def stopProducing(self) -> None:
        self.calls.append("stop")
        self._paused = True


@pytest_twisted.ensureDeferred
async def test_a_push_producer_is_held_up_while_the_server_does_not_read(where):
    data = payload(24 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        source = Source(client, data)
        await until(lambda: source.calls)
        assert source.calls == ["pause"]
        assert client.bytes_out < len(data)
        reading = in_thread(receive_all, server)
        await within(source.done)
        assert await reading == data
    assert source.peak <= HIGH_WATER + READ
    assert source.calls[:2] == ["pause", "resume"]
    assert "stop" not in source.calls


@pytest_twisted.ensureDeferred
async def test_a_push_producer_is_stopped_when_the_connection_ends():
    async with pair(receive_buffer=4096) as (client, server):
        source = Source(client, payload(24 * MIB))
        await until(lambda: source.calls)
        reset(server)
        await within(client.when_closed())
        assert source.calls == ["pause", "stop"]


@pytest_twisted.ensureDeferred
async def test_a_producer_that_comes_while_much_waits_is_paused_at_once():
    async with pair(receive_buffer=4096) as (client, _):
        await fill(client)
        assert Source(client, b"").calls == ["pause"]


@pytest_twisted.ensureDeferred
async def test_a_producer_that_comes_too_late_is_stopped_at_once():
    async with pair() as (client, _):
        client.finish()
        assert Source(client, b"").calls == ["stop"]


@pytest_twisted.ensureDeferred
async def test_pull_producers_and_second_producers_are_refused():
    async with pair() as (client, _):
        with pytest.raises(ValueError, match="push"):
            client.registerProducer(object(), False)
        source = Source(client, b"x")
        with pytest.raises(RuntimeError):
            client.registerProducer(source, True)
        await within(source.done)


# -- receiving --------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_several_waiting_receivers_get_the_pieces_in_order(where):
    async with pair(where) as (client, server):
        waiting = [client.receive() for _ in range(3)]
        for number, receiver in enumerate(waiting):
            assert not receiver.called
            server.sendall(b"piece %d" % number)
            assert await within(receiver) == b"piece %d" % number


@pytest_twisted.ensureDeferred
async def test_what_nobody_asked_for_waits_for_the_next_receivers():
    async with pair() as (client, server):
        for size in (3, 6):
            server.sendall(b"abc")
            await until(lambda size=size: client.bytes_in == size)
        server.close()
        await until(lambda: client.eof_received)
        assert await receive_to_end(client) == b"abcabc"
        assert await within(client.receive()) == b"", "and so for ever"


@pytest_twisted.ensureDeferred
async def test_a_server_that_floods_is_held_up_and_nothing_is_lost(where):
    data = payload(24 * MIB)
    async with pair(where) as (client, server):
        server.setblocking(False)
        sent = 0

        def flooded() -> bool:
            nonlocal sent
            before = sent
            with suppress(BlockingIOError):
                while sent < len(data):
                    sent += server.send(data[sent : sent + READ])
            return sent == before and client.bytes_in >= HIGH_WATER

        await until(flooded)
        assert sent < len(data), "the server is never held up"
        assert sum(map(len, client._receive_buffer)) <= HIGH_WATER + READ
        assert client.bytes_in <= HIGH_WATER + READ
        server.settimeout(LIMIT)
        sending = in_thread(lambda: (server.sendall(data[sent:]), half_close(server)))
        assert await receive_to_end(client) == data
        await sending


# -- ending -----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_after_a_half_close_the_rest_can_be_received(where):
    async with pair(where) as (client, server):
        client.write(b"hello")
        client.finish()
        assert await in_thread(receive_all, server) == b"hello"
        data = payload(4 * MIB)
        sending = in_thread(lambda: (server.sendall(data), server.close()))
        assert await receive_to_end(client) == data
        await sending
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_a_half_close_with_much_queued_loses_nothing(where):
    data = payload(16 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        client.write(data).addErrback(lambda _: None)
        client.finish()
        assert client.queued
        assert await in_thread(receive_all, server) == data
        half_close(server)
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_a_write_that_waits_at_the_half_close_fires_when_it_has_left(where):
    data = payload(16 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        waiting = client.write(data)
        client.finish()
        reading = in_thread(receive_all, server)
        await within(reading)
        half_close(server)
        await within(client.when_closed())
        assert await within(waiting) is None


@pytest_twisted.ensureDeferred
async def test_the_servers_fin_ends_the_connection_after_what_was_written(where):
    data = payload(8 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        receiving = client.receive()
        client.write(data).addErrback(lambda _: None)
        half_close(server)
        assert await within(receiving) == b""
        assert await in_thread(receive_all, server) == data
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_a_write_after_the_servers_fin_fails_with_a_broken_pipe(where):
    async with pair(where) as (client, server):
        half_close(server)
        assert await within(client.receive()) == b""
        with pytest.raises(BrokenPipeError):
            await within(client.write(b"too late"))
        assert await in_thread(receive_all, server) == b""


@pytest_twisted.ensureDeferred
async def test_a_write_after_our_own_end_fails_with_a_broken_pipe():
    async with pair() as (client, server):
        client.finish()
        with pytest.raises(BrokenPipeError):
            await within(client.write(b"too late"))
        assert await in_thread(receive_all, server) == b""
        server.close()
        await within(client.when_closed())
        with pytest.raises(BrokenPipeError):
            await within(client.write(b"too late"))


@pytest_twisted.ensureDeferred
async def test_a_half_open_client_goes_on_after_the_servers_fin(where):
    async with pair(where, allow_half_open=True) as (client, server):
        server.sendall(b"hello")
        half_close(server)
        assert await receive_to_end(client) == b"hello"
        await within(client.write(b"still here"))
        client.finish()
        assert await in_thread(receive_all, server) == b"still here"
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_a_reset_fails_what_waits_after_what_had_come():
    async with pair() as (client, server):
        server.sendall(b"hello")
        await until(lambda: client.bytes_in)
        reset(server)
        assert await within(client.when_closed()) is Outcome.RESET
        assert await within(client.receive()) == b"hello"
        with pytest.raises(ConnectionLost):
            await within(client.receive())
        assert client.reason.check(ConnectionLost)


@pytest_twisted.ensureDeferred
async def test_a_reset_that_a_write_meets_first_is_no_proper_end():
    """The kernel tells of it once; to a read that comes after, it looks like a FIN."""
    async with pair() as (client, server):
        receiving = client.receive()
        reset(server)  # before the reactor's next turn,
        client.write(b"x").addErrback(lambda _: None)  # so that this is the first to know
        with pytest.raises(ConnectionLost):
            await within(receiving)
        assert await within(client.when_closed()) is Outcome.RESET
        assert not client.eof_received


ENDS = {
    "reset": (lambda client, server: reset(server), Outcome.RESET, ConnectionLost),
    "loss": (lambda client, server: server.close(), Outcome.RESET, ConnectionLost),
    "abort": (lambda client, server: client.abort(), Outcome.ABORTED, ConnectionAborted),
}


@pytest.mark.parametrize("end", ENDS)
@pytest_twisted.ensureDeferred
async def test_every_waiting_deferred_ends_with_the_connection(end):
    ending, outcome, reason = ENDS[end]
    async with pair(receive_buffer=4096) as (client, server):
        _, first = await fill(client)
        waiting = [first, client.write(b"x"), client.receive(), client.receive()]
        closed = [client.when_closed() for _ in range(2)]
        ending(client, server)
        for each in closed:
            assert await within(each) is outcome
        for each in waiting:
            with pytest.raises(reason):
                await within(each)
        assert await within(client.when_closed()) is outcome


@pytest_twisted.ensureDeferred
async def test_a_server_that_never_closes_is_given_up_after_linger(where):
    async with pair(where, linger=0.3) as (client, _):
        receiving = client.receive()
        client.finish()
        finished = time.monotonic()
        await within(client.when_closed())
        assert 0.29 <= time.monotonic() - finished < 3
        with pytest.raises(ConnectionAborted):
            await within(receiving)


@pytest_twisted.ensureDeferred
async def test_linger_begins_anew_with_whatever_comes():
    async with pair(linger=0.5) as (client, server):
        client.finish()
        for _ in range(5):
            server.sendall(b"x")
            assert await within(client.receive()) == b"x"
            await turn(0.2)
        half_close(server)
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_the_idle_hook_is_called_once_a_period_and_not_early():
    idles: list[float] = []

    class Waiting(EchoClient):
        def idle(self, seconds: float) -> None:
            idles.append(time.monotonic())

    factory = EchoClientFactory(idle_timeout=0.3)
    factory.protocol = Waiting
    before = time.monotonic()
    async with pair(factory=factory) as (client, server):
        await until(lambda: idles)
        assert idles[0] - before >= 0.3
        server.sendall(b"x")
        before = time.monotonic()
        assert await within(client.receive()) == b"x"
        await until(lambda: len(idles) > 1)
        assert idles[1] - before >= 0.3
        assert not client.closing


# -- cancelling -------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_cancelling_a_connect_ends_the_attempt():
    """To a listener whose queue is full, so that the kernel answers nothing."""
    with no_faults(), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname(), LIMIT):
            attempt = connect(endpoint_of(listener.getsockname()))
            await turn()
            assert not attempt.called
            attempt.cancel()
            with pytest.raises(ConnectingCancelledError):
                await within(attempt)


@pytest_twisted.ensureDeferred
async def test_cancelling_a_write_loses_no_data(where):
    data = payload(16 * MIB)
    async with pair(where, receive_buffer=4096) as (client, server):
        cancelled, kept = client.write(data), client.write(b"after")
        cancelled.cancel()
        with pytest.raises(CancelledError):
            await within(cancelled)
        reading = in_thread(receive_exactly, server, len(data) + 5)
        assert await within(kept) is None
        assert await reading == data + b"after"


@pytest_twisted.ensureDeferred
async def test_cancelling_a_receive_leaves_the_data_to_the_next(where):
    async with pair(where) as (client, server):
        first, second, third = (client.receive() for _ in range(3))
        second.cancel()
        with pytest.raises(CancelledError):
            await within(second)
        server.sendall(b"one")
        assert await within(first) == b"one"
        third.cancel()
        with pytest.raises(CancelledError):
            await within(third)
        server.sendall(b"two")
        assert await within(client.receive()) == b"two"


@pytest_twisted.ensureDeferred
async def test_cancelling_when_closed_leaves_the_connection_and_the_others_alone():
    async with pair() as (client, server):
        first, second = client.when_closed(), client.when_closed()
        first.cancel()
        with pytest.raises(CancelledError):
            await within(first)
        server.sendall(b"alive")
        assert await within(client.receive()) == b"alive"
        server.close()
        assert await within(second) is Outcome.FINISHED


def cancels_next(waiting: list[Deferred[Any]]) -> None:
    """Let the first, as it ends, cancel the second."""

    def cancel(result: object) -> object:
        waiting[1].cancel()
        return result

    waiting[0].addBoth(cancel)


async def ended(waiting: list[Deferred[Any]]) -> None:
    for each in waiting:
        each.addErrback(lambda _: None)
    await until(lambda: all(each.called for each in waiting), 3)


@pytest_twisted.ensureDeferred
async def test_a_write_that_cancels_the_next_leaves_no_other_hanging():
    async with pair(receive_buffer=4096) as (client, server):
        _, first = await fill(client)
        waiting = [first, *(client.write(b"x") for _ in range(3))]
        cancels_next(waiting)
        reading = in_thread(receive_exactly, server, client.bytes_out)
        await ended(waiting)
        await reading


@pytest.mark.parametrize("kind", ["write", "receive", "when_closed"])
@pytest_twisted.ensureDeferred
async def test_a_deferred_that_cancels_the_next_at_the_end_leaves_no_other_hanging(kind):
    async with pair(receive_buffer=4096) as (client, server):
        if kind == "write":
            _, first = await fill(client)
            waiting = [first, *(client.write(b"x") for _ in range(3))]
        else:
            waiting = [getattr(client, kind)() for _ in range(4)]
        cancels_next(waiting)
        reset(server)
        await ended(waiting)


@pytest_twisted.ensureDeferred
async def test_a_receive_that_cancels_the_next_at_the_servers_fin_leaves_no_other_hanging():
    async with pair() as (client, server):
        waiting = [client.receive() for _ in range(4)]
        cancels_next(waiting)
        half_close(server)
        await ended(waiting)
        assert await within(client.when_closed(), 5) is Outcome.FINISHED


# -- connecting -------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_connect_fails_with_econnrefused_where_nobody_listens():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError) as caught:
            await within(connect(endpoint_of(nobody.getsockname())))
    assert describe_error(caught.value) == "ECONNREFUSED"


@pytest_twisted.ensureDeferred
async def test_connect_fails_with_enoent_where_there_is_no_path(sockets):
    with pytest.raises(ConnectError) as caught:
        await within(connect(endpoint_of(f"{sockets}/nothing")))
    assert describe_error(caught.value) == "ENOENT"


# -- one conversation of the command line -----------------------------------------------


def talk(address: Any, out: Any, **options: Any) -> SendSession:
    words = "tcp:{}:{}".format(*address) if isinstance(address, tuple) else f"unix:{address}"
    target = client_endpoint(reactor, words)
    return SendSession(reactor, target, "Dwarves", SendOptions(**options), out)


@asynccontextmanager
async def talking(
    messages: list[bytes], out: Any, **manner: Any
) -> AsyncIterator[tuple[Deferred[None], socket.socket]]:
    """A conversation with a plain socket; gives its Deferred and that socket."""
    with no_faults(), listening("tcp", 4096) as listener:
        running = started(talk(listener.getsockname(), out, **manner).run(messages))
        with await in_thread(accepted, listener) as server:
            yield running, server
        await until(lambda: running.called)


@pytest_twisted.ensureDeferred
async def test_a_conversation_prints_the_tutorials_words():
    out = BytesIO()
    async with serving(quiet(prefix="Sending: ")) as address:
        await started(talk(address, out).run([b"More Axes", b"caf\xc3\xa9"]))
    lines = out.getvalue().decode().splitlines()
    assert lines.pop(1).startswith("   local = 127.0.0.1:")
    assert lines == [
        "Dwarves Connected:",
        f"   remote = 127.0.0.1:{address[1]}",
        "Dwarves From Server: Sending: More Axes",
        "Dwarves From Server: Sending: café",
        "Dwarves Client disconnected",
        "Socket Closed",
    ]


@pytest_twisted.ensureDeferred
async def test_a_quiet_conversation_prints_the_replies_alone():
    out = BytesIO()
    async with serving(quiet(prefix="Sending: ")) as address:
        await started(talk(address, out, quiet=True).run([b"one", b"two\x1b"]))
    assert out.getvalue() == b"Sending: one\nSending: two\\x1b\n"


@pytest_twisted.ensureDeferred
async def test_a_raw_conversation_writes_the_bytes_as_they_are(where):
    out, message = BytesIO(), bytes(range(256))
    async with serving(quiet(prefix="Sending: "), server_words(where)) as address:
        await started(talk(address, out, raw=True).run([message]))
    assert out.getvalue() == b"Sending: " + message


@pytest_twisted.ensureDeferred
async def test_without_text_every_byte_that_is_not_ascii_is_escaped():
    out = BytesIO()
    async with serving(quiet(prefix="Sending: ")) as address:
        await started(talk(address, out, text=False, quiet=True).run([b"\xe2\x82\xac"]))
    assert out.getvalue() == b"Sending: \\xe2\\x82\\xac\n"


@pytest_twisted.ensureDeferred
async def test_a_character_cut_between_two_reads_is_shown_whole():
    out = BytesIO()
    async with talking(["€".encode()], out) as (running, server):
        server.sendall(b"Sending: \xe2\x82")
        await until(lambda: b"Sending: " in out.getvalue())
        server.sendall(b"\xac")
        assert await in_thread(receive_all, server) == "€".encode()
        server.close()
        await running
    assert "From Server: Sending: \nDwarves From Server: €\n" in out.getvalue().decode()


@pytest_twisted.ensureDeferred
async def test_the_next_message_goes_out_only_when_the_first_is_answered():
    out = BytesIO()
    async with talking([b"one", b"two"], out) as (running, server):
        assert await in_thread(server.recv, READ) == b"one"
        server.sendall(b"Sending: on")
        await until(lambda: b"Sending: on" in out.getvalue())
        assert not select.select([server], [], [], 0)[0]
        server.sendall(b"eSending: ")
        assert await in_thread(server.recv, READ) == b"two"
        server.sendall(b"two and what comes after")
        assert await in_thread(receive_all, server) == b""
        server.close()
        await running
    assert b"two and what comes after" in out.getvalue()


@pytest_twisted.ensureDeferred
async def test_silence_is_reported_and_waited_out():
    out = BytesIO()
    async with talking([b"one"], out, timeout=0.2) as (running, server):
        await until(lambda: b"Socket Timed Out\n" in out.getvalue())
        server.sendall(b"Sending: one")
        assert await in_thread(receive_all, server) == b"one"
        server.close()
        await running


@pytest_twisted.ensureDeferred
async def test_a_conversation_that_does_not_get_on_ends_at_the_deadline():
    out = BytesIO()
    before = time.monotonic()
    prefix = Template.literal(b"Sending: ")
    async with talking([b"one"], out, deadline=0.4, quiet=True, prefix=prefix) as (running, server):
        server.sendall(b"Hello")
        with pytest.raises(SendError, match=r"'one' did not come: no progress for 0\.4 s"):
            await running
    assert time.monotonic() - before >= 0.4
    assert out.getvalue() == b"Hello\n"


@pytest_twisted.ensureDeferred
async def test_a_server_that_reads_nothing_ends_the_conversation_at_the_deadline():
    async with talking([payload(24 * MIB)], BytesIO(), deadline=0.4) as (running, _):
        with pytest.raises(SendError, match="no progress"):
            await running


@pytest_twisted.ensureDeferred
async def test_a_server_that_ends_early_is_told_after_what_came():
    out = BytesIO()
    async with talking([b"one"], out, quiet=True) as (running, server):
        server.sendall(b"Sending: o")
        half_close(server)
        with pytest.raises(SendError, match="server sent EOF before an answer to 'one'"):
            await running
    assert out.getvalue() == b"Sending: o\n"


@pytest_twisted.ensureDeferred
async def test_a_reset_is_told_by_its_name():
    async with talking([b"one"], BytesIO()) as (running, server):
        await in_thread(server.recv, READ)
        reset(server)
        with pytest.raises(SendError, match=r"^Socket Error: .* 127\.0\.0\.1:"):
            await running


@pytest_twisted.ensureDeferred
async def test_no_server_is_told_in_nodes_words():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = nobody.getsockname()
        words = f"^Socket Error: connect ECONNREFUSED 127.0.0.1:{address[1]}$"
        with pytest.raises(SendError, match=words):
            await started(talk(address, BytesIO()).run([b"one"]))


class FullDisk(BytesIO):
    """Takes so many bytes and no more."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def write(self, data: Any) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OutputError(OSError(28, "No space left on device"))
        return super().write(data)


@pytest.mark.parametrize("room", [0, 80])
@pytest.mark.parametrize("raw", [False, True])
@pytest_twisted.ensureDeferred
async def test_an_output_that_takes_no_more_ends_the_conversation(room, raw):
    async with serving(quiet(prefix="Sending: ")) as address:
        talk_ = talk(address, FullDisk(room), raw=raw)
        with pytest.raises(OutputError, match=r"standard output: ENOSPC"):
            await started(talk_.run([b"x" * 100]))


# -- standard input ---------------------------------------------------------------------


@asynccontextmanager
async def piped_input() -> AsyncIterator[RawIOBase]:
    """Standard input as a pipe; gives the end to write to.

    A reader outlives its conversation, so at the end each is led to the end of this
    input: it must not take what is meant for the next.
    """
    readers: list[InputReader] = []

    class Remembered(InputReader):
        def __init__(self, reactor: Any) -> None:
            super().__init__(reactor)
            readers.append(self)

    out, into = os.pipe()
    saved = os.dup(0)
    os.dup2(out, 0)
    os.close(out)
    try:
        with (
            open(into, "wb", buffering=0) as pipe,
            mock.patch("echosvc.cli.send.InputReader", Remembered),
        ):
            yield pipe
        for reader in readers:
            await read_to_end(reader)
    finally:
        os.dup2(saved, 0)
        os.close(saved)


async def read_to_end(reader: InputReader) -> None:
    with suppress(InputError):
        while await within(reader.read()):
            pass


def pour(into: RawIOBase, data: bytes) -> None:
    """Write all and close, unless nobody reads on."""
    todo = memoryview(data)
    try:
        while todo:
            todo = todo[into.write(todo[:READ]) :]
    except BrokenPipeError:
        pass
    finally:
        into.close()


@pytest_twisted.ensureDeferred
async def test_standard_input_is_streamed_to_its_end_and_comes_back(where):
    data, out = payload(16 * MIB), BytesIO()
    async with serving(quiet(), server_words(where)) as address, piped_input() as into:
        pouring = in_thread(pour, into, data)
        prefix = SendOptions(prefix=quiet().prefix).prefix
        await started(talk(address, out, raw=True, prefix=prefix).run([b"first", STDIN]))
        await pouring
    assert out.getvalue().replace(b"\xff", b"") == b"first" + data


@pytest_twisted.ensureDeferred
async def test_an_empty_standard_input_is_fine():
    out = BytesIO()
    async with serving(quiet()) as address, piped_input() as into:
        into.close()
        await started(talk(address, out, raw=True, timeout=0).run([STDIN]))
    assert out.getvalue() == b""


@pytest.mark.parametrize("answer", [b"", b"Sending: some of it"])
@pytest_twisted.ensureDeferred
async def test_a_server_that_ends_before_all_of_standard_input_is_told(answer):
    out = BytesIO()
    async with piped_input() as into, talking([STDIN], out, raw=True) as (running, server):
        into.write(b"some of it")
        assert await in_thread(server.recv, READ) == b"some of it"
        server.sendall(answer)
        half_close(server)
        with pytest.raises(SendError, match="EOF before all of standard input"):
            await running
    assert out.getvalue() == answer


@pytest_twisted.ensureDeferred
async def test_a_server_that_answers_only_part_of_standard_input_is_told():
    async with (
        piped_input() as into,
        talking([STDIN], BytesIO(), raw=True) as (running, server),
    ):
        pour(into, b"all of it")
        assert await in_thread(receive_all, server) == b"all of it"
        server.sendall(b"Sending: all")
        server.close()
        with pytest.raises(SendError, match="only 3 of 9 bytes came back"):
            await running


@pytest_twisted.ensureDeferred
async def test_a_server_that_resets_ends_the_stream():
    async with (
        piped_input() as into,
        talking([STDIN], BytesIO(), raw=True) as (running, server),
    ):
        pouring = in_thread(pour, into, payload(4 * MIB))
        await in_thread(receive_exactly, server, MIB)
        reset(server)
        with pytest.raises(SendError, match=r"^Socket Error: "):
            await running
        await in_thread(drain_input)
        await pouring


def drain_input() -> None:
    """Take what nobody wants any more, so that whoever pours gets on."""
    while os.read(0, MIB):
        pass


@pytest_twisted.ensureDeferred
async def test_an_input_that_cannot_be_read_is_told():
    async with piped_input():
        directory = os.open("/", os.O_RDONLY)
        os.dup2(directory, 0)
        os.close(directory)
        async with talking([STDIN], BytesIO(), raw=True) as (running, _):
            with pytest.raises(InputError, match="standard input: EISDIR"):
                await running
