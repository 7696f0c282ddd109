"""``check`` against servers that are no echo servers."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import LoopingCall

from echosvc.faults.spec import FaultSpec
from echosvc.probe.result import CheckResult, ProbeResult
from tests.support.checking import against, failure, failures
from tests.support.waiting import LIMIT


def first_failure(result: CheckResult) -> ProbeResult:
    return failures(result)[0]


@pytest_twisted.ensureDeferred
async def test_a_server_that_says_nothing():
    probe = first_failure(await against())
    assert probe.finding == "no answer to '~' within 1 s: nothing came back"


@pytest_twisted.ensureDeferred
async def test_a_server_that_hangs_up():
    probe = first_failure(await against(met=lambda transport: transport.loseConnection()))
    assert "the connection ended by" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_server_that_talks_without_end():
    class Endless:
        def __init__(self, transport: Any) -> None:
            self._transport = transport
            transport.registerProducer(self, True)
            self.resumeProducing()

        def resumeProducing(self) -> None:
            self.paused = False
            while not self.paused:
                self._transport.write(b"x" * 65536)

        def pauseProducing(self) -> None:
            self.paused = True

        def stopProducing(self) -> None:
            self.paused = True

    probe = first_failure(await against(met=Endless))
    assert "and no answer to '~' in them" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_server_whose_first_prefix_fits_in_a_great_many_ways():
    replies = iter((b"-" * 4000, b"a-b-c: "))

    def heard(transport: Any, data: bytes) -> None:
        transport.write(next(replies, b"a-b-c: ") + data)

    probe = first_failure(await against(heard=heard, prefix="{hostname}-{peer}-{local}: "))
    assert "which is not of the form that --prefix gives" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_server_that_speaks_http():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        transport.loseConnection()

    probe = first_failure(await against(heard=heard))
    assert "HTTP" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_server_that_sends_terminal_commands_in_its_prefix():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(b"\x1b[2J\x07: " + data)

    result = await against(heard=heard, only=("echo", "identity"))
    assert result.ok
    for probe in result.probes:
        assert probe.finding.isprintable()
        assert "\\x1b[2J\\x07: " in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_server_that_answers_everything_twice():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(data + data)

    assert failures(await against(heard=heard))


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_7_bit_text_is_named():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(bytes(byte & 0x7F for byte in data))

    probe = first_failure(await against(heard=heard, only=("order",)))
    assert probe.name == "bytes"
    assert "the eighth bit of each byte is cleared" in probe.cause


@pytest.mark.parametrize(
    ("change", "finding", "cause"),
    [
        (lambda data: bytes(byte & 0x7F for byte in data), "0x80 comes as 00, 0x81", "eighth bit"),
        (lambda data: data.replace(b"\n", b"\r\n"), "0x0a comes as 0d 0a", "line ends"),
        (lambda data: data.replace(b"\xff", b"\xff\xff"), "0xff comes as ff ff", "Telnet"),
        (lambda data: data.replace(b"\0", b""), "0x00 comes as nothing", "NUL"),
        (lambda data: data.translate(None, b"\x11\x13"), "0x11 comes as nothing", "XON"),
        (lambda data: data.decode("latin-1").encode(), "0x80 comes as c2 80", "Latin-1"),
        (lambda data: data.replace(b"\x1b", b"[ESC]"), "0x1b comes as 5b 45 53 43 5d", "commands"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_becomes_of_which_byte_is_told(change, finding, cause):
    def heard(transport: Any, data: bytes) -> None:
        transport.write(change(data))

    probe = first_failure(await against(heard=heard, only=("bytes",)))
    assert finding in probe.finding
    assert cause in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_piece_that_is_lost_is_not_its_values_fault():
    probe = await failure(FaultSpec(drop=(40_000, 1)), "order")
    assert probe.cause == "a middlebox, or the server, drops bytes"
    assert "changed" not in probe.facts


@pytest_twisted.ensureDeferred
async def test_connections_that_are_mixed_up_are_named():
    kept: dict[Any, bytes] = {}

    def heard(transport: Any, data: bytes) -> None:
        live = [each for each in kept if each.connected and each is not transport]
        others = [kept[each] for each in live]
        if len(data) > 1000 and transport not in kept:
            kept[transport] = data[:5000]
            data = (others[0] if others else b"") + data
        transport.write(data)

    # After a silence it would be asked again, and then the first bytes are an earlier one's.
    probe = first_failure(await against(heard=heard, only=("connections",), timeout=LIMIT))
    assert "another connection's" in probe.cause


@pytest_twisted.ensureDeferred
async def test_answers_that_come_twice_are_named():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(b"S: " + data + b"S: " + data)

    probe = first_failure(await against(heard=heard))
    assert probe.finding.startswith("each message comes back twice: ")


@pytest_twisted.ensureDeferred
async def test_a_prefix_without_end_is_not_looked_for():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(b"P" * 60_000 + data)

    probe = first_failure(await against(heard=heard))
    assert probe.finding == "a prefix of 60000 bytes; no more than 4096 are looked for"


@pytest_twisted.ensureDeferred
async def test_bytes_that_come_after_all_are_nobodys():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(data + (b"!" if len(data) > 1 else b""))

    probe = first_failure(await against(heard=heard, only=("echo",)))
    assert "1 byte not sent by the client came in" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_trickle_has_an_end():
    """Something comes all the time, and the probe never gets on."""

    def met(transport: Any) -> None:
        loop = LoopingCall(transport.write, b"x")
        loop.clock = reactor
        transport.protocol.connectionLost = lambda reason: loop.stop()
        loop.start(0.2)

    probe = first_failure(await against(met=met, timeout=0.5))
    assert probe.finding == "not done within 3 s, though something came now and then"
