"""The fixtures for tests of clients, as somebody uses them who has only these."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from echosvc.faults.relay import Relay
from echosvc.faults.spec import FaultSpec
from tests.support.sockets import receive_exactly

pytest_plugins = ["echosvc.testing"]


def exchange(port, data):
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        pieces = []
        while piece := client.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)


@pytest_twisted.ensureDeferred
async def test_the_server(echo_server):
    assert await deferToThread(exchange, echo_server.port, b"hello") == b"Sending: hello"
    assert [outcome.value for outcome in echo_server.outcomes] == ["finished"]
    assert echo_server.factory.bytes_in == 5


@pytest_twisted.ensureDeferred
async def test_other_settings(echo_server):
    await echo_server.start(prefix="> ", framing="line")
    assert await deferToThread(exchange, echo_server.port, b"a\nb\n") == b"> a\n> b\n"


@pytest_twisted.ensureDeferred
async def test_the_relay(misbehaving_relay):
    port = misbehaving_relay(FaultSpec(drop=(10, 2)))
    assert await deferToThread(exchange, port, b"hello") == b"Sending: hlo"
    assert await deferToThread(exchange, misbehaving_relay(), b"hello") == b"Sending: hello"


@pytest_twisted.ensureDeferred
async def test_two_servers(misbehaving_relay, echo_server):
    port = misbehaving_relay(None, ("127.0.0.1", echo_server.port), ("127.0.0.1", 1))
    assert await deferToThread(exchange, port, b"hello") == b"Sending: hello"


@pytest_twisted.ensureDeferred
async def test_a_server_that_was_stopped_listens_no_more(echo_server):
    port = echo_server.port
    await echo_server.stop()
    await echo_server.stop()  # once more does no harm
    with pytest.raises(ConnectionRefusedError):
        await deferToThread(exchange, port, b"hello")


@pytest_twisted.ensureDeferred
async def test_a_relay_keeps_the_faults_of_a_connection(echo_server):
    relay = Relay(reactor, [(echo_server.host, echo_server.port)], FaultSpec(on_fin="drop"))
    port = relay.listen()
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"hello")
        assert await deferToThread(receive_exactly, client, 14) == b"Sending: hello"
        relay.faults = FaultSpec()
        client.shutdown(socket.SHUT_WR)
        assert await deferToThread(exchange, port, b"later") == b"Sending: later"
        client.setblocking(False)
        with pytest.raises(BlockingIOError):  # the first one's FIN was dropped
            client.recv(1)
    await relay.stop()
