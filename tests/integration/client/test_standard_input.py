"""``echosvc send`` and its standard input, in this process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import BytesIO, RawIOBase
from typing import Any
from unittest import mock

import pytest
import pytest_twisted

from echosvc.cli.send_session import STDIN, SendError, SendOptions
from echosvc.cli.standard_input import InputError, InputReader
from tests.support.client import quiet, server_words, started, talk, talking
from tests.support.payload import MIB, READ, payload
from tests.support.reactor import in_thread, serving, within
from tests.support.sockets import half_close, receive_all, receive_exactly, reset


@asynccontextmanager
async def piped_input() -> AsyncIterator[RawIOBase]:
    """Standard input as a pipe; gives the end to write to.

    A reader outlives its conversation, so at the end each is led to the end of this
    input: it must not take what is meant for the next.
    """
    readers: list[InputReader] = []

    class Remembered(InputReader):
        def __init__(self, reactor: Any) -> None:
            super().__init__(reactor)
            readers.append(self)

    out, into = os.pipe()
    saved = os.dup(0)
    os.dup2(out, 0)
    os.close(out)
    try:
        with (
            open(into, "wb", buffering=0) as pipe,
            mock.patch("echosvc.cli.send_session.InputReader", Remembered),
        ):
            yield pipe
        for reader in readers:
            await read_to_end(reader)
    finally:
        os.dup2(saved, 0)
        os.close(saved)


async def read_to_end(reader: InputReader) -> None:
    with suppress(InputError):
        while await within(reader.read()):
            pass


def pour(into: RawIOBase, data: bytes) -> None:
    """Write all and close, unless nobody reads on."""
    todo = memoryview(data)
    try:
        while todo:
            todo = todo[into.write(todo[:READ]) :]
    except BrokenPipeError:
        pass
    finally:
        into.close()


@pytest_twisted.ensureDeferred
async def test_standard_input_is_streamed_to_its_end_and_comes_back(where):
    data, out = payload(16 * MIB), BytesIO()
    async with serving(quiet(), server_words(where)) as address, piped_input() as into:
        pouring = in_thread(pour, into, data)
        prefix = SendOptions(prefix=quiet().prefix).prefix
        await started(talk(address, out, raw=True, prefix=prefix).run([b"first", STDIN]))
        await pouring
    assert out.getvalue().replace(b"\xff", b"") == b"first" + data


@pytest_twisted.ensureDeferred
async def test_an_empty_standard_input_is_fine():
    out = BytesIO()
    async with serving(quiet()) as address, piped_input() as into:
        into.close()
        await started(talk(address, out, raw=True, timeout=0).run([STDIN]))
    assert out.getvalue() == b""


@pytest.mark.parametrize("answer", [b"", b"Sending: some of it"])
@pytest_twisted.ensureDeferred
async def test_a_server_that_ends_before_all_of_standard_input_is_told(answer):
    out = BytesIO()
    async with piped_input() as into, talking([STDIN], out, raw=True) as (running, server):
        into.write(b"some of it")
        assert await in_thread(server.recv, READ) == b"some of it"
        server.sendall(answer)
        half_close(server)
        with pytest.raises(SendError, match="EOF before all of standard input"):
            await running
    assert out.getvalue() == answer


@pytest_twisted.ensureDeferred
async def test_a_server_that_answers_only_part_of_standard_input_is_told():
    async with (
        piped_input() as into,
        talking([STDIN], BytesIO(), raw=True) as (running, server),
    ):
        pour(into, b"all of it")
        assert await in_thread(receive_all, server) == b"all of it"
        server.sendall(b"Sending: all")
        server.close()
        with pytest.raises(SendError, match="only 3 of 9 bytes came back"):
            await running


@pytest_twisted.ensureDeferred
async def test_a_server_that_resets_ends_the_stream():
    async with (
        piped_input() as into,
        talking([STDIN], BytesIO(), raw=True) as (running, server),
    ):
        pouring = in_thread(pour, into, payload(4 * MIB))
        await in_thread(receive_exactly, server, MIB)
        reset(server)
        with pytest.raises(SendError, match=r"^Socket Error: "):
            await running
        await in_thread(drain_input)
        await pouring


def drain_input() -> None:
    """Take what nobody wants any more, so that whoever pours gets on."""
    while os.read(0, MIB):
        pass


@pytest_twisted.ensureDeferred
async def test_an_input_that_cannot_be_read_is_told():
    async with piped_input():
        directory = os.open("/", os.O_RDONLY)
        os.dup2(directory, 0)
        os.close(directory)
        async with talking([STDIN], BytesIO(), raw=True) as (running, _):
            with pytest.raises(InputError, match="standard input: EISDIR"):
                await running
