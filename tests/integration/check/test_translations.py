"""A path that translates bytes is found once, and no other probe is blamed for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import directlyProvides

from echosvc.probe.result import ProbeResult
from echosvc.probe.settings import MIB
from tests.support.checking import against, checked
from tests.support.commands import slow

#: What comes back for the whole stream so far.
Translation = Callable[[bytes], bytes]


class Translator:
    """A server that echoes a stream as a function translates it.

    What comes back for a beginning must be a beginning of what comes back for all.
    """

    def __init__(self, translate: Translation, held: bytes = b"") -> None:
        self._translate, self._held = translate, held

    def met(self, transport: Any) -> None:
        """Close at the client's FIN, when everything has been sent back."""
        transport.kept = b""
        directlyProvides(transport.protocol, IHalfCloseableProtocol)
        transport.protocol.readConnectionLost = lambda: self._end(transport)
        transport.protocol.writeConnectionLost = lambda: None

    def heard(self, transport: Any, data: bytes) -> None:
        """Answer all but the last byte of a pair that may go on."""
        data = transport.kept + data
        size = len(data) - (data[-1:] in self._held and self._held != b"")
        transport.kept = data[size:]
        transport.write(self._translate(data[:size]))

    def _end(self, transport: Any) -> None:
        transport.write(self._translate(transport.kept))
        transport.loseConnection()


async def results(translator: Translator, *only: str, **settings: Any) -> dict[str, ProbeResult]:
    """What a check says, by the probes' names; each has one result."""
    asked = {"only": only, "skip": (), "timeout": 2.0, **settings}
    result = await against(met=translator.met, heard=translator.heard, **asked)
    names = [probe.name for probe in result.probes]
    assert len(set(names)) == len(names), names
    return {probe.name: probe for probe in result.probes}


PROBES = ("bytes", "sizes", "order", "text", "half-close", "connections", "rtt", "idle")
#: Translations of line ends; the second one may hold back a byte.
SLOW = pytest.mark.slow

LINE_ENDS = {
    "LF to CR LF": (lambda data: data.replace(b"\n", b"\r\n"), b""),
    "CR to LF": (lambda data: data.replace(b"\r", b"\n"), b""),
    "CR dropped": (lambda data: data.replace(b"\r", b""), b""),
    "LF dropped": (lambda data: data.replace(b"\n", b""), b""),
    "LF to CR": (lambda data: data.replace(b"\n", b"\r"), b""),
    "CR LF to LF": (lambda data: data.replace(b"\r\n", b"\n"), b"\r"),
    "LF to CR LF where it is none": (lambda data: re.sub(rb"\r?\n", b"\r\n", data), b"\r"),
    "any to LF": (lambda data: re.sub(rb"\r\n?", b"\n", data), b"\r"),
    "any to CR LF": (lambda data: re.sub(rb"\r\n?|\n", b"\r\n", data), b"\r"),
    "of a terminal": (lambda data: data.replace(b"\r", b"\n").replace(b"\n", b"\r\n"), b""),
}


@pytest.mark.parametrize(
    "name",
    [
        each if each in ("LF to CR LF", "of a terminal") else pytest.param(each, marks=SLOW)
        for each in LINE_ENDS
    ],
)
@pytest_twisted.ensureDeferred
async def test_line_ends_are_one_story_in_any_mapping(name):
    found = await results(Translator(*LINE_ENDS[name]), *PROBES, idle=(0.1,), max_size=200_000)
    values = found.pop("bytes")
    assert values.result == "fail"
    assert values.cause == "line ends are translated on the path, or by the server"
    assert {probe.result for probe in found.values()} <= {"pass", "info"}, found


@pytest.mark.parametrize(
    "name",
    [
        "LF to CR LF",
        "CR LF to LF",
        "of a terminal",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in LINE_ENDS
            if name not in ("LF to CR LF", "CR LF to LF", "of a terminal")
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_probe_that_is_asked_for_alone_reports_them_as_bytes(name):
    found = await results(Translator(*LINE_ENDS[name]), "order")
    assert (found["bytes"].result, found["order"].result) == ("fail", "pass")
    assert found["bytes"].cause == "line ends are translated on the path, or by the server"


OTHERS = {
    "Telnet": (lambda data: data.replace(b"\xff", b"\xff\xff"), "0xff is doubled"),
    "7 bit": (lambda data: bytes(byte & 0x7F for byte in data), "eighth bit"),
    "upper case": (bytes.upper, "upper or lower case"),
    "XON": (lambda data: data.translate(None, b"\x11\x13"), "XON and XOFF"),
    "Latin-1": (lambda data: data.decode("latin-1").encode(), "Latin-1"),
    "one bit": (lambda data: data.replace(b"B", b"C"), "interprets the bytes as text"),
    "Telnet and NUL": (
        lambda data: data.replace(b"\xff", b"\xff\xff").replace(b"\0", b""),
        "NUL is removed: a middlebox takes it for the end of a string; 0xff is doubled",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("upper case", "7 bit") else name
        for name in OTHERS
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_mappings_are_named_and_blamed_on_no_other_subject(name):
    translate, words = OTHERS[name]
    found = await results(Translator(translate), *PROBES, idle=(0.1,), max_size=200_000)
    values = found.pop("bytes")
    assert values.result == "fail"
    assert words in values.cause
    text = found.pop("text")
    assert text.result in ("pass", "skip")
    assert {probe.result for probe in found.values()} <= {"pass", "info"}, found


@pytest.mark.parametrize("letter", [b"a", b"m", *slow(b"b", b"c", b"d", b"z")])
@pytest_twisted.ensureDeferred
async def test_a_letter_that_is_changed_is_found_whatever_the_marks_are_made_of(letter):
    found = await results(Translator(lambda data: data.replace(letter, b"@")), "bytes")
    assert found["bytes"].facts["changed"] == {letter.hex(): "40"}


@pytest_twisted.ensureDeferred
async def test_letters_that_are_changed_are_no_reason_to_skip_everything():
    """They are found in the first stream of letters."""
    found = await results(Translator(lambda data: data.replace(b"q", b"Q")), "bytes", "order")
    assert "0x71 comes as 51" in found["bytes"].finding
    assert found["order"].result == "pass"


@pytest.mark.parametrize("only", [("half-close",), ("bytes", "half-close")], ids=len)
@pytest_twisted.ensureDeferred
async def test_damage_of_text_is_not_blamed_on_half_close(only):
    result = await checked(None, *only, servers=[{"encoding": "utf-8"}])
    values, half_close = result.probes
    assert (values.name, values.result) == ("bytes", "fail")
    assert "decoded as UTF-8" in values.cause
    assert (half_close.name, half_close.result) == ("half-close", "pass")


def trimming(framing: str, strip: Callable[[bytes], bytes]) -> Callable[[Any, bytes], None]:
    """A server that answers each message without the white space at its ends."""

    def heard(transport: Any, data: bytes) -> None:
        kept = getattr(transport, "kept", b"") + data
        if framing == "chunk":
            transport.write(b"> " + strip(kept))
            return
        if framing == "line":
            *messages, transport.kept = kept.split(b"\n")
            transport.write(b"".join(b"> " + strip(each) + b"\n" for each in messages))
            return
        while len(kept) >= 4 and len(kept) >= 4 + (size := int.from_bytes(kept[:4], "big")):
            message, kept = b"> " + strip(kept[4 : 4 + size]), kept[4 + size :]
            transport.write(len(message).to_bytes(4, "big") + message)
        transport.kept = kept

    return heard


async def trimmed(
    framing: str, strip: Callable[[bytes], bytes], *only: str, max_size: int = 200_000
) -> Any:
    heard = trimming(framing, strip)
    asked = {"only": only, "skip": (), "timeout": 2.0, "framing": framing, "max_size": max_size}
    result = await against(heard=heard, **asked)
    return {probe.name: probe for probe in result.probes}


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["chunk", "line", "length"])
@pytest_twisted.ensureDeferred
async def test_a_server_that_trims_its_messages_is_said_to_do_so(framing):
    found = await trimmed(framing, bytes.strip, "bytes", "sizes", "order", "text", "connections")
    values = found.pop("bytes")
    assert values.result == "fail"
    assert values.finding.startswith("bytes are removed at the beginning and at the end of a ")
    assert values.cause == "the server, or a middlebox, trims what it takes for lines of text"
    assert bytes.fromhex(values.facts["trimmed_trailing"]).strip() == b""
    assert {probe.result for probe in found.values()} == {"pass"}, found


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["line", "length"])
@pytest_twisted.ensureDeferred
async def test_a_probe_that_is_asked_for_alone_reports_the_trimming_as_bytes(framing):
    found = await trimmed(framing, bytes.rstrip, "order", max_size=4 * MIB)  # many messages
    assert (found["bytes"].result, found["order"].result) == ("fail", "pass")
    assert found["bytes"].finding.startswith("bytes are removed at the end of a ")
    assert found["bytes"].facts["trimmed_leading"] == ""


@pytest_twisted.ensureDeferred
async def test_a_line_server_that_takes_cr_lf_for_a_line_end_translates_line_ends():
    found = await trimmed("line", lambda line: line.removesuffix(b"\r"), "bytes", "order")
    assert found["bytes"].facts == {"trimmed_leading": "", "trimmed_trailing": "0d"}
    assert found["bytes"].cause == "line ends are translated on the path, or by the server"
    assert found["order"].result == "pass"


@pytest_twisted.ensureDeferred
async def test_one_of_two_servers_that_translates_is_found_by_asking_several_times():
    made: list[Any] = []
    translating = 2  # the third, fifth ... connection, and so that of the probe

    def heard(transport: Any, data: bytes) -> None:
        if transport not in made:
            made.append(transport)
        right = made.index(transport) % 2 != translating % 2
        transport.write(data if right else data.replace(b"\xff", b"\xff\xff"))

    result = await against(heard=heard, only=("order",), skip=(), timeout=2.0)
    if [probe.result for probe in result.probes] == ["pass"]:  # its connection was the other one
        translating, made = 1, []
        result = await against(heard=heard, only=("order",), skip=(), timeout=2.0)
    values, order = result.probes
    assert values.name == "bytes"
    assert "0xff comes as ff ff" in values.finding
    assert order.result == "pass"


@pytest.mark.slow
@pytest.mark.parametrize("value", [b"\xff", b"\x7f"])
@pytest_twisted.ensureDeferred
async def test_a_doubled_value_is_found_though_it_breaks_the_framing(value):
    """The length in front of a message is wrong from there on."""

    class Doubling:
        """A server of messages behind a path that doubles a value on the way to it."""

        def heard(self, transport: Any, data: bytes) -> None:
            kept = getattr(transport, "kept", b"") + data.replace(value, 2 * value)
            while len(kept) >= 4 and len(kept) >= 4 + int.from_bytes(kept[:4], "big"):
                size = 4 + int.from_bytes(kept[:4], "big")
                transport.write(kept[:size])
                kept = kept[size:]
            transport.kept = kept

    asked = {"only": ("bytes", "order"), "skip": (), "framing": "length", "timeout": 1.0}
    result = await against(heard=Doubling().heard, **asked)
    values, order = result.probes
    assert (values.name, values.result) == ("bytes", "fail")
    assert f"0x{value.hex()} comes as {value.hex()} {value.hex()}" in values.finding
    assert order.result == "pass"


@pytest_twisted.ensureDeferred
async def test_a_line_server_that_answers_with_other_line_ends_translates_them():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(b"> " + data.replace(b"\n", b"\r\n"))

    result = await against(heard=heard, only=("echo",), skip=(), framing="line", timeout=0.5)
    echo = result.probes[0]
    assert [probe.name for probe in result.probes] == ["echo"], result
    assert echo.cause == "line ends are translated on the path, or by the server"


@pytest_twisted.ensureDeferred
async def test_text_that_is_decoded_read_by_read_is_changed_where_it_is_cut():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(data.decode("utf-8", "replace").encode())

    result = await against(heard=heard, only=("bytes", "text"), skip=())
    values, text = result.probes
    assert (values.result, text.result) == ("fail", "fail")
    assert "decoded as UTF-8" in values.cause
    assert text.finding.startswith("characters are cut between two reads, and do not come back: ")
    assert text.cause.startswith("each read is decoded as UTF-8 by itself")


@pytest_twisted.ensureDeferred
async def test_a_translation_is_reported_though_bytes_has_passed():
    """Its connection was to another server."""
    first: dict[Any, int] = {}

    def heard(transport: Any, data: bytes) -> None:
        longer = sum(count > 4096 for each, count in first.items() if each is not transport)
        right = longer < 2  # the first one is that of `path`, which `bytes` needs
        first[transport] = first.get(transport, 0) + len(data)
        transport.write(data if right else data.replace(b"\xff", b"\xff\xff"))

    result = await against(heard=heard, only=("bytes", "order"), skip=(), timeout=2.0)
    passed, translated, order = result.probes
    assert (passed.name, passed.result) == ("bytes", "pass")
    assert (translated.name, translated.result) == ("bytes", "fail")
    assert translated.finding.endswith("; another connection had passed")
    assert order.result == "pass"
