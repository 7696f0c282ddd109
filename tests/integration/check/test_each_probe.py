"""Each probe, against a path that breaks just that."""

from __future__ import annotations

from hashlib import sha256
from time import monotonic
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import LoopingCall
from zope.interface import directlyProvides

from echosvc import EchoFactory, check
from echosvc.endpoints import client_endpoint
from echosvc.faults.relay import Relay
from echosvc.faults.spec import FaultSpec
from echosvc.probe.check import Check
from echosvc.probe.checks.rtt import RoundTrips
from echosvc.probe.result import CheckResult
from echosvc.probe.settings import CheckSettings
from echosvc.tls.context import ClientTLS
from tests.support.certificates import issue
from tests.support.checking import TIMEOUT, against, checked, only
from tests.support.lateness import Lateness
from tests.support.reactor import serving, within


@pytest_twisted.ensureDeferred
async def test_a_late_first_answer_does_not_slow_the_text_down():
    """As where a proxy connects to the server only then. The pieces wait for later round trips."""
    late = 0.4
    served: set[Any] = set()

    def heard(transport: Any, data: bytes) -> None:
        reactor.callLater(0.0 if transport in served else late, transport.write, data)
        served.add(transport)

    busy = Lateness()
    probe = only(await against(heard=heard, only=("text",), skip=()))
    assert probe.result == "pass"
    assert probe.seconds < 5 * late + busy.seconds


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_limit_of_connections():
    result = await checked(None, "connections", servers=[{"max_per_peer": 5}], connections=8)
    limit, probe = result.probes
    assert (limit.name, limit.result, limit.facts["limit"]) == ("limit", "fail", 5)
    assert limit.finding.startswith("5 of 8 connections at once were answered; the others ended by")
    assert (probe.result, probe.facts["connections"]) == ("pass", 5)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_long_way_is_measured():
    probe = only(await checked(FaultSpec(delay=0.1), "rtt"))
    assert probe.result == "info"
    facts = probe.facts["nodelay"]
    assert 200_000 <= facts["min_us"] <= facts["p50_us"] < 400_000
    assert facts["p50_us"] <= facts["p90_us"] <= facts["p99_us"] <= facts["max_us"]
    assert probe.finding.startswith(f"{facts['trips']} trips: min 2")


def test_percentiles_are_of_times_that_were_measured():
    times = RoundTrips([float(number) for number in range(1, 201)])
    assert [times.percentile(place) for place in (0, 50, 90, 99, 100)] == [1, 100, 180, 198, 200]
    assert str(RoundTrips([0.001, 0.002, 0.004])) == (
        "3 trips: min 1 ms, median 2 ms, 90 % 4 ms, 99 % 4 ms, max 4 ms"
    )
    assert RoundTrips([0.5]).facts == {
        "trips": 1, "min_us": 500_000, "p50_us": 500_000, "p90_us": 500_000, "p99_us": 500_000,
        "max_us": 500_000,
    }  # fmt: skip


@pytest_twisted.ensureDeferred
async def test_the_sizes_and_the_digest_of_the_longest_stream_are_told():
    heard: dict[Any, bytes] = {}

    def echo(transport: Any, data: bytes) -> None:
        heard[transport] = heard.get(transport, b"") + data
        transport.write(data)

    probe = only(await against(heard=echo, only=("sizes",), skip=(), max_size=5000))
    assert probe.facts["sizes"][0] == 1
    assert probe.facts["sizes"][-2:] == [4097, 5000]
    # Before a stream there is a message of one byte.
    streams = [data[1:] for data in heard.values() if len(data) == 5001]
    assert probe.facts["sha256"] in {sha256(stream).hexdigest() for stream in streams}


async def tls_check(pem: Any, words: ClientTLS, *names: str) -> CheckResult:
    where = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
    async with serving(EchoFactory(log="quiet"), where) as (_, port):
        endpoint = f"tls:localhost:{port}"
        target = client_endpoint(reactor, endpoint, words)
        run = Check(reactor, target, CheckSettings(only=names, timeout=TIMEOUT), endpoint).run()
        return await within(Deferred.fromCoroutine(run))


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_has_ended(tmp_path):
    pem = tmp_path / "server.pem"
    pem.write_bytes(issue("localhost", days=-0.5).pem)
    probe = only(await tls_check(pem, ClientTLS(insecure=True), "tls"))
    assert probe.result == "fail"
    assert "a certificate of 'CN=localhost' ended 1 days ago" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_nobody_vouches_for(tmp_path):
    pem = tmp_path / "server.pem"
    pem.write_bytes(issue("localhost").pem)
    result = await tls_check(pem, ClientTLS(), "connect", "tls")
    assert [probe.result for probe in result.probes] == ["fail", "skip"]
    assert "TLS: certificate verify failed" in result.probes[0].finding


@pytest_twisted.ensureDeferred
async def test_a_slow_path_is_slow_and_not_broken():
    """It carries 20 kB a second, and all of them right."""

    class Slow:
        def __init__(self, transport: Any) -> None:
            self._transport, self._waiting = transport, b""
            self._loop = LoopingCall(self._send)
            self._loop.clock = reactor
            transport.protocol.connectionLost = lambda reason: self._loop.stop()
            transport.protocol.dataReceived = self._take
            self._loop.start(0.05)

        def _take(self, data: bytes) -> None:
            self._waiting += data

        def _send(self) -> None:
            self._transport.write(self._waiting[:1000])
            self._waiting = self._waiting[1000:]

    result = await against(met=Slow, only=("order",), timeout=0.5)
    probe = only(result)
    assert probe.result == "info"
    assert "came back as they were sent" in probe.finding
    assert result.ok


@pytest_twisted.ensureDeferred
async def test_what_is_changed_below_tls_is_said_in_its_words(tmp_path):
    pem = tmp_path / "server.pem"
    pem.write_bytes(issue("localhost").pem)
    where = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
    async with serving(EchoFactory(log="quiet"), where) as address:
        relay = Relay(reactor, [address], FaultSpec(flip=40_000))
        endpoint = f"tls:localhost:{relay.listen()}:trustRoots={pem}"
        try:
            result = await within(Deferred.fromCoroutine(check(endpoint, only=("order",))))
        finally:
            await within(relay.stop())
    probe = only(result)
    assert "then TLS: " in probe.finding
    assert probe.cause == "what TLS protects was changed, lost or cut on the path"


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_wrong_is_no_silence():
    """The prefix changes while the connection is idle."""
    last: dict[Any, float] = {}

    def heard(transport: Any, data: bytes) -> None:
        rested = monotonic() - last.get(transport, monotonic()) > 0.15
        last[transport] = monotonic()
        transport.write((b"new> " if rested else b"old> ") + data)

    probe = only(await against(heard=heard, only=("idle",), skip=(), idle=(0.2,)))
    assert probe.result == "fail"
    assert "silence" not in probe.finding
    assert "new> " in probe.finding


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_what_goes_on_after_the_fin_is_no_slow_path():
    class Talker:
        def __init__(self, transport: Any) -> None:
            self.loop = LoopingCall(transport.write, b"x" * 100)
            self.loop.clock = reactor
            directlyProvides(transport.protocol, IHalfCloseableProtocol)
            transport.protocol.readConnectionLost = lambda: self.loop.start(0.05)
            transport.protocol.writeConnectionLost = lambda: None
            transport.protocol.connectionLost = self._stop

        def _stop(self, reason: object) -> None:
            if self.loop.running:
                self.loop.stop()

    def heard(transport: Any, data: bytes) -> None:
        transport.write(data)

    probe = only(await against(met=Talker, heard=heard, only=("half-close",), timeout=2.0))
    assert probe.result == "fail"
    assert "not sent by the client" in probe.finding or "more bytes came" in probe.finding
    assert probe.seconds < 8
