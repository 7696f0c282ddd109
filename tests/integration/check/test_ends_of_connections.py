"""``check`` against paths that end, buffer or reset connections wrongly."""

from __future__ import annotations

import re
import socket
from time import monotonic, sleep
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from echosvc import check
from echosvc.faults.spec import FaultSpec
from echosvc.probe.checks import find_idle
from echosvc.probe.engine.endings import Ending
from echosvc.probe.result import ProbeResult
from echosvc.probe.settings import MIB
from tests.support.checking import TIMEOUT, against, checked, failure, failures, only
from tests.support.lateness import Lateness
from tests.support.process import running
from tests.support.reactor import within


@pytest_twisted.ensureDeferred
async def test_a_path_that_closes_both_directions_at_a_fin():
    probe = await failure(FaultSpec(on_fin="close"), "half-close")
    assert "ends both directions at the FIN" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_path_that_drops_a_fin():
    probe = await failure(FaultSpec(on_fin="drop"), "half-close", timeout=1.0)
    assert "but no FIN within 1 s" in probe.finding
    assert "a proxy does not pass it on" in probe.cause


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_path_that_buffers_without_bound():
    probe = await failure(FaultSpec(unbounded=True), "back-pressure")
    assert "buffers without bound" in probe.cause


@implementer(IPushProducer)
class Forgetful:
    """Echoes, and loses bytes once its answers have waited for a while to be read."""

    def __init__(self, transport: Any) -> None:
        self.transport, self.full, self.loses = transport, 0.0, False
        transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        self.full = monotonic()
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.loses = monotonic() > self.full + 0.7
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        pass

    def heard(self, data: bytes) -> None:
        self.transport.write(data[5000:] if self.loses else data)
        self.loses = False


@pytest_twisted.ensureDeferred
async def test_bytes_that_are_lost_are_no_fault_of_back_pressure_if_a_plain_stream_loses_them():
    result = await checked(FaultSpec(drop=(3_000_000, 5000)), "back-pressure")
    sizes, probe = result.probes
    assert (sizes.name, sizes.result) == ("sizes", "fail")
    assert "5000 bytes lost" in sizes.finding
    assert (probe.name, probe.result, probe.facts["see"]) == ("back-pressure", "skip", "sizes")


@pytest_twisted.ensureDeferred
async def test_a_buffer_that_loses_bytes_while_nobody_reads():
    servers: dict[Any, Forgetful] = {}

    def met(transport: Any) -> None:
        servers[transport] = Forgetful(transport)

    def heard(transport: Any, data: bytes) -> None:
        servers[transport].heard(data)

    settings = {"only": ("back-pressure",), "skip": (), "timeout": TIMEOUT}
    probe = only(await against(met, heard, **settings))
    assert "the sender is stopped after" in probe.finding
    assert "5000 bytes lost" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_limit_of_bytes_is_not_the_fault_of_a_sender_that_does_not_read():
    result = await checked(FaultSpec(upstream=True, cut=2_000_000), "back-pressure")
    assert [(probe.name, probe.result) for probe in result.probes] == [
        ("volume", "fail"),
        ("back-pressure", "skip"),
    ]


@pytest_twisted.ensureDeferred
async def test_unasked_bytes_on_an_idle_connection():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(data)
        if data == b"~":
            reactor.callLater(0.1, lambda: transport.connected and transport.write(b"hello?"))

    probe = only(await against(heard=heard, only=("idle",), skip=(), idle=(1.0,)))
    assert probe.finding == "6 bytes came that were not requested, while idle: 'hello?'"
    assert "sends something by itself" in probe.cause


@pytest_twisted.ensureDeferred
async def test_back_pressure_that_works_says_after_how_much():
    probe = only(await checked(FaultSpec(), "back-pressure"))
    assert probe.result == "pass"
    assert 0 < probe.facts["stopped_after"] < 64 * MIB


@pytest.mark.parametrize(("how", "says"), [("fin", "FIN"), ("rst", "RST"), ("silence", "silence")])
@pytest_twisted.ensureDeferred
async def test_idle_connections_that_die(how, says):
    faults = FaultSpec(idle_timeout=0.7, on_idle=how)
    probe = await failure(faults, "idle", idle=(0.2, 1.2), timeout=1.0)
    assert probe.facts["survived"] == [0.2]
    assert "1.2 s: " + says in probe.finding


#: By how much the other side of a test may be late itself on a busy machine, seconds.
LATE = 0.3


@pytest.mark.parametrize("how", ["fin", "rst", pytest.param("silence", marks=pytest.mark.slow)])
@pytest_twisted.ensureDeferred
async def test_the_idle_time_out_is_found(how):
    faults = FaultSpec(idle_timeout=2.0, on_idle=how)
    busy = Lateness()
    probe = only(await checked(faults, "find-idle", find_idle=20.0, timeout=1.0))
    assert probe.result == "info", probe
    early = 0.1 if how == "silence" else 0.02  # what is used in time may be carried too late
    assert 2 * (1 - early) <= probe.facts["idle_seconds"] <= 2 + LATE + busy.seconds
    assert probe.facts["how"] == {"fin": "FIN", "rst": "RST", "silence": "silence"}[how]
    assert probe.seconds < 16 + busy.seconds  # far less than the longest time that is searched for


class Impatient(Protocol):
    """Echoes, and closes a second after the last byte. One of its first answers may be late.

    :cvar rested: the seconds after which it did close: a busy machine is late.
    """

    late_one, made = 0, 0
    rested: list[float] = []

    def connectionMade(self) -> None:
        type(self).made += 1
        self.late = 0.6 if self.made == self.late_one else 0.0
        self.last, self.close = monotonic(), reactor.callLater(30, self.transport.loseConnection)

    def dataReceived(self, data: bytes) -> None:
        late, self.late = self.late, 0.0
        self.close.reset(late + 1.0)
        reactor.callLater(late, self.answer, data)

    def answer(self, data: bytes) -> None:
        self.transport.write(data)
        self.last = monotonic()

    def connectionLost(self, reason: object = None) -> None:
        if self.close.active():
            self.close.cancel()
        else:
            self.rested.append(monotonic() - self.last)


async def idle_time_found(**settings: Any) -> tuple[ProbeResult, list[float]]:
    """What find-idle says of such a server, and after which times this one did close."""

    class Server(Impatient):
        late_one = settings.pop("late_one", 0)
        rested: list[float] = []

    port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
    settings = {"only": ("find-idle",), "find_idle": 10.0, "timeout": 5.0, **settings}
    try:
        endpoint = f"tcp:127.0.0.1:{port.getHost().port}"
        result = await within(Deferred.fromCoroutine(check(endpoint, **settings)))
    finally:
        await within(port.stopListening())
    return only(result), Server.rested


@pytest_twisted.ensureDeferred
async def test_the_idle_time_of_a_connection_counts_from_its_own_last_byte():
    busy = Lateness()
    probe, rested = await idle_time_found(late_one=10)
    seconds = probe.facts["idle_seconds"]
    assert min(abs(seconds - each) for each in rested) < 0.02 + busy.seconds, (probe, rested)


@pytest_twisted.ensureDeferred
async def test_connections_that_are_opened_later_are_not_said_to_outlive_the_others():
    """At this pace some are not open for as long as the first ones when these are cut."""
    busy = Lateness()
    probe, rested = await idle_time_found(pace=8.0)
    assert re.match(r"an idle connection is cut after \d", probe.finding), probe
    seconds = probe.facts["idle_seconds"]
    assert min(abs(seconds - each) for each in rested) < 0.02 + busy.seconds, (probe, rested)


@pytest_twisted.ensureDeferred
async def test_a_round_in_which_check_had_no_processor_is_done_again(monkeypatch):
    """The busy connection has rested, too."""
    note, stalls = find_idle._Round._note_cut, iter([1.0])

    def note_and_stall(tried: Any, ending: Ending) -> None:
        note(tried, ending)
        sleep(next(stalls, 0.0))

    monkeypatch.setattr(find_idle._Round, "_note_cut", note_and_stall)
    with running("--idle-timeout", "0.5", "--idle-action", "close") as server:
        endpoint = f"tcp:127.0.0.1:{server.port}"
        found = check(endpoint, only=("find-idle",), find_idle=2.0, pace=40.0)
        probe = only(await within(Deferred.fromCoroutine(found)))
    assert probe.finding.startswith("an idle connection is cut after "), probe


@pytest_twisted.ensureDeferred
async def test_no_idle_time_out_is_found_where_there_is_none():
    probe = only(await checked(FaultSpec(), "find-idle", find_idle=1.0))
    assert (probe.facts["idle_seconds"], probe.finding) == (None, "none up to 1 s")


RESETTING = [{"idle_timeout": 0.3, "idle_action": "reset"}]


@pytest_twisted.ensureDeferred
async def test_a_reset_arrives():
    probe = only(await checked(FaultSpec(), "reset", servers=RESETTING))
    assert (probe.result, probe.facts["how"]) == ("pass", "RST")


@pytest_twisted.ensureDeferred
async def test_a_reset_that_becomes_a_fin():
    probe = await failure(FaultSpec(on_reset="fin"), "reset", servers=RESETTING)
    assert "an abort into a clean end" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_reset_that_is_dropped():
    probe = await failure(FaultSpec(on_reset="drop"), "reset", servers=RESETTING, timeout=1.0)
    assert "a middlebox drops it" in probe.cause


LIMITED = [{"max_lifetime": 0.8}]


@pytest_twisted.ensureDeferred
async def test_a_limit_of_life_is_found():
    busy = Lateness()
    probe = only(await checked(None, "lifetime", lifetime=3.0, servers=LIMITED))
    assert (probe.result, probe.facts["how"]) == ("fail", "FIN"), probe
    assert 0.75 <= probe.facts["lifetime_seconds"] <= 0.8 + LATE + busy.seconds
    assert "busy or not" in probe.finding


@pytest_twisted.ensureDeferred
async def test_no_limit_of_life_is_found_where_there_is_none():
    probe = only(await checked(None, "lifetime", lifetime=1.0))
    assert (probe.result, probe.finding) == ("pass", "busy connections live 1 s")


@pytest_twisted.ensureDeferred
async def test_a_limit_of_life_is_no_idle_time_out():
    """What is shorter is asked again."""
    busy = Lateness()
    result = await checked(None, "idle", idle=(0.3, 2.0), servers=LIMITED)
    cause, probe = result.probes
    assert (cause.name, cause.result) == ("lifetime", "fail")
    limit = r"connections live [\d.]+ m?s( to [\d.]+ m?s)? at most, busy or not"
    assert re.match(limit, cause.finding)  # a busy machine makes some live longer
    assert 0.75 <= cause.facts["lifetime_seconds"] <= 0.8 + LATE + busy.seconds
    assert (probe.result, probe.facts["survived"]) == ("pass", [0.3])
    assert "not 2 s: see lifetime" in probe.finding


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_probe_that_needs_longer_than_connections_live_is_not_failed_for_its_subject():
    faults = FaultSpec(delay=0.05)  # 200 round trips take longer than a connection lives
    result = await checked(faults, "rtt", servers=LIMITED, timeout=10.0)
    assert [(probe.name, probe.result) for probe in result.probes] == [
        ("lifetime", "fail"),
        ("rtt", "skip"),
    ]


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_an_end_that_is_read_late_is_still_that_of_a_limit_of_life():
    def met(transport: Any) -> None:
        reactor.callLater(0.8, transport.abortConnection)

    settings = {"only": ("late-answers",), "skip": (), "timeout": 5.0}
    result = await against(met, lambda transport, data: transport.write(data), **settings)
    assert [(probe.name, probe.result) for probe in result.probes] == [
        ("lifetime", "fail"),
        ("late-answers", "skip"),
    ]


@pytest_twisted.ensureDeferred
async def test_a_restart_is_neither_an_idle_time_out_nor_a_limit_of_life():
    """Everything ends at one moment, and what is opened then lives."""
    opened: list[Any] = []

    def met(transport: Any) -> None:
        opened.append(transport)
        if len(opened) == 3:  # the busy one, after those of the probes that all others require
            reactor.callLater(0.4, lambda: [each.abortConnection() for each in opened])

    settings = {"only": ("idle",), "skip": (), "idle": (1.0,)}
    result = await against(met, lambda transport, data: transport.write(data), **settings)
    cause, probe = result.probes
    assert (cause.name, cause.result) == ("restart", "fail"), cause
    assert "ended at the same moment, by RST" in cause.finding
    assert (probe.name, probe.result) == ("idle", "pass")


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_probe_that_rests_longer_than_connections_may_is_not_failed_for_its_subject():
    """The sender is blocked for a second, in which the idle time-out ends its connection."""
    busy = Lateness()
    result = await checked(FaultSpec(idle_timeout=0.6), "back-pressure")
    cause, probe = result.probes
    assert (cause.name, cause.result, cause.facts["how"]) == ("idle", "fail", "FIN"), result
    assert 0.55 <= cause.facts["idle_seconds"] <= 0.6 + LATE + busy.seconds
    assert (probe.name, probe.result) == ("back-pressure", "skip")


NAMED = [{"prefix": "one: "}]


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_idle_connections_rest_while_other_probes_run():
    began = monotonic()
    names = ("identity", "back-pressure", "idle")
    result = await checked(None, *names, idle=(0.3, 1.0), servers=NAMED)
    assert [probe.result for probe in result.probes] == ["info", "pass", "pass"], result
    saved = sum(probe.seconds for probe in result.probes) - (monotonic() - began)
    assert saved > 0.5


@pytest_twisted.ensureDeferred
async def test_an_idle_time_out_that_is_met_while_other_probes_run_is_found_alone():
    faults = FaultSpec(idle_timeout=0.7)
    names = ("identity", "order", "idle")
    result = await checked(faults, *names, idle=(0.2, 1.2), servers=NAMED)
    (probe,) = failures(result)
    assert (probe.name, probe.facts["survived"]) == ("idle", [0.2])


def is_established(server: Protocol) -> bool:
    """Return whether the kernel knows of no end of a connection, in either direction."""
    handle = server.transport.getHandle()
    return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\1"  # TCP_ESTABLISHED


@pytest_twisted.ensureDeferred
async def test_all_probes_together_open_no_more_connections_than_were_asked_for():
    made, most = set(), [0]

    class Counted(Protocol):
        def connectionMade(self) -> None:
            made.add(self)  # one that was reset may still be in it: that is read later
            most[0] = max(most[0], sum(map(is_established, made)))

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

        def connectionLost(self, reason: object = None) -> None:
            made.discard(self)

    port = reactor.listenTCP(0, Factory.forProtocol(Counted), interface="127.0.0.1")
    names = ("identity", "sizes", "connections", "idle")
    settings = {"only": names, "idle": (0.3, 1.0), "connections": 6, "max_size": 70_000}
    try:
        endpoint = f"tcp:127.0.0.1:{port.getHost().port}"
        result = await within(Deferred.fromCoroutine(check(endpoint, **settings)))
    finally:
        await within(port.stopListening())
    assert not failures(result), result
    assert most == [6]
