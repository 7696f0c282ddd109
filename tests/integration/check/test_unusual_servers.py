"""``check`` against servers that are no fault, but unusual."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from echosvc import EchoFactory, check
from echosvc.probe.result import ProbeResult
from echosvc.probe.settings import FRAMINGS
from tests.support.certificates import issue
from tests.support.hostile_servers import BRIEF, PREFIX, SERVERS, Deaf, Server, listening, server
from tests.support.reactor import serving, within
from tests.support.waiting import LIMIT


async def echo_of(protocol: type[Server], **settings: Any) -> ProbeResult:
    """The failure of the first message."""
    async with listening(protocol) as port:
        run = check(f"tcp:127.0.0.1:{port}", **{**BRIEF, "only": ("echo",), "skip": (), **settings})
        result = await within(Deferred.fromCoroutine(run), LIMIT)
    (probe,) = result.probes
    assert (probe.name, probe.result) == ("echo", "fail")
    return probe


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("is a server of SSH", "an SSH server answers"),
        ("is a server of mail", "a server of mail or files (SMTP, FTP) answers"),
        ("answers at FIN", "the server answers only after FIN"),
        ("says nothing", "the server does not answer; or another framing (--framing); or TLS"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_who_answers_instead_is_named(name, cause):
    assert (await echo_of(SERVERS[name])).cause.startswith(cause)


@pytest_twisted.ensureDeferred
async def test_plain_bytes_to_a_tls_server_and_tls_to_a_plain_one(tmp_path):
    pem = tmp_path / "server.pem"
    pem.write_bytes(issue("localhost").pem)
    where = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
    async with serving(EchoFactory(log="quiet"), where) as (_, port):
        run = check(f"tcp:127.0.0.1:{port}", **{**BRIEF, "skip": ()})
        result = await within(Deferred.fromCoroutine(run), LIMIT)
    assert result.probes[1].result == "fail"
    assert "TLS is expected" in result.probes[1].cause
    for name in ("says nothing", "gives back garbage", "is a server of mail"):
        async with listening(SERVERS[name]) as port:
            run = check(f"tls:localhost:{port}", **{**BRIEF, "only": ("connect", "order")})
            result = await within(Deferred.fromCoroutine(run), LIMIT)
        assert [probe.result for probe in result.probes] == ["fail", "skip"]
        assert "TLS" in result.probes[0].finding + result.probes[0].cause


_KNOWN = {"chunk": "--framing chunk", "line": "--framing line", "length": "--framing length"}


@pytest.mark.parametrize("prefix", ["Sending: ", "", "{message}> "])
@pytest.mark.parametrize("asked", FRAMINGS)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest_twisted.ensureDeferred
async def test_a_framing_that_does_not_fit_is_named(framing, asked, prefix):
    async with serving(EchoFactory(log="quiet", framing=framing, prefix=prefix)) as (host, port):
        settings = {**BRIEF, "framing": asked, "prefix": prefix, "only": ("echo", "order")}
        run = check(f"tcp:{host}:{port}", **{**settings, "skip": ()})
        result = await within(Deferred.fromCoroutine(run), LIMIT)
    first = result.probes[0]
    if framing == asked or (framing == "chunk" and not prefix):
        assert result.ok, result  # whoever echoes all bytes as they are echoes lines, too
    else:
        assert first.result == "fail"
        assert _KNOWN[framing] in first.cause


@pytest.mark.parametrize("asked", FRAMINGS)
@pytest_twisted.ensureDeferred
async def test_a_framing_is_not_named_where_nothing_shows_it(asked):
    probe = await echo_of(Deaf, framing=asked)
    assert "framing" not in probe.facts
    assert "or another framing (--framing)" in probe.cause


@pytest.mark.parametrize("asked", ["chunk", "line"])
@pytest_twisted.ensureDeferred
async def test_a_framing_that_check_does_not_know_is_not_said_to_be_no_echo(asked):
    class EndedByNul(Server):
        """Echoes messages that end with NUL; the end of the stream ends one too."""

        buffer = b""

        def answer(self, data: bytes) -> None:
            *messages, self.buffer = (self.buffer + data).split(b"\0")
            for message in messages:
                self.transport.write(PREFIX + message + b"\0")

        def readConnectionLost(self) -> None:
            self.transport.write(PREFIX + self.buffer)
            self.transport.loseConnection()

    cause = (await echo_of(EndedByNul, framing=asked)).cause
    assert "no echo server" not in cause
    assert "or its messages end in a way that this check does not know" in cause


@pytest_twisted.ensureDeferred
async def test_a_line_server_with_a_banner_is_named_too():
    class Lines(Server):
        banner = b"Welcome!\n"

        def answer(self, data: bytes) -> None:
            if data.endswith(b"\n"):
                self.transport.write(PREFIX + data)

    probe = await echo_of(Lines)
    assert (probe.facts["framing"], "--framing line" in probe.cause) == ("line", True)


class Stuck(Server):
    """Answers the first message of a connection alone."""

    messages = 1

    def answer(self, data: bytes) -> None:
        if self.read == 1:
            super().answer(data)


@pytest.mark.parametrize("asked", ["chunk", "line"])
@pytest.mark.parametrize(
    ("protocol", "end"),
    [
        (server("S", Stuck, enough=lambda self: self.transport.loseConnection()), "came FIN"),
        (server("S", Stuck, enough=lambda self: self.transport.abortConnection()), "came RST"),
        (server("S", Stuck, enough=lambda self: None), "nothing more came within 0.5 s"),
    ],
    ids=["FIN", "RST", "silence"],
)
@pytest_twisted.ensureDeferred
async def test_a_server_that_answers_one_message_is_said_to_do_so(protocol, end, asked):
    class Once(protocol):
        def look(self) -> None:  # the answer is on its way before a reset can overtake it
            if self.read:
                reactor.callLater(0.1, super().look)

    probe = await echo_of(Once, framing=asked)
    first = "'P: ~\\n'" if asked == "line" else "'P: ~'"
    words = f"the first message was answered ({first}), the second not: then {end}"
    assert probe.finding == words
    assert "framing" not in probe.cause
    assert "framing" not in probe.facts
    assert "one message" in probe.cause


def every_other(base: type[Server]) -> type[Server]:
    """One that takes its first, third, fifth ... connection and never answers it."""
    made: list[object] = []

    class Other(base):
        def answer(self, data: bytes) -> None:
            if self not in made:
                made.append(self)
            if made.index(self) % 2:
                super().answer(data)

    return Other


@pytest.mark.slow
@pytest.mark.parametrize("prefix", [b"P: ", b""])
@pytest_twisted.ensureDeferred
async def test_a_dead_server_of_several_is_no_framing(prefix):
    class Plain(Server):
        def answer(self, data: bytes) -> None:
            self.transport.write(prefix + data)

    async with listening(every_other(Plain)) as port:
        run = check(f"tcp:127.0.0.1:{port}", **{**BRIEF, "only": ("echo",), "skip": ()})
        identity, probe = (await within(Deferred.fromCoroutine(run), LIMIT)).probes
    assert (identity.name, identity.result) == ("identity", "fail")
    assert identity.finding.startswith("5 of 10 connections got no answer: they were not answered")
    assert "one of several servers is dead" in identity.cause
    assert (probe.name, probe.result) == ("echo", "pass")


@pytest_twisted.ensureDeferred
async def test_a_server_that_answers_one_line_is_not_said_to_speak_lines():
    class OneLine(Server):
        def answer(self, data: bytes) -> None:
            self.kept = getattr(self, "kept", b"") + data
            if b"\n" in self.kept:
                self.transport.write(PREFIX + self.kept)
                self.transport.loseConnection()

    probe = await echo_of(OneLine)
    assert "framing" not in probe.facts
    assert "~\\n' was answered by 'P: ~~\\n'" in probe.finding
    assert probe.cause.startswith("the server answers one message of each connection")


@pytest_twisted.ensureDeferred
async def test_a_server_that_waits_for_a_request_is_asked_by_one():
    probe = await echo_of(SERVERS["is a server of HTTP"])
    assert "a request of HTTP was answered by 'HTTP/1.1 400 Bad Request" in probe.finding
    assert probe.cause == "a server, or a middlebox, speaks HTTP and waits for a request"


@pytest.mark.parametrize(
    ("page", "cause"),
    [
        (b'<!DOCTYPE HTML>\n<html lang="en">', "a middlebox speaks HTTP"),
        (b"<html>\r\n<head><title>400 Bad Request", "a middlebox speaks HTTP"),
        (b"-ERR unknown command\r\n", "no echo server"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_answers_a_line_alone_is_named(page, cause):
    class Page(Server):
        def answer(self, data: bytes) -> None:
            if b"\n" in data:
                self.transport.write(page)
                self.transport.loseConnection()

    probe = await echo_of(Page)
    assert "~\\n' was answered by '" in probe.finding
    assert probe.cause.startswith(cause)
    assert "does not answer" not in probe.cause


async def results_of(protocol: type[Server], name: str) -> list[ProbeResult]:
    """What a check for one probe says, where echo passes."""
    settings = {**BRIEF, "timeout": 1.0, "max_size": 1 << 20, "skip": (), "only": (name,)}
    async with listening(protocol) as port:
        run = check(f"tcp:127.0.0.1:{port}", **settings)
        return list((await within(Deferred.fromCoroutine(run), LIMIT)).probes)
    raise AssertionError


async def failure_of(protocol: type[Server], name: str) -> ProbeResult:
    """What one probe says, where it fails and nothing else does."""
    (probe,) = await results_of(protocol, name)
    assert (probe.name, probe.result) == (name, "fail"), probe
    return probe


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sizes", b"B"),
        *((name, b"\0") for name in ("order", "half-close", "rtt")),
        *(
            pytest.param(name, b"\0", marks=pytest.mark.slow)
            for name in ("sizes", "back-pressure", "connections")
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_value_that_is_eaten_is_reported_once_and_blamed_on_no_other_subject(name, value):
    class Eating(Server):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.registerProducer(self.transport, True)

        def readConnectionLost(self) -> None:
            self.transport.unregisterProducer()
            super().readConnectionLost()

        def answer(self, data: bytes) -> None:
            self.transport.write(PREFIX + data.replace(value, b""))

    cause, probe = await results_of(Eating, name)
    assert (cause.name, cause.result) == ("bytes", "fail")
    assert f"0x{value.hex()} comes as nothing" in cause.finding
    assert cause.facts["changed"] == {value.hex(): ""}
    assert (probe.name, probe.result) == (name, "info" if name == "rtt" else "pass"), probe


@pytest.mark.parametrize(
    "how",
    ["abortConnection", "loseConnection", pytest.param("pauseProducing", marks=pytest.mark.slow)],
)
@pytest_twisted.ensureDeferred
async def test_the_fin_is_not_accused_of_what_happens_without_it(how):
    class Ending(Server):
        size = 100_000

        def answer(self, data: bytes) -> None:
            if self.answered < self.size:
                super().answer(data)

        def enough(self) -> None:
            getattr(self.transport, how)()

    cause, probe = await results_of(Ending, "half-close")
    assert (cause.name, cause.result) == ("sizes", "fail")
    assert cause.finding.startswith("1 MiB, with FIN and without: ")
    assert "at the FIN" not in cause.cause
    assert (probe.name, probe.result) == ("half-close", "skip")
