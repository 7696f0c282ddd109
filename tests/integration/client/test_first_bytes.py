"""What the command line's client sends first: PROXY headers, server names."""

from __future__ import annotations

import socket
import tempfile
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    NoProtocol,
)
from twisted.internet.protocol import Factory

from echosvc import EchoClientFactory, EchoFactory, Outcome, connect
from echosvc.connection.sender import SocketSender
from echosvc.endpoints import client_endpoint
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.wire.proxy_header import SIGNATURE, Header, HeaderParser, encode_header
from tests.support.client import accepted, listening
from tests.support.commands import echosvc
from tests.support.payload import MIB, payload
from tests.support.process import running
from tests.support.reactor import in_thread, no_faults, serving, within
from tests.support.sockets import receive_all, receive_exactly
from tests.support.tls_files import Files


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_proxy_header_goes_first_before_tls(version: str, files: Files) -> None:
    names = f"tls:{files.place}/names:0:interface=127.0.0.1"
    words = "--proxy-protocol", "require", "--proxy-from", "127.0.0.1", "--greeting", "{local} "
    listen = "--listen", names, "--listen", "tcp:0:interface=127.0.0.1"
    with running(*listen, *words) as server:
        server.wait_lines("Server listening", 2)
        ports = [int(each["port"]) for each in server.listeners]
        proxy = "--send-proxy", version
        ca = "--ca", f"{files.place}/root.pem"
        for port, more in ((ports[0], ("--to", f"tls:localhost:{ports[0]}", *ca)), (ports[1], ())):
            to = more or ("--to", f"tcp:127.0.0.1:{port}")
            done = echosvc("send", *to, *proxy, "--quiet", "hi")
            assert f"127.0.0.1:{port} " in done.stdout.decode()
            assert b"Sending: hi" in done.stdout
            assert (done.stderr, done.returncode) == (b"", 0)


def header_and_rest(data: bytes) -> tuple[Header, bytes]:
    parser = HeaderParser()
    header = parser.feed(data)
    assert header is not None
    return header, parser.rest


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest_twisted.ensureDeferred
async def test_it_holds_the_connections_own_addresses(host: str, version: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        words = f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"
        client = await within(connect(client_endpoint(reactor, words, None, version).endpoint))
        client.write(b"hello")
        with accepted(listener) as server:
            client.finish()
            header, rest = header_and_rest(await in_thread(receive_all, server))
            mine = server.getpeername()[:2]
        assert header == Header(version, mine, (host, port))
        assert rest == b"hello"
        assert await within(client.when_closed()) is Outcome.FINISHED
        assert client.bytes_out == 5


@pytest.mark.parametrize(
    ("version", "header"), [(1, b"PROXY UNKNOWN\r\n"), (2, SIGNATURE + b"\x20\0\0\0")]
)
@pytest_twisted.ensureDeferred
async def test_a_unix_socket_has_none(version: int, header: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="echo") as place, listening(f"{place}/s") as listener:
        endpoint = ProxyingEndpoint(UNIXClientEndpoint(reactor, f"{place}/s"), version)
        client = await within(connect(endpoint))
        with accepted(listener) as server:
            client.finish()
            assert await in_thread(receive_all, server) == header
        await within(client.when_closed())


@pytest.mark.parametrize("version", [1, 2])
@pytest_twisted.ensureDeferred
async def test_half_close_and_back_pressure_are_as_without(version: int) -> None:
    with no_faults(), listening("tcp", receive_buffer=4096) as listener:
        address = listener.getsockname()
        client = await within(
            connect(ProxyingEndpoint(TCP4ClientEndpoint(reactor, *address), version))
        )
        assert client.half_closes
        assert isinstance(client.sender, SocketSender)  # its bytes go to the kernel directly
        with accepted(listener) as server:
            data, sent = payload(8 * MIB), 0
            while (room := client.write(data[sent : sent + 65536])).called:
                sent += 65536
                assert sent < len(data)
            sent += 65536
            assert client.queued <= 2 * 65536
            expected = encode_header(version, server.getpeername(), address)
            came = await in_thread(receive_exactly, server, len(expected) + sent)
            assert came == expected + data[:sent]
            await within(room)
            client.finish()
            assert await in_thread(receive_all, server) == b""
            server.sendall(b"after the end")  # our side alone is closed
            assert await within(client.receive()) == b"after the end"
            server.shutdown(socket.SHUT_WR)
            assert await within(client.receive()) == b""
            assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_a_server_that_finishes_first_can_still_be_sent_to() -> None:
    with no_faults(), listening("tcp") as listener:
        endpoint = ProxyingEndpoint(TCP4ClientEndpoint(reactor, *listener.getsockname()), 2)
        client = await within(connect(endpoint, allow_half_open=True))
        with accepted(listener) as server:
            server.shutdown(socket.SHUT_WR)
            assert await within(client.receive()) == b""
            client.write(b"still there")
            client.finish()
            assert (await in_thread(receive_all, server)).endswith(b"still there")
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest.mark.parametrize("version", [1, 2])
@pytest_twisted.ensureDeferred
async def test_nothing_is_lost_through_tls_behind_it(version: int, files: Files) -> None:
    factory = EchoFactory(
        prefix=b"", log="quiet", proxy_protocol="require", proxy_from=("127.0.0.1",)
    )
    async with serving(factory, files.listen) as (_, port):
        words = f"tls:localhost:{port}:trustRoots={files.place}/root.pem"
        client = await within(connect(client_endpoint(reactor, words, None, version).endpoint))
        (met,) = factory.connections
        assert met.remote == client.local
        data, back = payload(2 * MIB), b""
        client.write(data)
        client.finish()
        while piece := await within(client.receive()):
            back += piece
        assert back == data
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_what_fails_below_fails_and_what_is_cancelled_ends() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = ProxyingEndpoint(TCP4ClientEndpoint(reactor, *unused.getsockname()), 1)
        with pytest.raises(ConnectError):
            await within(connect(endpoint))
        attempt = endpoint.connect(EchoClientFactory())
        attempt.cancel()
        with pytest.raises(ConnectingCancelledError):
            await within(attempt)


@pytest_twisted.ensureDeferred
async def test_a_factory_may_refuse_and_then_nothing_is_sent() -> None:
    class Refusing(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> None:
            return None

    with listening("tcp") as listener:
        endpoint = ProxyingEndpoint(TCP4ClientEndpoint(reactor, *listener.getsockname()), 2)
        with pytest.raises(NoProtocol):
            await within(endpoint.connect(Refusing()))
        with accepted(listener) as server:
            assert await in_thread(receive_all, server) == b""


def test_there_is_no_version_3() -> None:
    with pytest.raises(ValueError, match="not 3"):
        ProxyingEndpoint(TCP4ClientEndpoint(reactor, "127.0.0.1", 1), 3)
