"""Connections that begin with a PROXY header, on real sockets."""

from __future__ import annotations

import socket
import time

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ServerEndpoint

from echosvc import Outcome
from echosvc.wire.proxy_header import SIGNATURE, encode_header
from tests.support.reactor import in_thread, serving, turn, until
from tests.support.recording import Recording, logged_lines
from tests.support.sockets import (
    connect,
    exchange,
    is_reset_or_end,
    receive_all,
    receive_exactly,
    reset,
)
from tests.support.waiting import LIMIT

SOURCE, DESTINATION = ("192.0.2.7", 4711), ("198.51.100.1", 443)
PROXIES = {"proxy_protocol": "require", "proxy_from": ("127.0.0.0/8",)}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("framing", ["chunk", "line"])
@pytest_twisted.ensureDeferred
async def test_behind_a_header_all_is_as_without_and_the_client_is_the_real_one(version, framing):
    factory = Recording(prefix="{peer} at {local}: ", framing=framing, **PROXIES)
    async with serving(factory) as address:
        header = encode_header(version, SOURCE, DESTINATION)
        answer = await in_thread(exchange, address, header + b"hello")
        assert answer == b"192.0.2.7:4711 at 198.51.100.1:443: hello"
        await until(lambda: factory.outcomes)
    assert factory.outcomes == [Outcome.FINISHED]


@pytest_twisted.ensureDeferred
async def test_a_header_may_come_byte_by_byte():
    factory = Recording(prefix="{peer}: ", **PROXIES)
    async with serving(factory) as address:
        with connect(address) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in encode_header(2, SOURCE, DESTINATION) + b"x":
                client.sendall(bytes([byte]))
                await turn(0.001)
            client.shutdown(socket.SHUT_WR)
            assert await in_thread(receive_all, client) == b"192.0.2.7:4711: x"


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\0\0\0", SIGNATURE + b"\x21\0\0\0"]
)
@pytest_twisted.ensureDeferred
async def test_a_proxy_may_speak_for_itself(header):
    """Health checks do: they are served whatever networks the clients must be from."""
    factory = Recording(prefix="{peer}: ", allow=("192.0.2.0/24",), **PROXIES)
    async with serving(factory) as address:
        with connect(address) as client:
            own = "{}:{}".format(*client.getsockname())
            client.sendall(header + b"x")
            client.shutdown(socket.SHUT_WR)
            assert await in_thread(receive_all, client) == f"{own}: x".encode()


@pytest_twisted.ensureDeferred
async def test_limits_speak_of_the_client_behind_the_proxy():
    factory = Recording(deny=("192.0.2.0/24",), max_per_peer=1, **PROXIES)
    async with serving(factory) as address:
        with connect(address) as denied:
            denied.sendall(encode_header(2, SOURCE, DESTINATION) + b"x")
            assert await in_thread(is_reset_or_end, denied)
        with connect(address) as one, connect(address) as two, connect(address) as three:
            for client, host in ((one, "203.0.113.1"), (two, "203.0.113.2")):
                client.sendall(encode_header(1, (host, 5), DESTINATION) + b"x")
                assert await in_thread(receive_exactly, client, 10) == b"Sending: x"
            three.sendall(encode_header(1, ("203.0.113.1", 6), DESTINATION) + b"x")
            assert await in_thread(is_reset_or_end, three)
        await until(lambda: not factory.count)
    assert factory.admission.open == 0
    assert factory.admission.refused == 2


@pytest_twisted.ensureDeferred
async def test_an_ipv4_client_is_ipv4_however_the_proxy_writes_it():
    factory = Recording(prefix="{peer}: ", max_per_peer=1, **PROXIES)
    async with serving(factory) as address:
        with connect(address) as one, connect(address) as two, connect(address) as three:
            for client, host in ((one, "192.0.2.1"), (two, "192.0.2.2")):
                client.sendall(b"PROXY TCP6 ::ffff:%s ::1 5 6\r\nx" % host.encode())
                answer = f"{host}:5: x".encode()
                assert await in_thread(receive_exactly, client, len(answer)) == answer
            three.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.9 7 8\r\nx")
            assert await in_thread(is_reset_or_end, three)


@pytest.mark.parametrize(
    "part", [b"PROXY TCP4 1.2", SIGNATURE, b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\n"]
)
@pytest_twisted.ensureDeferred
async def test_a_header_that_is_cut_short_is_one_line(part):
    factory = Recording(**PROXIES)
    with logged_lines() as said:
        async with serving(factory) as address:
            with connect(address) as client:
                client.sendall(part)
                client.shutdown(socket.SHUT_WR)
                assert await in_thread(is_reset_or_end, client)
            await until(lambda: said)
    (line,) = said
    assert "its PROXY header was cut short" in line
    assert factory.admission.open == 0


@pytest_twisted.ensureDeferred
async def test_who_is_no_proxy_is_closed_with_one_line():
    factory = Recording(proxy_protocol="require", proxy_from=("192.0.2.1",))
    with logged_lines() as said:
        async with serving(factory) as address:
            with connect(address) as client:
                assert await in_thread(is_reset_or_end, client)
    (line,) = said
    assert "it is not one of the proxies remote = 127.0.0.1:" in line


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n\x1b[31m", "no PROXY header but 'GET / HTTP/1.1\\r\\...'"),
        (b"PROXY TCP4 1.2.3.4\x1b 5.6.7.8 1 2\r\n", "the address '1.2.3.4\\x1b' in a PROXY line"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 x 2\r\n", "the port 'x' in a PROXY line"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_bad_header_closes_with_one_line_and_no_traceback(data, why):
    factory = Recording(**PROXIES)
    with logged_lines() as said:
        async with serving(factory) as address:
            with connect(address) as client:
                client.sendall(data)
                assert await in_thread(is_reset_or_end, client)
    (line,) = said
    assert line.startswith(f"Client refused: {why} remote = 127.0.0.1:")
    assert line.isprintable()
    assert factory.accepted == 0


@pytest_twisted.ensureDeferred
async def test_a_late_header_is_not_waited_for():
    factory = Recording(handshake_timeout=0.3, **PROXIES)
    with logged_lines() as said:
        async with serving(factory) as address:
            with connect(address) as silent, connect(address) as slow:
                began = time.monotonic()
                slow.sendall(b"PROXY ")
                for client in (silent, slow):
                    assert await in_thread(is_reset_or_end, client)
                assert 0.29 < time.monotonic() - began < LIMIT
    assert "no PROXY header within 0.3 s" in said[0]
    assert factory.admission.open == 0


@pytest_twisted.ensureDeferred
async def test_who_goes_before_its_header_leaves_nothing_behind():
    factory = Recording(max_connections=5, **PROXIES)
    with logged_lines() as said:
        async with serving(factory) as address:
            for number in range(20):
                client = connect(address)
                client.sendall(b"PROXY"[: number % 5])
                (reset if number % 2 else socket.socket.close)(client)
            await until(lambda: not factory.pending_proxy)
            answer = await in_thread(
                exchange, address, encode_header(2, SOURCE, DESTINATION) + b"x"
            )
            assert answer == b"Sending: x"
    assert factory.admission.open == 0
    assert len(said) < 20


@pytest_twisted.ensureDeferred
async def test_a_stop_ends_those_that_wait_for_their_header():
    factory = Recording(**PROXIES)
    async with serving(factory) as address:
        with connect(address) as client:
            await until(lambda: factory.pending_proxy)
            idle = factory.when_idle()
            assert not idle.called
            factory.end_all()
            await idle
            assert await in_thread(is_reset_or_end, client)


@pytest_twisted.ensureDeferred
async def test_a_fault_of_the_application_behind_a_header_ends_that_connection_alone():
    factory = Recording(**PROXIES)
    factory.on_connect = lambda connection: connection.finish()
    async with serving(factory) as address:
        with connect(address) as client:
            client.sendall(encode_header(2, SOURCE, DESTINATION))
            assert await in_thread(receive_all, client) == b""
        await until(lambda: factory.outcomes)
    assert factory.outcomes == [Outcome.CLOSED]


@pytest_twisted.ensureDeferred
async def test_a_pause_on_connect_holds_what_came_behind_the_header():
    factory = Recording(pause_on_connect=True, **PROXIES)
    async with serving(factory) as address:
        with connect(address) as client:
            client.sendall(encode_header(1, SOURCE, DESTINATION) + b"x")
            await until(lambda: factory.count)
            await turn(0.05)
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            client.settimeout(LIMIT)
            factory.only.resume()
            assert await in_thread(receive_exactly, client, 10) == b"Sending: x"


@pytest_twisted.ensureDeferred
async def test_an_embedder_sees_the_clients_address():
    seen = []
    factory = Recording(**PROXIES)
    factory.on_connect = lambda connection: seen.append(connection.remote_address)
    async with serving(factory) as address:
        await in_thread(exchange, address, encode_header(2, SOURCE, DESTINATION))
    assert seen == [IPv4Address("TCP", *SOURCE)]


@pytest_twisted.ensureDeferred
async def test_on_another_transport_than_ours_a_header_is_refused_in_words():
    """Of Twisted's own we cannot change the addresses: limits would judge the proxy."""
    factory = Recording(**PROXIES)
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    try:
        with logged_lines() as said:
            data = encode_header(2, SOURCE, DESTINATION) + b"hello"
            assert await in_thread(_refused, port.getHost().port, data)
    finally:
        await port.stopListening()
    (line,) = [line for line in said if "refused" in line]
    assert "PROXY headers are for listeners of echosvc.endpoints.server_endpoint()" in line


def _refused(port: int, data: bytes) -> bool:
    try:  # the reset may come before connect() has returned
        with connect(("127.0.0.1", port)) as client:
            client.sendall(data)
            return client.recv(1) == b""
    except ConnectionError:
        return True
