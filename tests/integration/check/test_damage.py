"""``check`` reports a fault of streams once, and each other fault besides."""

from __future__ import annotations

import math
from time import monotonic
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from echosvc import check
from echosvc.faults.mutator import StreamMutator
from echosvc.faults.spec import FaultSpec
from echosvc.probe.result import CheckResult, ProbeResult
from echosvc.probe.settings import MIB
from tests.support.checking import checked
from tests.support.commands import slow
from tests.support.reactor import within
from tests.support.waiting import LIMIT

DAMAGES = {
    "lost": FaultSpec(drop=(100_000, 700)),
    "repeated": FaultSpec(duplicate=(100_000, 700)),
    "reordered": FaultSpec(swap=(100_000, 700)),
    "changed": FaultSpec(flip=100_000),
    "inserted": FaultSpec(insert=(100_000, b"<html>")),
    "lost on the way there": FaultSpec(upstream=True, drop=(100_000, 700)),
}


def results(result: CheckResult) -> dict[str, tuple[str, str]]:
    """The result of each probe, and the name of what explains it."""
    return {each.name: (each.result, each.facts.get("see", "")) for each in result.probes}


FAILED, PASSED = ("fail", ""), ("pass", "")


@pytest.mark.parametrize("name", DAMAGES)
@pytest_twisted.ensureDeferred
async def test_what_sizes_found_explains_the_later_probes(name):
    result = await checked(DAMAGES[name], "sizes", "order", "connections", "half-close")
    see = ("skip", "sizes")
    assert results(result) == {
        "sizes": FAILED, "order": see, "half-close": see, "connections": PASSED
    }, result  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGES)
@pytest_twisted.ensureDeferred
async def test_it_explains_the_probes_that_read_late(name):
    result = await checked(DAMAGES[name], "order", "late-answers", "back-pressure")
    see = ("skip", "order")
    assert results(result) == {"order": FAILED, "late-answers": see, "back-pressure": see}, result


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGES)
@pytest_twisted.ensureDeferred
async def test_back_pressure_alone_blames_the_stream(name):
    sizes, probe = (await checked(DAMAGES[name], "back-pressure")).probes
    assert (sizes.name, sizes.result) == ("sizes", "fail")
    assert sizes.finding.startswith("1 MiB: ")
    assert (probe.name, probe.result, probe.facts["see"]) == ("back-pressure", "skip", "sizes")


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": (700, 60)},
        {"flip": 700},
        {"insert": (700, b"<html>")},
        *slow({"flip": 701}, {"flip": 702}),
    ],
    ids=["lost", "changed-0", "inserted", "changed-1", "changed-2"],
)
@pytest_twisted.ensureDeferred
async def test_a_fault_near_the_beginning_is_no_translation_of_values(fault):
    result = await checked(FaultSpec(**fault), "bytes", "sizes", "order", "connections")
    see = ("skip", "bytes")
    assert results(result) == {"bytes": FAILED, "sizes": see, "order": see, "connections": see}
    assert "values do not come back" not in result.probes[0].finding


@pytest_twisted.ensureDeferred
async def test_connections_alone_blame_the_stream():
    sizes, probe = (await checked(FaultSpec(drop=(30_000, 700)), "connections")).probes
    assert (sizes.name, sizes.result) == ("sizes", "fail")
    assert (probe.name, probe.result) == ("connections", "skip")


@implementer(IHalfCloseableProtocol)
class Damaging(Protocol):
    """Echoes, with a fault for each stream, which begins behind the first message."""

    mutator: StreamMutator | None = None
    numbers = 0

    def connectionMade(self) -> None:
        type(self).numbers += 1
        self.number = self.numbers
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        if data == b"~":
            self.transport.write(data)
            return
        if self.mutator is None:
            self.mutator = StreamMutator(self.fault(data))
        self.transport.write(self.mutator.feed(data))

    def readConnectionLost(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass

    def fault(self, data: bytes) -> FaultSpec:
        """The fault of a stream that begins so."""
        return FaultSpec()


async def against(protocol: type[Damaging], *names: str) -> dict[str, ProbeResult]:
    port = reactor.listenTCP(0, Factory.forProtocol(protocol), interface="127.0.0.1")
    settings: dict[str, Any] = {"timeout": 2.0, "max_size": MIB, "only": names}
    try:
        run = check(f"tcp:127.0.0.1:{port.getHost().port}", **settings)
        result = await within(Deferred.fromCoroutine(run), 2 * LIMIT)
    finally:
        await within(port.stopListening())
    return {each.name: each for each in result.probes}


#: What the numbered stream of ``order`` begins with.
NUMBERED = b"00000000"


@pytest.mark.parametrize(
    "other",
    [FaultSpec(duplicate=(100_000, 700)), FaultSpec(drop=(50_000, 700))],
    ids=["of another kind", "always in another place"],
)
@pytest_twisted.ensureDeferred
async def test_a_different_fault_is_reported_too(other):
    class Two(Damaging):
        def fault(self, data: bytes) -> FaultSpec:
            return other if data.startswith(NUMBERED) else FaultSpec(drop=(100_000, 700))

    found = await against(Two, "sizes", "order")
    assert {name: each.result for name, each in found.items()} == {"sizes": "fail", "order": "fail"}
    assert found["sizes"].facts["fault"] == "lost"
    assert found["order"].facts["offset"] != found["sizes"].facts["offset"]


@pytest_twisted.ensureDeferred
async def test_faults_of_one_kind_in_changing_places_are_one():
    class Anywhere(Damaging):
        def fault(self, data: bytes) -> FaultSpec:
            return FaultSpec(drop=(100_000 + 20_000 * (self.number % 7), 700 + self.number % 5))

    found = await against(Anywhere, "sizes", "order", "half-close")
    assert {name: each.result for name, each in found.items()} == {
        "sizes": "fail", "order": "skip", "half-close": "skip"
    }, found  # fmt: skip
    assert found["order"].facts["see"] == found["half-close"].facts["see"] == "sizes"


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_bytes_that_are_lost_only_where_nobody_reads_are_the_subject_of_back_pressure():
    class Overflowing(Damaging):
        full_since = math.inf

        def connectionMade(self) -> None:
            self.transport.registerProducer(self, True)

        def pauseProducing(self) -> None:
            self.full_since = monotonic()
            self.transport.pauseProducing()

        def resumeProducing(self) -> None:
            if monotonic() > self.full_since + 0.5:
                self.mutator = StreamMutator(FaultSpec(drop=(0, 700)))
            self.full_since = math.inf
            self.transport.resumeProducing()

        def stopProducing(self) -> None:
            pass

    found = await against(Overflowing, "sizes", "back-pressure")
    assert found["sizes"].result == "pass"
    probe = found["back-pressure"]
    assert (probe.result, probe.facts["fault"], probe.facts["length"]) == ("fail", "lost", 700)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_fault_beyond_the_longest_stream_is_the_streams_where_reading_does_not_help():
    class Beyond(Damaging):
        def fault(self, data: bytes) -> FaultSpec:
            return FaultSpec(drop=(3 * MIB, 700))

    found = await against(Beyond, "sizes", "back-pressure")
    assert {name: each.result for name, each in found.items()} == {
        "sizes": "pass", "stream": "fail", "back-pressure": "skip"
    }  # fmt: skip
    assert found["back-pressure"].facts["see"] == "stream"
