"""``half-close``, ``late-answers`` and ``server-fin``: what becomes of the FIN of either side."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from echosvc import check
from echosvc.faults.spec import FaultSpec
from echosvc.probe.result import CheckResult, ProbeResult
from tests.support.checking import checked, only
from tests.support.lateness import Lateness
from tests.support.reactor import within


@implementer(IHalfCloseableProtocol)
class Echo(Protocol):
    """Echoes, and ends as its factory says after the client's FIN.

    :cvar wait: seconds between the client's FIN and ours.
    :cvar lines: answer whole lines, and the last one without LF after the FIN.
    """

    wait, lines = 0.0, False

    def connectionMade(self) -> None:
        self.rest = b""
        self.number = next_number(self.factory)
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        if not self.lines:
            self.transport.write(data)
            return
        *whole, self.rest = (self.rest + data).split(b"\n")
        self.transport.write(b"".join(line + b"\n" for line in whole))

    def readConnectionLost(self) -> None:
        self.transport.unregisterProducer()
        if self.lines:
            self.transport.write(self.rest)
        self.fin_came()

    def fin_came(self) -> None:
        if self.wait:
            reactor.callLater(self.wait, self.transport.loseConnection)
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass


def next_number(factory: Any) -> int:
    """The number of a connection, from 1 on."""
    factory.number = getattr(factory, "number", 0) + 1
    return int(factory.number)


async def results_of(protocol: type[Protocol], *names: str, **settings: Any) -> CheckResult:
    """What a check of this server says."""
    port = reactor.listenTCP(0, Factory.forProtocol(protocol), interface="127.0.0.1")
    settings = {"timeout": 2.0, "max_size": 5000, "only": names, **settings}
    try:
        run = check(f"tcp:127.0.0.1:{port.getHost().port}", **settings)
        return await within(Deferred.fromCoroutine(run), 60)
    finally:
        await within(port.stopListening())


async def result_of(protocol: type[Protocol], name: str, **settings: Any) -> ProbeResult:
    return only(await results_of(protocol, name, **settings))


# -- half-close ---------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_an_end_by_a_timer_is_no_answer_to_the_fin():
    class Late(Echo):
        wait = 0.3

    probe = await result_of(Late, "half-close")
    assert probe.result == "fail"
    assert "but FIN only " in probe.finding
    assert probe.finding.endswith("our FIN starts a timer, which ends the connection")
    assert "the server keeps its side open for that time" in probe.cause
    assert "or a middlebox gives it to half-closed connections" in probe.cause
    assert probe.facts["fin_seconds"] == pytest.approx(0.3, rel=0.3)


@pytest_twisted.ensureDeferred
async def test_an_end_by_an_idle_time_out_is_told_from_one_after_the_fin():
    class Idle(Echo):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.limit = reactor.callLater(0.5, self.transport.loseConnection)

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.limit.reset(0.3)

        def fin_came(self) -> None:
            self.limit.reset(0.3)

        def connectionLost(self, reason: object = None) -> None:
            if self.limit.active():
                self.limit.cancel()

    probe = await result_of(Idle, "half-close")
    assert probe.result == "fail"
    assert probe.finding.endswith("a timer ends the connection, with our FIN or without")
    assert probe.cause.startswith("an idle time-out of a middlebox, or of the server")


@pytest_twisted.ensureDeferred
async def test_a_server_that_ends_slowly_now_and_then_is_not_accused():
    class Slow(Echo):
        def fin_came(self) -> None:
            wait = (0.4, 0.05, 0.4, 0.0)[self.number % 4]  # a busy machine is late by a little
            reactor.callLater(wait, self.transport.loseConnection)

    busy = Lateness()
    probe = await result_of(Slow, "half-close")
    assert probe.result == "info", probe
    assert f"but {probe.facts['late']} of {probe.facts['times']} times only " in probe.finding
    assert 0.35 < probe.facts["fin_seconds"] < 0.5 + busy.seconds


@pytest_twisted.ensureDeferred
async def test_a_last_line_without_lf_proves_that_the_fin_has_come():
    class Lines(Echo):
        wait, lines = 0.3, True

    probe = await result_of(Lines, "half-close", framing="line")
    assert (probe.result, probe.facts["late"]) == ("pass", probe.facts["times"])


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_last_line_that_is_not_answered_shows_that_the_fin_has_not_come():
    class Swallowing(Echo):
        wait, lines = 0.3, True

        def readConnectionLost(self) -> None:
            self.transport.unregisterProducer()
            self.fin_came()

    probe = await result_of(Swallowing, "half-close", framing="line")
    assert probe.result == "fail"
    assert probe.finding.startswith("a last line without LF was not answered after FIN, and FIN ")


@pytest_twisted.ensureDeferred
async def test_a_server_that_drops_an_unfinished_line_is_not_accused():
    class Dropping(Echo):
        lines = True

        def readConnectionLost(self) -> None:
            self.transport.unregisterProducer()
            self.fin_came()

    assert (await result_of(Dropping, "half-close", framing="line")).result == "pass"


@pytest_twisted.ensureDeferred
async def test_a_race_at_the_fin_is_found_and_counted():
    """Of each seven connections one loses what is due when the FIN comes."""

    class Racing(Echo):
        held = b""

        def dataReceived(self, data: bytes) -> None:
            if self.number % 7 or data == b"~":
                super().dataReceived(data)
                return
            self.held += data
            if self.held == data:
                reactor.callLater(0.05, self.answer)

        def answer(self) -> None:
            self.transport.write(self.held)
            self.held = b""

        def fin_came(self) -> None:
            self.held = b""
            self.transport.loseConnection()

    probe = await result_of(Racing, "half-close")
    assert probe.result == "fail", probe
    assert 0 < probe.facts["failed"] < probe.facts["times"]
    assert f"({probe.facts['failed']} of {probe.facts['times']} times)" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_loss_now_and_then_without_fin_is_not_the_fins_fault():
    class Losing(Echo):
        def dataReceived(self, data: bytes) -> None:
            if self.number % 5 or data == b"~":
                super().dataReceived(data)
            else:
                self.transport.loseConnection()

    cause, probe = (await results_of(Losing, "half-close")).probes
    assert (cause.result, probe.result) == ("fail", "skip")
    assert "with FIN and without" in cause.finding


# -- late-answers -------------------------------------------------------------


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_late_answers_of_a_clean_path_come_and_the_delay_is_said():
    probe = only(await checked(FaultSpec(), "late-answers"))
    assert probe.result == "pass", probe
    assert probe.facts["asked_seconds"] >= 2
    assert f"nothing read for {probe.facts['asked_seconds']:g} s after FIN" in probe.finding


class Impatient(Echo):
    """Ends a while after the client's FIN, whatever is due."""

    def fin_came(self) -> None:
        reactor.callLater(0.75, self.transport.abortConnection)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_answers_that_are_lost_after_a_time_are_found_with_that_time():
    probe = await result_of(Impatient, "late-answers")
    assert probe.result == "fail", probe
    assert probe.facts["alive"] < 0.75 < probe.facts["dead"]  # a busy machine: not as close


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_late_answers_that_are_lost_without_fin_are_not_its_fault():
    class Limited(Echo):
        wait, limit = 2.0, None  # it does not end before: what its kernel has would still come

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            if self.limit is None:
                self.limit = reactor.callLater(1.0, self.transport.abortConnection)

        def connectionLost(self, reason: object = None) -> None:
            if self.limit is not None and self.limit.active():
                self.limit.cancel()

    results = (await results_of(Limited, "late-answers")).probes
    assert [probe.result for probe in results] == ["fail", "skip"], results
    assert results[0].name in ("sizes", "lifetime")


@pytest_twisted.ensureDeferred
async def test_late_answers_are_not_asked_for_where_the_fin_ends_everything():
    results = (await checked(FaultSpec(on_fin="close"), "half-close", "late-answers")).probes
    assert [probe.result for probe in results] == ["fail", "skip"]
    assert results[1].finding.startswith("see half-close")
    assert results[1].facts["see"] == "half-close"


# -- server-fin ---------------------------------------------------------------

CLOSING = [{"idle_timeout": 0.3, "idle_action": "close"}]


@pytest_twisted.ensureDeferred
async def test_a_client_may_go_on_after_the_servers_fin():
    busy = Lateness()
    probe = only(await checked(FaultSpec(), "server-fin", servers=CLOSING))
    assert probe.result == "pass", probe
    assert "the client sent on for 2" in probe.finding
    assert probe.finding.endswith("then came RST, when --linger of the server was over")
    assert 1.5 <= probe.facts["seconds"] < 3 + busy.seconds


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_client_that_is_never_reset_may_have_been_heard_by_nobody():
    class Deaf(Echo):
        def connectionMade(self) -> None:
            super().connectionMade()
            reactor.callLater(1.0, self.end)

        def end(self) -> None:
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()
            self.dataReceived = lambda data: None

    probe = await result_of(Deaf, "server-fin")
    assert probe.result == "info", probe
    assert "no RST came" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_path_that_closes_both_directions_at_the_servers_fin():
    probe = only(await checked(FaultSpec(on_fin="close"), "server-fin", servers=CLOSING))
    assert (probe.result, probe.facts["failed"]) == ("fail", 3)
    assert "then came RST" in probe.finding
    assert "closes both directions at the server's FIN" in probe.cause


@pytest_twisted.ensureDeferred
async def test_without_a_servers_fin_it_says_what_is_needed():
    probe = only(await checked(FaultSpec(), "server-fin", timeout=0.5))
    assert probe.result == "skip"
    assert "needs --idle-action close at the server" in probe.finding


@pytest_twisted.ensureDeferred
async def test_the_end_of_an_idle_connection_is_waited_for_once():
    result = await checked(FaultSpec(), "reset", "server-fin", timeout=1.0)
    waited, found = result.probes
    assert (waited.name, found.name) == ("reset", "server-fin")
    assert found.seconds < waited.seconds / 2
