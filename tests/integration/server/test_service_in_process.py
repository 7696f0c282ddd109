"""The service in this process: its listeners, its drain."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.logger import globalLogPublisher

from echosvc import EchoFactory, EchoService, Outcome
from echosvc.endpoints import server_endpoint
from echosvc.net.errors import ListenError
from tests.support.payload import MARK
from tests.support.reactor import in_thread, no_faults, serving, turn, until, within
from tests.support.recording import Recording, all_gone, stalled
from tests.support.sockets import (
    connect,
    exchange,
    finished_clients,
    half_close,
    reader,
    receive_all,
    receive_each,
    receive_exactly,
)
from tests.support.waiting import LIMIT


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
            assert 0.29 <= time.monotonic() - asked < LIMIT
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
            assert 0.39 <= time.monotonic() - asked < LIMIT
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
