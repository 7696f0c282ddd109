"""``check`` against servers that do wrong: a failure in words, never an error of its own."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from echosvc import EchoFactory, check
from echosvc.probe.check import NAMES
from echosvc.probe.result import CheckResult, ProbeResult
from echosvc.probe.settings import FRAMINGS
from tests.support.process import LIMIT, environment, in_thread, no_faults, serving, within
from tests.unit.tls.test_context import issue

TIMEOUT = 0.5
#: So little that a run is short, and so much that every probe is made.
BRIEF: dict[str, Any] = {
    "timeout": TIMEOUT, "max_size": 65536, "idle": (0.1,), "find_idle": 0.2, "connections": 3,
    "skip": ("back-pressure",),
}  # fmt: skip
PREFIX = b"P: "


@implementer(IHalfCloseableProtocol)
class Server(Protocol):
    """An echo server, until it is none.

    :cvar messages: how many reads are answered; :cvar size: how many bytes.
    """

    messages = size = sys.maxsize
    banner = b""

    def connectionMade(self) -> None:
        self.factory.live.append(self)
        self.read = self.answered = 0
        self.transport.write(self.banner)
        self.look()

    def dataReceived(self, data: bytes) -> None:
        self.read += 1
        self.answered += len(data)
        self.answer(data)
        self.look()

    def answer(self, data: bytes) -> None:
        self.transport.write(PREFIX + data)

    def look(self) -> None:
        if self.read >= self.messages or self.answered >= self.size:
            self.enough()

    def enough(self) -> None:
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: object = None) -> None:
        if self in self.factory.live:
            self.factory.live.remove(self)


def server(name: str, base: type[Server] = Server, **more: Any) -> type[Server]:
    return type(name, (base,), more)


class Closing(Server):
    def enough(self) -> None:
        self.transport.loseConnection()


class Deaf(Server):
    """Takes everything and answers nothing."""

    def answer(self, data: bytes) -> None:
        pass


class Garbage(Server):
    def answer(self, data: bytes) -> None:
        self.transport.write(bytes((7 * byte + 13) % 256 for byte in data) * 2)


class Surplus(Server):
    def answer(self, data: bytes) -> None:
        self.transport.write(PREFIX + data + b"more" * 5000)


class Http(Server):
    def answer(self, data: bytes) -> None:
        if b"\n" in data:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            self.transport.loseConnection()


class AtFin(Server):
    """Answers once all has come."""

    def answer(self, data: bytes) -> None:
        self.kept = getattr(self, "kept", b"") + data

    def readConnectionLost(self) -> None:
        self.transport.write(PREFIX + getattr(self, "kept", b""))
        self.transport.loseConnection()


class Mixing(Server):
    """Answers to whoever else is there."""

    def answer(self, data: bytes) -> None:
        others = [each for each in self.factory.live if each is not self]
        (others or [self])[0].transport.write(PREFIX + data)


class Trickle(Server):
    """A byte now and then, for ever."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.loop = LoopingCall(self.transport.write, b"x")
        self.loop.clock = reactor
        self.loop.start(TIMEOUT / 3)

    def answer(self, data: bytes) -> None:
        pass

    def connectionLost(self, reason: object = None) -> None:
        super().connectionLost(reason)
        self.loop.stop()


SERVERS: dict[str, type[Server]] = {
    **{f"resets after {n} messages": server("S", messages=n) for n in range(6)},
    **{f"closes after {n} messages": server("S", Closing, messages=n) for n in range(6)},
    **{f"resets after {n} bytes": server("S", size=n) for n in (1, 2, 3, 4, 5, 70, 700, 50_000)},
    **{f"closes after {n} bytes": server("S", Closing, size=n) for n in (1, 2, 3, 4, 5, 70, 700)},
    "resets with a banner": server("S", messages=0, banner=b"hello\n"),
    "says nothing": Deaf,
    "speaks after a while, for ever": Trickle,
    "gives back garbage": Garbage,
    "gives back too much": Surplus,
    "is a server of HTTP": Http,
    "is a server of mail": server("S", Deaf, banner=b"220 mail.example ESMTP\r\n"),
    "is a server of SSH": server("S", Deaf, banner=b"SSH-2.0-OpenSSH_9.2\r\n"),
    "answers at FIN": AtFin,
    "mixes connections up": Mixing,
}  # fmt: skip


@asynccontextmanager
async def listening(protocol: type[Server]) -> Any:
    """The server; gives its port."""
    factory = Factory.forProtocol(protocol)
    factory.live = []
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        yield port.getHost().port
    finally:
        await within(port.stopListening())
        for each in tuple(factory.live):
            each.transport.abortConnection()


def assert_judged(result: CheckResult) -> None:
    """Every probe has one line, something failed, nothing took longer than it may."""
    names = [probe.name for probe in result.probes]
    assert names == [name for name in NAMES if name != "back-pressure"]
    assert not result.ok
    assert not result.interrupted
    for probe in result.probes:
        assert probe.finding
        assert (probe.finding + probe.cause).isprintable()
        assert "internal" not in probe.finding
        assert probe.seconds < 6 * TIMEOUT + 5, probe
    assert any(probe.result == "fail" for probe in result.probes)


@pytest.mark.parametrize("name", SERVERS)
@pytest_twisted.ensureDeferred
async def test_a_server_that_does_wrong_fails_in_words(name):
    with no_faults():
        async with listening(SERVERS[name]) as port:
            run = check(f"tcp:127.0.0.1:{port}", **BRIEF)
            result = await within(Deferred.fromCoroutine(run), 3 * LIMIT)
    assert_judged(result)


@pytest.mark.parametrize("size", [1, 100_000, 3_000_000])
@pytest_twisted.ensureDeferred
async def test_a_reset_while_nothing_is_read_is_said(size):
    with no_faults():
        async with listening(server("S", size=size + 2)) as port:
            settings = {**BRIEF, "skip": (), "only": ("back-pressure", "rtt")}
            run = check(f"tcp:127.0.0.1:{port}", **settings)
            result = await within(Deferred.fromCoroutine(run), 3 * LIMIT)
    assert [probe.name for probe in result.probes][-2:] == ["back-pressure", "rtt"]
    assert "fail" in {probe.result for probe in result.probes}


@pytest_twisted.ensureDeferred
async def test_the_other_probes_go_on_after_a_failure():
    """The eleventh read of each connection is the last: few probes need so many."""
    async with listening(server("S", messages=11)) as port:
        run = check(f"tcp:127.0.0.1:{port}", **{**BRIEF, "max_size": 64})
        result = await within(Deferred.fromCoroutine(run), 3 * LIMIT)
    by_name = {probe.name: probe for probe in result.probes}
    assert by_name["text"].result == "fail"
    assert "then came RST" in by_name["text"].finding
    assert by_name["half-close"].result == by_name["connections"].result == "pass"


@pytest_twisted.ensureDeferred
async def test_the_command_says_so_in_lines_and_status_1():
    async with listening(SERVERS["resets after 4 messages"]) as port:
        words = [f"tcp:127.0.0.1:{port}", "--timeout", "0.5", "--max-size", "1k"]
        done = await in_thread(run_command, *words, "--skip", "back-pressure,idle")
    assert (done.returncode, done.stderr) == (1, "")
    assert "FAIL  text " in done.stdout
    assert "internal error" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("tcp:127.0.0.1:")


def run_command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "echosvc", "check", *words],
        capture_output=True, text=True, timeout=LIMIT, env=environment(),
    )  # fmt: skip


# -- who else answers -----------------------------------------------------------------------


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


# -- framings -------------------------------------------------------------------------------

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


@pytest_twisted.ensureDeferred
async def test_a_line_server_with_a_banner_is_named_too():
    class Lines(Server):
        banner = b"Welcome!\n"

        def answer(self, data: bytes) -> None:
            if data.endswith(b"\n"):
                self.transport.write(PREFIX + data)

    probe = await echo_of(Lines)
    assert (probe.facts["framing"], "--framing line" in probe.cause) == ("line", True)


# -- servers that answer once ---------------------------------------------------------------


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


@pytest.mark.parametrize("prefix", [b"P: ", b""])
@pytest_twisted.ensureDeferred
async def test_a_dead_server_of_several_is_no_framing(prefix):
    class Plain(Server):
        def answer(self, data: bytes) -> None:
            self.transport.write(prefix + data)

    probe = await echo_of(every_other(Plain))
    assert "framing" not in probe.facts
    assert "one of several servers is dead" in probe.cause


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


@pytest.mark.parametrize(
    ("page", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a middlebox speaks HTTP"),
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


# -- what is to blame -----------------------------------------------------------------------


async def failure_of(protocol: type[Server], name: str) -> ProbeResult:
    """What one probe says, where echo passes."""
    settings = {**BRIEF, "timeout": 1.0, "max_size": 1 << 20, "skip": (), "only": (name,)}
    async with listening(protocol) as port:
        run = check(f"tcp:127.0.0.1:{port}", **settings)
        result = await within(Deferred.fromCoroutine(run), LIMIT)
    (probe,) = result.probes
    assert (probe.name, probe.result) == (name, "fail"), probe
    return probe


@pytest.mark.parametrize("value", [b"\0", b"B"])
@pytest.mark.parametrize(
    "name", ["sizes", "order", "half-close", "back-pressure", "connections", "rtt"]
)
@pytest_twisted.ensureDeferred
async def test_a_value_that_is_eaten_is_to_blame_in_every_probe(name, value):
    class Eating(Server):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.registerProducer(self.transport, True)

        def readConnectionLost(self) -> None:
            self.transport.unregisterProducer()
            super().readConnectionLost()

        def answer(self, data: bytes) -> None:
            self.transport.write(PREFIX + data.replace(value, b""))

    probe = await failure_of(Eating, name)
    assert f"0x{value.hex()} comes as nothing, wherever it stands" in probe.cause
    assert probe.facts["changed"] == {value.hex(): ""}


@pytest.mark.parametrize("how", ["abortConnection", "loseConnection", "pauseProducing"])
@pytest_twisted.ensureDeferred
async def test_the_fin_is_not_accused_of_what_happens_without_it(how):
    class Ending(Server):
        size = 100_000

        def answer(self, data: bytes) -> None:
            if self.answered < self.size:
                super().answer(data)

        def enough(self) -> None:
            getattr(self.transport, how)()

    probe = await failure_of(Ending, "half-close")
    assert "; without FIN as well: " in probe.finding
    assert "FIN" not in probe.cause
