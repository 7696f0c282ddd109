"""One conversation of ``echosvc send``, in this process."""

from __future__ import annotations

import select
import socket
import time
from io import BytesIO
from typing import Any

import pytest
import pytest_twisted

from echosvc.cli.send_session import SendError
from echosvc.cli.terminal import OutputError
from echosvc.wire.template import Template
from tests.support.client import quiet, server_words, started, talk, talking
from tests.support.payload import MIB, READ, payload
from tests.support.reactor import in_thread, serving, until
from tests.support.sockets import half_close, receive_all, reset


@pytest_twisted.ensureDeferred
async def test_a_conversation_prints_the_tutorials_words():
    out = BytesIO()
    async with serving(quiet(prefix="Sending: ")) as address:
        await started(talk(address, out).run([b"More Axes", b"caf\xc3\xa9"]))
    lines = out.getvalue().decode().splitlines()
    assert lines.pop(1).startswith("   local = 127.0.0.1:")
    assert lines == [
        "Dwarves Connected:",
        f"   remote = 127.0.0.1:{address[1]}",
        "Dwarves From Server: Sending: More Axes",
        "Dwarves From Server: Sending: café",
        "Dwarves Client disconnected",
        "Socket Closed",
    ]


@pytest_twisted.ensureDeferred
async def test_a_quiet_conversation_prints_the_replies_alone():
    out = BytesIO()
    async with serving(quiet(prefix="Sending: ")) as address:
        await started(talk(address, out, quiet=True).run([b"one", b"two\x1b"]))
    assert out.getvalue() == b"Sending: one\nSending: two\\x1b\n"


@pytest_twisted.ensureDeferred
async def test_a_raw_conversation_writes_the_bytes_as_they_are(where):
    out, message = BytesIO(), bytes(range(256))
    async with serving(quiet(prefix="Sending: "), server_words(where)) as address:
        await started(talk(address, out, raw=True).run([message]))
    assert out.getvalue() == b"Sending: " + message


@pytest_twisted.ensureDeferred
async def test_without_text_every_byte_that_is_not_ascii_is_escaped():
    out = BytesIO()
    async with serving(quiet(prefix="Sending: ")) as address:
        await started(talk(address, out, text=False, quiet=True).run([b"\xe2\x82\xac"]))
    assert out.getvalue() == b"Sending: \\xe2\\x82\\xac\n"


@pytest_twisted.ensureDeferred
async def test_a_character_cut_between_two_reads_is_shown_whole():
    out = BytesIO()
    async with talking(["€".encode()], out) as (running, server):
        server.sendall(b"Sending: \xe2\x82")
        await until(lambda: b"Sending: " in out.getvalue())
        server.sendall(b"\xac")
        assert await in_thread(receive_all, server) == "€".encode()
        server.close()
        await running
    assert "From Server: Sending: \nDwarves From Server: €\n" in out.getvalue().decode()


@pytest_twisted.ensureDeferred
async def test_the_next_message_goes_out_only_when_the_first_is_answered():
    out = BytesIO()
    async with talking([b"one", b"two"], out) as (running, server):
        assert await in_thread(server.recv, READ) == b"one"
        server.sendall(b"Sending: on")
        await until(lambda: b"Sending: on" in out.getvalue())
        assert not select.select([server], [], [], 0)[0]
        server.sendall(b"eSending: ")
        assert await in_thread(server.recv, READ) == b"two"
        server.sendall(b"two and what comes after")
        assert await in_thread(receive_all, server) == b""
        server.close()
        await running
    assert b"two and what comes after" in out.getvalue()


@pytest_twisted.ensureDeferred
async def test_silence_is_reported_and_waited_out():
    out = BytesIO()
    async with talking([b"one"], out, timeout=0.2) as (running, server):
        await until(lambda: b"Socket Timed Out\n" in out.getvalue())
        server.sendall(b"Sending: one")
        assert await in_thread(receive_all, server) == b"one"
        server.close()
        await running


@pytest_twisted.ensureDeferred
async def test_a_conversation_that_does_not_get_on_ends_at_the_deadline():
    out = BytesIO()
    before = time.monotonic()
    prefix = Template.literal(b"Sending: ")
    async with talking([b"one"], out, deadline=0.4, quiet=True, prefix=prefix) as (running, server):
        server.sendall(b"Hello")
        with pytest.raises(SendError, match=r"'one' did not come: no progress for 0\.4 s"):
            await running
    assert time.monotonic() - before >= 0.4
    assert out.getvalue() == b"Hello\n"


@pytest_twisted.ensureDeferred
async def test_a_server_that_reads_nothing_ends_the_conversation_at_the_deadline():
    async with talking([payload(24 * MIB)], BytesIO(), deadline=0.4) as (running, _):
        with pytest.raises(SendError, match="no progress"):
            await running


@pytest_twisted.ensureDeferred
async def test_a_server_that_ends_early_is_told_after_what_came():
    out = BytesIO()
    async with talking([b"one"], out, quiet=True) as (running, server):
        server.sendall(b"Sending: o")
        half_close(server)
        with pytest.raises(SendError, match="server sent EOF before an answer to 'one'"):
            await running
    assert out.getvalue() == b"Sending: o\n"


@pytest_twisted.ensureDeferred
async def test_a_reset_is_told_by_its_name():
    async with talking([b"one"], BytesIO()) as (running, server):
        await in_thread(server.recv, READ)
        reset(server)
        with pytest.raises(SendError, match=r"^Socket Error: .* 127\.0\.0\.1:"):
            await running


@pytest_twisted.ensureDeferred
async def test_no_server_is_told_in_nodes_words():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = nobody.getsockname()
        words = f"^Socket Error: connect ECONNREFUSED 127.0.0.1:{address[1]}$"
        with pytest.raises(SendError, match=words):
            await started(talk(address, BytesIO()).run([b"one"]))


class FullDisk(BytesIO):
    """Takes so many bytes and no more."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def write(self, data: Any) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OutputError(OSError(28, "No space left on device"))
        return super().write(data)


@pytest.mark.parametrize("room", [0, 80])
@pytest.mark.parametrize("raw", [False, True])
@pytest_twisted.ensureDeferred
async def test_an_output_that_takes_no_more_ends_the_conversation(room, raw):
    async with serving(quiet(prefix="Sending: ")) as address:
        talk_ = talk(address, FullDisk(room), raw=raw)
        with pytest.raises(OutputError, match=r"standard output: ENOSPC"):
            await started(talk_.run([b"x" * 100]))
