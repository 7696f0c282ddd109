"""A load over each kind of transport, on any reactor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from echosvc import EchoFactory
from echosvc.endpoints.server import server_endpoint
from tests.integration.load.paths import loaded, wrong
from tests.support.reactor import no_faults, serving, within
from tests.support.tls_files import Files

MANY = {"rate": 0.0, "connections": 3, "depth": 4, "duration": 0.2}


async def answered(endpoint: str, listen: str, factory: EchoFactory, **options: Any) -> None:
    """Load a server; all is answered."""
    port = await server_endpoint(reactor, listen).listen(factory)
    try:
        where = endpoint.replace("{port}", str(getattr(port.getHost(), "port", "")))
        with no_faults():
            result = await loaded(where, **options)
    finally:
        await within(port.stopListening())
    assert wrong(result) == {}
    assert str(result.verdict) == "OK"
    assert result.tally.sent == result.tally.answered > 0


TCP = "tcp:0:interface=127.0.0.1"


@pytest.mark.parametrize("options", [MANY, {}, {**MANY, "lifetime": 0.05}], ids=str)
@pytest_twisted.ensureDeferred
async def test_tcp(options: dict[str, Any]):
    await answered("tcp:127.0.0.1:{port}", TCP, EchoFactory(log="quiet"), **options)


@pytest_twisted.ensureDeferred
async def test_unix(sockets: Path):
    listen = f"unix:{sockets}/s"
    await answered(listen, listen, EchoFactory(log="quiet"), **MANY)


@pytest_twisted.ensureDeferred
async def test_long_messages():
    factory = EchoFactory(log="quiet")
    await answered("tcp:127.0.0.1:{port}", TCP, factory, **{**MANY, "size": 300_000, "depth": 2})


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize("options", [MANY, {**MANY, "lifetime": 0.1}], ids=str)
@pytest_twisted.ensureDeferred
async def test_tls(files: Files, options: dict[str, Any]):
    endpoint = "tls:localhost:{port}:endpoint=tcp\\:127.0.0.1\\:{port}:trustRoots=" + str(
        files.write("root.pem", files.root, key=False)
    )
    await answered(endpoint, files.listen, EchoFactory(log="quiet"), **options)


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_is_not_trusted_is_a_failure(files: Files):
    async with serving(EchoFactory(log="quiet"), files.listen) as (_, port):
        result = await loaded(f"tls:localhost:{port}:endpoint=tcp\\:127.0.0.1\\:{port}")
    assert result.verdict.exit_status == 1
    assert result.tally.errors == {"tls": 1}
    assert "certificate" in result.verdict.why


class Deaf(Protocol):
    """Reads nothing."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        self.factory.live.append(self.transport)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_does_not_read_is_not_sent_more_than_its_buffers_take():
    factory: Any = Factory.forProtocol(Deaf)
    factory.live = []
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        result = await loaded(
            f"tcp:127.0.0.1:{port.getHost().port}",
            prefix="", size=100_000, rate=2000.0, duration=0.3, grace=0.3,
        )  # fmt: skip
    finally:
        for transport in factory.live:
            transport.abortConnection()
        await within(port.stopListening())
    assert result.verdict.word == "FAIL"
    assert result.tally.answered == 0
    assert 0 < result.tally.sent < 400  # the kernel's buffers take some megabytes
    assert result.generator.unsent == 600 - result.tally.sent
    assert result.generator.missed == 0
