"""Our TLS client."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet import ssl as twisted_ssl
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, wrapServerTLS
from twisted.internet.protocol import Factory, Protocol

from echosvc import EchoClientFactory, Outcome
from echosvc.tls.context import client_options
from echosvc.tls.endpoints import TLSConnector
from echosvc.tls.transport import TLSError
from tests.support.certificates import issue
from tests.support.client import receive_to_end
from tests.support.payload import MARK, MIB, payload, unmarked
from tests.support.reactor import in_thread, no_faults, serving, turn, until, within
from tests.support.recording import Recording, all_gone
from tests.support.sockets import receive_all
from tests.support.tls_peer import GREETING, serving_tls, to_server
from tests.support.waiting import LIMIT


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
