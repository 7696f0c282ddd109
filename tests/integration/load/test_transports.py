"""A load over each kind of transport, on any reactor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from echosvc import EchoFactory
from echosvc.endpoints.server import server_endpoint
from tests.integration.load.paths import loaded, wrong
from tests.support.reactor import no_faults, within

MANY = {"rate": 0.0, "connections": 3, "depth": 4, "duration": 0.2}


async def answered(endpoint: str, listen: str, factory: EchoFactory, **options: Any) -> None:
    """Load a server; all is answered."""
    port = await server_endpoint(reactor, listen).listen(factory)
    try:
        with no_faults():
            result = await loaded(endpoint or f"tcp:127.0.0.1:{port.getHost().port}", **options)
    finally:
        await within(port.stopListening())
    assert wrong(result) == {}
    assert str(result.verdict) == "OK"
    assert result.tally.sent == result.tally.answered > 0


TCP = "tcp:0:interface=127.0.0.1"


@pytest.mark.parametrize("options", [MANY, {}, {**MANY, "lifetime": 0.05}], ids=str)
@pytest_twisted.ensureDeferred
async def test_tcp(options: dict[str, Any]):
    await answered("", TCP, EchoFactory(log="quiet"), **options)


@pytest_twisted.ensureDeferred
async def test_unix(sockets: Path):
    listen = f"unix:{sockets}/s"
    await answered(listen, listen, EchoFactory(log="quiet"), **MANY)


@pytest_twisted.ensureDeferred
async def test_long_messages():
    factory = EchoFactory(log="quiet")
    await answered("", TCP, factory, **{**MANY, "size": 300_000, "depth": 2})
