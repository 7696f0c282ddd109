"""``check`` opens connections one after the other, and names what happens at their beginning."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from echosvc import EchoFactory, check
from echosvc.probe.result import CheckResult, ProbeResult
from tests.support.checking import only
from tests.support.hostile_servers import BRIEF, PREFIX, Server, listening
from tests.support.lateness import Lateness
from tests.support.reactor import serving, within
from tests.support.waiting import LIMIT

QUICK: dict[str, Any] = {**BRIEF, "timeout": 1.0, "skip": ()}


async def results(protocol: type[Protocol], **settings: Any) -> CheckResult:
    async with listening(protocol) as port:
        run = check(f"tcp:127.0.0.1:{port}", **{**QUICK, **settings})
        return await within(Deferred.fromCoroutine(run), LIMIT)
    raise AssertionError


async def echo_failure(protocol: type[Protocol], **settings: Any) -> ProbeResult:
    """The failure of the first message, which is found soon."""
    began = monotonic()
    probe = only(await results(protocol, only=("echo",), **{"timeout": 10.0, **settings}))
    assert (probe.name, probe.result) == ("echo", "fail")
    assert monotonic() - began < 6
    return probe


class HoldingBack(Server):
    """Echoes, but passes nothing on before five bytes have come."""

    held: bytes | None = b""

    def answer(self, data: bytes) -> None:
        if self.held is not None:
            self.held += data
            if len(self.held) < 5:
                return
            data, self.held = self.held, None
        super().answer(data)


@pytest.mark.parametrize("name", ["order", "echo"])
@pytest_twisted.ensureDeferred
async def test_first_bytes_that_are_held_back_are_said_and_avoided(name):
    result = await results(HoldingBack, only=(name,))
    first, probe = result.probes
    assert (first.name, first.result) == ("first-bytes", "info")
    assert "a message of 64 bytes was answered" in first.finding
    assert first.cause.startswith("something looks at the first bytes")
    assert (probe.name, probe.result) == (name, "pass")
    assert result.ok


class Inspecting(Server):
    """Echoes, but holds first bytes back that may be the beginning of a word."""

    held: bytes | None = b""

    def answer(self, data: bytes) -> None:
        if self.held is not None:
            self.held += data
            if not self.held.strip(b"~\r\n"):
                return
            data, self.held = self.held, None
        super().answer(data)


@pytest_twisted.ensureDeferred
async def test_first_bytes_that_are_held_back_for_what_they_are_are_no_outage():
    probe = await echo_failure(Inspecting)
    assert "was answered at once by" in probe.finding
    assert probe.cause.startswith("something looks at the first bytes of a connection")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.3, 1.7, 2.5])
@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_late_is_waited_for_and_has_no_other_cause(seconds):
    class Late(Server):
        """Passes nothing on until a time has passed since the connection was made."""

        def connectionMade(self) -> None:
            super().connectionMade()
            self.held = b""
            self.opening = reactor.callLater(seconds, self.open)

        def open(self) -> None:
            self.opening, held, self.held = None, self.held, b""
            if held:
                super().answer(held)

        def answer(self, data: bytes) -> None:
            if self.opening is None:
                super().answer(data)
            else:
                self.held += data

        def connectionLost(self, reason: object = None) -> None:
            super().connectionLost(reason)
            if self.opening is not None:
                self.opening.cancel()

    probe = only(await results(Late, only=("echo",), timeout=5.0))
    assert probe.result == "pass", probe


class Chargen(Server):
    banner = bytes(range(33, 105)) + b"\r\n" + bytes(range(34, 106)) + b"\r\n"


class Daytime(Server):
    banner = b"Mon Nov 30 13:55:09 2026\r\n"

    def look(self) -> None:
        self.transport.loseConnection()


@pytest.mark.parametrize(
    ("protocol", "cause"),
    [(Chargen, "a chargen service answers"), (Daytime, "a daytime service answers")],
)
@pytest_twisted.ensureDeferred
async def test_what_speaks_before_it_is_asked_is_named(protocol, cause):
    probe = await echo_failure(protocol)
    assert probe.cause.startswith(cause)
    assert "came before anything was sent" in probe.finding


@pytest.mark.parametrize("framing", ["chunk", "line", "length"])
@pytest_twisted.ensureDeferred
async def test_a_server_that_expects_a_proxy_header_is_named(framing):
    settings = {"proxy_protocol": "require", "proxy_from": ("127.0.0.1",), "framing": framing}
    async with serving(EchoFactory(log="quiet", **settings)) as (host, port):
        run = check(f"tcp:{host}:{port}", only=("echo",), framing=framing)
        probe = only(await within(Deferred.fromCoroutine(run)))
    assert probe.cause == "a server, or a middlebox, expects a PROXY header (--send-proxy v1)"
    assert probe.facts["proxy"] == "v1"


@pytest_twisted.ensureDeferred
async def test_a_terminal_is_named_for_what_it_edits():
    class Terminal(Server):
        """A pseudo-terminal that passes whole lines on, and edits them."""

        line = b""

        def answer(self, data: bytes) -> None:
            for byte in data:
                if byte == 127:
                    self.line = self.line[:-1]
                    continue
                self.line += bytes((byte,))
                if byte == 10:
                    self.transport.write(self.line.replace(b"\n", b"\r\n"))
                    self.line = b""

    assert (await echo_failure(Terminal)).cause.startswith("a terminal (tty) is in the path")


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_the_answer_to_a_protocol_is_no_echo_of_the_question():
    """Lines come back whatever they say: a request, a PROXY header, a ClientHello."""

    class Lines(Server):
        kept = b""

        def answer(self, data: bytes) -> None:
            *lines, self.kept = (self.kept + data).split(b"\n")
            for line in lines:
                self.transport.write(line + b"\n")

    assert (await echo_failure(Lines)).facts["framing"] == "line"


class Counting(Server):
    """Counts its connections, and how many there are at once, on the class."""

    made: list[float]
    most = 0
    seconds_to_close = 0.0

    def connectionMade(self) -> None:
        super().connectionMade()
        self.made.append(monotonic())
        type(self).most = max(self.most, len(self.factory.live))

    def readConnectionLost(self) -> None:
        reactor.callLater(self.seconds_to_close, self.transport.loseConnection)


def counting(**more: Any) -> type[Counting]:
    return type("Counted", (Counting,), {"made": [], **more})


@pytest_twisted.ensureDeferred
async def test_connect_opens_no_second_connection_to_the_address_in_use():
    server = counting()
    async with listening(server) as port:
        for host in ("127.0.0.1", "localhost"):
            run = check(f"tcp:{host}:{port}", only=("connect",))
            assert only(await within(Deferred.fromCoroutine(run))).result == "pass"
    assert len(server.made) == 4  # one by connect, one by echo, which every check makes


@pytest_twisted.ensureDeferred
async def test_the_connections_of_a_probe_are_gone_before_the_next_one_begins():
    server = counting(seconds_to_close=0.15)
    await results(server, only=("connect", "echo", "bytes", "order", "text"))
    assert len(server.made) >= 5
    assert server.most == 1


@pytest_twisted.ensureDeferred
async def test_no_more_connections_are_opened_a_second_than_was_asked_for():
    server = counting()
    await results(server, only=("identity",), connections=5, pace=10.0)
    gaps = len(server.made) - 1
    assert gaps >= 5
    # A busy server sees one connection late, and the next one in time: all together count.
    assert server.made[-1] - server.made[0] > 0.08 * gaps


@pytest_twisted.ensureDeferred
async def test_streams_share_connections_where_their_pace_is_limited():
    server = counting()
    settings = {"only": ("sizes",), "max_size": 70_000, "timeout": 5.0}
    assert only(await results(server, pace=20.0, **settings)).result == "pass"
    assert len(server.made) < 15
    free = counting()
    assert only(await results(free, **settings)).result == "pass"
    assert len(free.made) > 40


@asynccontextmanager
async def refusing(refuses: Callable[[list[float]], bool]) -> Any:
    """A server that resets connections, as its times of those before decide; gives its port."""
    times: list[float] = []

    class Refusing(Server):
        def connectionMade(self) -> None:
            if refuses(times):
                self.factory.live.append(self)
                self.read = self.answered = 0
                self.transport.abortConnection()
                return
            times.append(monotonic())
            super().connectionMade()

    async with listening(Refusing) as port:
        yield port


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_limit_of_connections_a_second_is_found_and_kept():
    async with refusing(lambda times: sum(monotonic() - each < 1 for each in times) >= 8) as port:
        settings = {"timeout": 5.0, "connections": 10, "skip": (), "max_size": 4096}
        run = check(f"tcp:127.0.0.1:{port}", only=("identity", "order", "sizes"), **settings)
        result = await within(Deferred.fromCoroutine(run), 3 * LIMIT)
    found = {probe.name: probe.result for probe in result.probes}
    assert found == {"limit": "fail", "identity": "info", "sizes": "pass", "order": "pass"}
    limit = result.probes[0]
    assert "a limit of connections a second" in limit.cause


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_server_that_ends_is_said_once():
    """It takes three connections, and nothing after that."""
    async with refusing(lambda times: len(times) >= 3) as port:
        run = check(f"tcp:127.0.0.1:{port}", only=("order", "text", "rtt"), timeout=1.0)
        result = await within(Deferred.fromCoroutine(run), LIMIT)
    failed = [probe for probe in result.probes if probe.result == "fail"]
    (outage,) = failed
    assert outage.name == "outage"
    assert outage.finding.startswith("nothing has answered any more for ")
    assert "no server listens" not in str(result)
    assert result.probes[-1].finding == "see outage"


@pytest.mark.parametrize("alone", [0.0, 0.8])
@pytest_twisted.ensureDeferred
async def test_a_greeting_that_waits_for_the_client_is_found(alone):
    class Greeting(Server):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.greeting = reactor.callLater(alone, self.greet)

        def greet(self) -> None:
            self.greeting = None
            self.transport.write(b"hello\n")

        def answer(self, data: bytes) -> None:
            if self.greeting is not None:
                self.greeting.cancel()
                self.greet()
            super().answer(data)

        def connectionLost(self, reason: object = None) -> None:
            super().connectionLost(reason)
            if self.greeting is not None:
                self.greeting.cancel()

    busy = Lateness()
    probe = only(await results(Greeting, only=("greeting",), timeout=5.0))
    # The server may have begun to wait before check had noted the connection.
    assert alone - busy.seconds - 0.01 <= probe.facts["unasked_seconds"] < alone + 3.0
    if alone:
        assert probe.result == "fail"
        assert "a middlebox waits for the first bytes of the client" in probe.cause
    else:
        assert probe.result == "pass"
        assert "though nothing was sent" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_server_without_a_greeting_is_not_waited_for():
    probe = only(await results(Server, only=("greeting",)))
    assert (probe.result, probe.finding) == ("skip", "the server sends nothing before it is asked")


@pytest.mark.parametrize("late", [0.0, 0.3])
@pytest_twisted.ensureDeferred
async def test_a_first_answer_is_compared_with_later_ones(late):
    class Slow(Server):
        def answer(self, data: bytes) -> None:
            if self.read > 1 or not late:
                self.transport.write(PREFIX + data)
            else:
                reactor.callLater(late, self.transport.write, PREFIX + data)

    busy = Lateness()
    probe = only(await results(Slow, only=("first-answer",), timeout=10.0))
    assert probe.result == "info"
    assert probe.facts["connections"] == 3
    assert late <= probe.facts["median_seconds"] <= probe.facts["slowest_seconds"]
    assert probe.facts["slowest_seconds"] < late + 1 + busy.seconds
    assert ("something waits before the first one" in probe.finding) == (late > 0)
    assert "a SYN was lost" not in probe.finding
