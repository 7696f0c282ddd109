"""A path that stops for a moment is not accused; one that stops again is, and it says how often."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from echosvc import check
from echosvc.probe.result import ProbeResult
from tests.support.checking import only
from tests.support.reactor import within
from tests.support.waiting import LIMIT

#: A connection that carries more is one of those that are counted, bytes: `path` carries less.
LONG = 2_000_000


class Stopping(Protocol):
    """Echoes, but stops for ever within some long streams: those of these numbers, from 1 on."""

    def connectionMade(self) -> None:
        self.taken = self.number = 0
        self.factory.live.append(self.transport)
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.taken += len(data)
        if self.taken > LONG and not self.number:
            self.factory.long += 1
            self.number = self.factory.long
        if self.number in self.factory.stopping:
            self.transport.pauseProducing()
        else:
            self.transport.write(data)

    def connectionLost(self, reason: object = None) -> None:
        self.transport.unregisterProducer()


async def back_pressure_of(stopping: set[int]) -> ProbeResult:
    factory: Any = Factory.forProtocol(Stopping)
    factory.long, factory.stopping, factory.live = 0, stopping, []
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        endpoint = f"tcp:127.0.0.1:{port.getHost().port}"
        run = check(endpoint, only=("back-pressure",), timeout=1.0)
        return only(await within(Deferred.fromCoroutine(run), 4 * LIMIT))
    finally:
        await within(port.stopListening())
        for transport in factory.live:  # one that is paused never sees its end
            transport.abortConnection()


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_stream_that_stops_once_is_asked_again_and_proves_nothing():
    probe = await back_pressure_of({1})
    assert probe.result == "info", probe
    times = probe.facts["times"]  # fewer on a machine that needs a minute for them
    assert (probe.facts["failed"], times in (2, 3, 4)) == (1, True)
    assert f"once it reads, everything arrives, but 1 of {times} times nothing came for 1 s" in (
        probe.finding
    )


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_stream_that_stops_again_is_a_failure_that_says_how_often():
    """Between the first time and the second the path has been asked for a deadlock: three times."""
    probe = await back_pressure_of({1, 5})
    assert probe.result == "fail", probe
    assert "but once it reads: the stream stopped at offset " in probe.finding
    assert probe.finding.endswith("(2 of 2 times)")
    assert (probe.facts["failed"], probe.facts["times"]) == (2, 2)
