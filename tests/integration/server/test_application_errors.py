"""What the application does wrong, or cuts off, as a real client sees it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from echosvc import EchoProtocol, Outcome
from echosvc.endpoints import server_endpoint
from tests.support.certificates import issue
from tests.support.reactor import in_thread, no_faults, serving, until, within
from tests.support.recording import Recorded, Recording
from tests.support.sockets import connect, receive_exactly
from tests.support.tls_peer import context
from tests.support.waiting import LIMIT

#: More than any kernel holds for a connection whose client has a small buffer.
MUCH = 8 * 1024 * 1024
KINDS = ("tcp", "TLSv1.2", "TLSv1.3")
#: How a client sees a reset: OpenSSL may only tell that the proper end is missing.
RESET = (ConnectionResetError, ssl.SSLEOFError)


class Broken(Exception):
    """Raised by an application."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """How a client connects."""
    return str(request.param)


@pytest.fixture
def where(kind: str, tmp_path: Path) -> str:
    """The endpoint of a listener for such clients."""
    if kind == "tcp":
        return "tcp:0:interface=127.0.0.1"
    (tmp_path / "pem").write_bytes(issue("localhost").pem)
    return f"ssl:0:interface=127.0.0.1:privateKey={tmp_path}/pem"


def client_of(address: Any, kind: str, receive_buffer: int = 0) -> socket.socket:
    client = connect(address, receive_buffer)
    if kind == "tcp":
        return client
    version = ssl.TLSVersion.TLSv1_2 if kind == "TLSv1.2" else ssl.TLSVersion.TLSv1_3
    settings = context(maximum_version=version, minimum_version=version)
    with client:  # which the TLS socket takes over
        secured = settings.wrap_socket(
            client, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
    try:
        secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured


@asynccontextmanager
async def erring(factory: Recording, where: str) -> AsyncIterator[tuple[Any, list[Any]]]:
    """The factory on a listener; gives the address, and what it has logged of exceptions."""
    with no_faults() as faults:
        port = await server_endpoint(reactor, where).listen(factory)
        host = port.getHost()
        try:
            yield (host.host, host.port), faults
        finally:
            await within(port.stopListening())
            faults.clear()


def converse(
    address: Any, kind: str, data: bytes, size: int, finishes: bool = False
) -> tuple[bytes, str]:
    """Send, and receive so many bytes; then give also how the connection ends, if it does."""
    received = bytearray()
    try:
        with client_of(address, kind) as client:
            client.sendall(data)
            if finishes and kind == "tcp":
                client.shutdown(socket.SHUT_WR)
            while piece := client.recv(1 << 16):
                received += piece
                if len(received) == size:
                    return bytes(received), "open"
    except RESET:
        return bytes(received), "reset"
    return bytes(received), "end"


def failing_second(hook: str, error: BaseException) -> Recording:
    """A server in which one hook of the second connection fails."""

    def fail(self: Any, *arguments: Any) -> Any:
        if self.number == 2:
            raise error
        return getattr(Recorded, hook)(self, *arguments)

    def on_connect(connection: EchoProtocol) -> None:
        if connection.number == 2:
            raise error

    if hook == "on_connect":
        return Recording(framing="line", prefix=b"> ", on_connect=on_connect)
    factory = Recording(framing="line", prefix=b"> ")
    factory.protocol = type("Failing", (Recorded,), {hook: fail})
    return factory


@pytest.mark.parametrize("error", [Broken("on purpose"), asyncio.CancelledError(), SystemExit(3)])
@pytest.mark.parametrize("hook", ["opened", "on_connect", "reply", "dataReceived"])
@pytest_twisted.ensureDeferred
async def test_an_error_of_any_class_resets_its_own_connection_alone(where, kind, hook, error):
    factory = failing_second(hook, error)
    found = []
    async with erring(factory, where) as (address, faults):
        for number in (1, 2, 3):
            found.append(await in_thread(converse, address, kind, b"a\n", 4))
            await within(factory.when_idle())
            logged = [fault["log_failure"].type for fault in faults]
            assert logged == [type(error)] * (number == 2) or hook == "dataReceived"
            faults.clear()
    assert found == [(b"> a\n", "open"), (b"", "reset"), (b"> a\n", "open")]
    assert factory.outcomes[1] is Outcome.FAILED


@pytest_twisted.ensureDeferred
async def test_a_protocol_that_cannot_be_made_or_begun_is_a_reset(where):
    class Failing(Recorded):
        def __init__(self) -> None:
            if self.at_once:
                raise asyncio.CancelledError

        def connectionMade(self) -> None:
            raise asyncio.CancelledError

    factory = Recording()
    factory.protocol = Failing
    async with erring(factory, where) as (address, faults):
        for number, Failing.at_once in enumerate((True, False), 1):
            with connect(address) as client, pytest.raises(ConnectionResetError):
                await in_thread(client.recv, 1)
            assert (len(faults), factory.count, factory.admission.open) == (number, 0, 0)


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("finishes", [False, True])
@pytest_twisted.ensureDeferred
async def test_what_was_answered_before_an_error_arrives_before_the_reset(
    where, kind, finishes, later
):
    class Failing(Recorded):
        def reply(self, message: bytes) -> Any:
            if message == b"bad\n":
                raise Broken
            reply: Deferred[bytes] = Deferred()
            reactor.callLater(0, reply.callback, b"x" * MUCH)
            return reply if later else b"x" * MUCH

    factory = Recording(framing="line")
    factory.protocol = Failing
    async with erring(factory, where) as (address, _):
        found = await in_thread(converse, address, kind, b"good\nbad\n", MUCH + 1, finishes)
        await within(factory.when_idle())
    assert (len(found[0]), found[1]) == (MUCH, "reset")
    assert factory.outcomes == [Outcome.FAILED]


@pytest_twisted.ensureDeferred
async def test_an_abort_after_finish_is_told_as_an_abort(where, kind):
    factory = Recording(linger=30)
    async with serving(factory, where) as address:
        client = await in_thread(client_of, address, kind, 4096)
        await in_thread(client.sendall, b"x")
        await until(lambda: factory.bytes_in == 1)
        connection = factory.only
        connection.write(b"W" * MUCH)
        connection.finish()
        connection.abort()
        await within(factory.when_idle())
        assert factory.outcomes == [Outcome.ABORTED]
        with client, pytest.raises(RESET):
            await in_thread(receive_exactly, client, MUCH)


@pytest_twisted.ensureDeferred
async def test_an_abort_when_the_client_has_everything_keeps_the_word(where, kind):
    factory = Recording(linger=30)
    async with serving(factory, where) as address:
        client = await in_thread(client_of, address, kind)
        with client:
            await in_thread(client.sendall, b"x")
            await until(lambda: factory.bytes_in == 1)
            connection = factory.only
            connection.finish()
            assert await in_thread(receive_exactly, client, 1000) == b"Sending: x"
            await until(lambda: connection.sender.unsent() == 0)
            connection.abort()
            await within(factory.when_idle())
    assert factory.outcomes == [Outcome.CLOSED]


@pytest_twisted.ensureDeferred
async def test_a_client_that_resets_while_its_reply_is_awaited_is_noticed(where, kind):
    cancelled: list[object] = []

    class Later(Recorded):
        def reply(self, message: bytes) -> Any:
            return Deferred(cancelled.append)

    factory = Recording(framing="line")
    factory.protocol = Later
    async with serving(factory, where) as address:
        client = await in_thread(client_of, address, kind)
        await in_thread(client.sendall, b"first\n")
        await until(lambda: factory.bytes_in == 6)
        await in_thread(client.sendall, b"second\n")
        await until(lambda: factory.bytes_in > 6)  # nothing more is read from here on
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await within(factory.when_idle())
    assert factory.outcomes == [Outcome.RESET]
    assert len(cancelled) == 1


@pytest_twisted.ensureDeferred
async def test_resume_from_within_a_reply_changes_nothing_for_a_client_that_reads_late(where, kind):
    """Messages wait here, more of them and the client's end in the layer below."""

    class Resuming(Recorded):
        def reply(self, message: bytes) -> Any:
            self.resume()
            return b"%d " % self.replies + b"x" * 5000 + b"\n"

    count = 2000
    factory = Recording(framing="line")
    factory.protocol = Resuming

    def talk(address: Any) -> bytes:
        with client_of(address, kind, 4096) as client:
            client.sendall(b"a\n" * count)
            if kind == "tcp":
                client.shutdown(socket.SHUT_WR)
            stuck.wait(LIMIT)
            return b"".join(receive_lines(client, count))

    stuck = threading.Event()
    async with serving(factory, where) as address:
        talking = in_thread(talk, address)
        await until(lambda: factory.stuck)
        stuck.set()
        received = await talking
    assert received == b"".join(b"%d " % n + b"x" * 5000 + b"\n" for n in range(1, count + 1))


def receive_lines(client: socket.socket, count: int) -> Iterator[bytes]:
    """So many lines, as they come."""
    while count > 0 and (piece := client.recv(1 << 16)):
        count -= piece.count(b"\n")
        yield piece


@pytest_twisted.ensureDeferred
async def test_on_twisteds_own_listener_it_is_the_same():
    for hook in ("opened", "on_connect", "reply"):
        factory = failing_second(hook, asyncio.CancelledError())
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        address = ("127.0.0.1", port.getHost().port)
        with no_faults() as faults:
            found = [await in_thread(converse, address, "tcp", b"a\n", 4) for _ in range(3)]
            await within(factory.when_idle())
            faults.clear()
            await within(port.stopListening())
        assert found == [(b"> a\n", "open"), (b"", "reset"), (b"> a\n", "open")], hook
