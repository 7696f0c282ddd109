"""The server behind Twisted's own TLS endpoints."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

from echosvc import EchoFactory, Outcome
from tests.support.payload import HIGH_WATER, MARK, MIB, READ, payload
from tests.support.reactor import in_thread, no_faults, serving, until, within
from tests.support.recording import Recording, all_gone, stalled
from tests.support.sockets import connect, half_close, receive_all, receive_exactly
from tests.support.waiting import LIMIT

TLS_STRING = "ssl"


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
