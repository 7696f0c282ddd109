"""TLS in TLS, on both sides: each handshake is made, with what it demands, and nothing is lost."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionLost

from echosvc import Outcome, TLSConnector, TLSListener, connect, server_certificate
from echosvc.connection.phase import Phase
from echosvc.endpoints import server_endpoint
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.server.service import EchoService
from echosvc.tls.context import ClientAuthPolicy, client_options
from echosvc.tls.transport import TLSError
from echosvc.wire.proxy_header import encode_header
from tests.support.certificates import Issued, issue
from tests.support.client import receive_to_end
from tests.support.payload import HIGH_WATER, MARK, MIB, payload, unmarked
from tests.support.reactor import in_thread, no_faults, turn, until, within
from tests.support.recording import Recording, all_gone
from tests.support.sockets import connect as dial
from tests.support.tls_peer import ANY, ENCRYPTION, Peer, context, unread
from tests.support.waiting import LIMIT

AUTHORITY = issue(subject="clients' authority", authority=True)
NONE = ClientAuthPolicy()


class Files:
    """Certificates of the lower and the upper TLS, and of a client."""

    def __init__(self, place: Path) -> None:
        self.lower = self._write(place / "lower.pem", issue("lower.example"))
        self.upper = self._write(place / "upper.pem", issue("upper.example"))
        self.client = self._write(place / "client.pem", issue(subject="me", issuer=AUTHORITY))
        self.ca = str(place / "ca.pem")
        Path(self.ca).write_bytes(AUTHORITY.certificate_pem)

    def _write(self, path: Path, one: Issued) -> str:
        path.write_bytes(one.pem)
        return str(path)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def nested(
    files: Files, lower: ClientAuthPolicy = NONE, upper: ClientAuthPolicy = NONE
) -> TLSListener:
    creators = server_certificate(files.lower), server_certificate(files.upper)
    for creator, demands in zip(creators, (lower, upper), strict=True):
        creator.set_client_auth(demands)
    tcp = server_endpoint(reactor, "tcp:0:interface=127.0.0.1")
    return TLSListener(TLSListener(tcp, creators[0]), creators[1])


@asynccontextmanager
async def serving(factory: Any, endpoint: TLSListener) -> AsyncIterator[tuple[str, int]]:
    with no_faults():
        port = await endpoint.listen(factory)
        try:
            yield "127.0.0.1", port.getHost().port
        finally:
            await within(port.stopListening())
            factory.abort_all()
            await within(factory.when_idle())


def to_nested(address: Any, files: Files, certificate: str = "", below: Any = None) -> Any:
    """Our client's endpoint; it has a certificate for the upper TLS, if for any."""
    tcp = below or HostnameEndpoint(reactor, *address)
    lower = TLSConnector(reactor, tcp, client_options("lower.example", roots=files.lower))
    upper = client_options("upper.example", certificate, roots=files.upper)
    return TLSConnector(reactor, lower, upper)


class InnerPeer(Peer):
    """A client of the upper TLS, whose bytes go through Python's own lower one."""

    def __init__(self, address: Any, lower: ssl.SSLContext, upper: ssl.SSLContext) -> None:
        super().__init__(address, upper)
        self.socket = lower.wrap_socket(self.socket)


def certified(files: Files) -> ssl.SSLContext:
    made = context()
    made.load_cert_chain(files.client)
    return made


def ask(address: Any, lower: ssl.SSLContext, upper: ssl.SSLContext) -> tuple[bytes, str, bytes]:
    """Say something in both; give the answer, and the certificates that were shown."""
    with InnerPeer(address, lower, upper) as peer:
        peer.shake_hands()
        peer.socket.sendall(peer.sealed(b"hello"))
        heard = peer.receive(len(MARK) + 5)
        shown = [each.getpeercert(True) for each in (peer.socket, peer.tls)]
        peer.socket.sendall(peer.sealed(notify=True))
        while peer.socket.recv(65536):
            pass
        return heard, peer.tls.version(), shown


def der(path: str) -> bytes:
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
    return certificate.public_bytes(Encoding.DER)


@pytest_twisted.ensureDeferred
async def test_both_handshakes_are_made_each_with_its_own_certificate(files):
    factory = Recording(prefix=MARK)
    async with serving(factory, nested(files)) as address:
        heard, _, shown = await in_thread(ask, address, ANY, ANY)
        assert heard == MARK + b"hello"
        assert shown == [der(files.lower), der(files.upper)]
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED]


def one_handshake_alone(address: Any, settings: ssl.SSLContext) -> bytes:
    with dial(address) as plain, settings.wrap_socket(plain) as client:
        client.sendall(b"hello")
        with suppress(ssl.SSLError, ConnectionError):
            return client.recv(65536)
    return b""


@pytest_twisted.ensureDeferred
async def test_who_makes_one_handshake_alone_gets_no_answer(files):
    factory = Recording(prefix=MARK)
    async with serving(factory, nested(files)) as address:
        assert MARK not in await in_thread(one_handshake_alone, address, ANY)
        await within(factory.when_idle())
    assert factory.bytes_in == 0
    assert factory.outcomes == []


def heard_by(address: Any, layer: str, settings: ssl.SSLContext) -> bytes:
    """What a client hears that comes with these settings in one layer."""
    pair = (settings, ANY) if layer == "lower" else (ANY, settings)
    with suppress(ssl.SSLError, ConnectionError):
        return ask(address, *pair)[0]
    return b""


@pytest.mark.parametrize("layer", ["lower", "upper"])
@pytest_twisted.ensureDeferred
async def test_what_either_demands_of_its_clients_is_demanded(layer, files):
    factory = Recording(prefix=MARK)
    strict = {layer: ClientAuthPolicy("1.3", files.ca)}
    old = context(maximum_version=ssl.TLSVersion.TLSv1_2)
    old.load_cert_chain(files.client)
    async with serving(factory, nested(files, **strict)) as address:
        for settings in (ANY, old):
            assert await in_thread(heard_by, address, layer, settings) == b""
        assert factory.bytes_in == 0
        assert await in_thread(heard_by, address, layer, certified(files)) == MARK + b"hello"
        await within(factory.when_idle())
    assert factory.outcomes == [Outcome.FINISHED]


@pytest_twisted.ensureDeferred
async def test_the_connection_has_the_version_and_the_client_of_the_upper(files):
    factory = Recording(prefix="{tls_version} {tls_peer}|")
    demands = ClientAuthPolicy("1.3", files.ca)
    async with serving(factory, nested(files, upper=demands)) as address:
        client = await within(connect(to_nested(address, files, files.client)))
        client.write(b"x")
        client.finish()
        assert await receive_to_end(client) == b"TLSv1.3 me|x"


@pytest_twisted.ensureDeferred
async def test_our_client_sends_5_mib_ends_one_direction_and_gets_all_back(files):
    factory, data = Recording(prefix=MARK), payload(5 * MIB)
    async with serving(factory, nested(files)) as address:
        client = await within(connect(to_nested(address, files)))
        client.write(data)
        client.finish()
        assert unmarked(await receive_to_end(client)) == data
        assert await within(client.when_closed()) is Outcome.FINISHED
        await all_gone(factory)
    assert factory.outcomes == [Outcome.FINISHED]
    assert factory.bytes_in == len(data)
    assert factory.peak <= HIGH_WATER + len(MARK) + 2 * ENCRYPTION


@pytest.mark.parametrize("end", ["end_all", "finish"])
@pytest_twisted.ensureDeferred
async def test_our_own_end_answers_all_that_either_layer_has_read(end, files):
    factory = Recording(framing="line", prefix=b"P" * 1000, linger=LIMIT, pause_on_connect=True)
    async with serving(factory, nested(files)) as address:
        client = await within(connect(to_nested(address, files)))
        await until(lambda: factory.count and factory.only.phase is Phase.OPEN)
        client.write(b"a\n" * 30_000)
        connection = factory.only
        await turn(0.2)
        client.pause()
        connection.resume()
        await until(lambda: factory.stuck)
        (factory.end_all if end == "end_all" else connection.finish)()
        assert connection.outcome is None  # it has yet to answer
        client.resume()
        heard = await receive_to_end(client)
        await all_gone(factory, 10)
    assert heard == (b"P" * 1000 + b"a\n") * (connection.bytes_in // 2)
    assert connection.bytes_in > 3 * 16384  # more than one layer holds of a record


@pytest_twisted.ensureDeferred
async def test_our_own_end_answers_what_the_lower_layer_alone_has_read(files):
    """Each write is one record in both, so that the upper layer has none in stock."""
    prefix, messages = b"P" * 70_000, [b"%100d" % number for number in range(200)]
    factory = Recording(prefix=prefix, linger=LIMIT, pause_on_connect=True)
    async with serving(factory, nested(files)) as address:
        client = await within(connect(to_nested(address, files)))
        await until(lambda: factory.count and factory.only.phase is Phase.OPEN)
        connection = factory.only
        for message in messages:
            client.write(message)
        await until(lambda: unread(connection) >= 200 * (100 + 2 * 22))
        client.pause()
        connection.resume()  # one read takes it all
        await until(lambda: factory.stuck)
        factory.end_all()
        client.resume()
        heard = await receive_to_end(client)
        await all_gone(factory, 10)
    assert heard == b"".join(prefix + message for message in messages)
    assert factory.outcomes == [Outcome.DRAINED]


@pytest_twisted.ensureDeferred
async def test_an_end_of_the_lower_without_one_of_the_upper_is_a_cut(files):
    factory = Recording(prefix=MARK)
    async with serving(factory, nested(files)) as address:
        client = await within(connect(to_nested(address, files)))
        client.write(b"hello")
        assert await within(client.receive()) == MARK + b"hello"
        client.transport.transport.loseWriteConnection()
        assert await receive_to_end(client) == b""
        await all_gone(factory)
    assert factory.outcomes == [Outcome.TRUNCATED]


@pytest.mark.parametrize("wrong", ["lower", "upper"])
@pytest_twisted.ensureDeferred
async def test_our_client_verifies_both(wrong, files):
    factory = Recording(prefix=MARK)
    Path(getattr(files, wrong)).write_bytes(issue(f"{wrong}.example").pem)
    endpoint = nested(files)
    Path(getattr(files, wrong)).write_bytes(issue(f"{wrong}.example").pem)  # another is trusted
    async with serving(factory, endpoint) as address:
        with pytest.raises(TLSError, match="certificate verify failed"):
            await within(connect(to_nested(address, files)))
        await within(factory.when_idle())
    assert factory.bytes_in == 0


@pytest_twisted.ensureDeferred
async def test_a_handshake_of_the_upper_that_never_comes_is_given_up(files):
    factory = Recording(prefix=MARK, handshake_timeout=0.3)
    async with serving(factory, nested(files)) as address:
        lower = client_options("lower.example", roots=files.lower)
        tcp = HostnameEndpoint(reactor, *address)
        client = await within(connect(TLSConnector(reactor, tcp, lower)))
        with suppress(ConnectionLost, TLSError):
            await receive_to_end(client)
        await within(factory.when_idle())
    assert factory.bytes_in == 0


@pytest.mark.parametrize("version", [1, 2])
@pytest_twisted.ensureDeferred
async def test_a_proxy_header_comes_once_before_both(version, files):
    words = {"proxy_protocol": "require", "proxy_from": ("127.0.0.1",)}
    factory = Recording(prefix="{peer}|", **words)
    async with serving(factory, nested(files)) as address:
        below = ProxyingEndpoint(HostnameEndpoint(reactor, *address), version)
        client = await within(connect(to_nested(address, files, below=below)))
        ours = client.local
        client.write(b"x")
        client.finish()
        assert await receive_to_end(client) == f"{ours}|x".encode()

        def named() -> bytes:
            with Peer(address) as peer:
                peer.socket.sendall(
                    encode_header(version, ("192.0.2.7", 4711), ("198.51.100.1", 443))
                )
                peer.socket = ANY.wrap_socket(peer.socket)
                peer.shake_hands()
                peer.socket.sendall(peer.sealed(b"x"))
                return peer.receive(len("192.0.2.7:4711|x"))

        assert await in_thread(named) == b"192.0.2.7:4711|x"


@pytest_twisted.ensureDeferred
async def test_both_certificates_are_read_again_at_a_reload(files):
    factory = Recording(prefix=MARK)
    service = EchoService(factory, [nested(files)], reactor=reactor)
    service.startService()
    try:
        address = "127.0.0.1", service.ports[0].getHost().port
        for path in (files.lower, files.upper):
            Path(path).write_bytes(issue(Path(path).stem + ".example").pem)
        service.reload()
        _, _, shown = await in_thread(ask, address, ANY, ANY)
        assert shown == [der(files.lower), der(files.upper)]
    finally:
        await within(service.stopService())
