"""What every stream promises, whatever transport is below.

A :class:`Transport` opens a connected :class:`Pair`. A promise is a coroutine that takes a
transport and raises ``AssertionError`` where the promise is broken. It waits for events, never for
a time to pass, and each wait is bounded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from echosvc import Outcome
from tests.support.client import started
from tests.support.payload import HIGH_WATER, KIB, MARK, MIB, READ, TOO_MUCH, payload, unmarked
from tests.support.raw_peer import CLEAN, CUT, RESET, Heard, RawPeer
from tests.support.reactor import in_thread, turn, until
from tests.support.stream_pair import Pair, Server
from tests.support.tls_peer import ENCRYPTION
from tests.support.waiting import LIMIT

#: More than the kernel takes for a peer that does not read, and more than the high-water mark.
MUCH = 6 * MIB
#: A linger time that no test waits for: an end that needs it is a failure.
NEVER = 2 * LIMIT
#: What the polite end of our own application is called, on the server's side and the client's.
OWN_END = (Outcome.CLOSED, Outcome.FINISHED)


@dataclass(frozen=True)
class Transport:
    """One row of the table of transports.

    :ivar open: returns an asynchronous context manager of a pair; takes settings of the stream.
    :ivar half_closes: one direction can end alone.
    :ivar resets: the kernel reports a reset to a peer of which nothing was left unread.
    :ivar is_server: the stream is a server's.
    """

    name: str
    open: Callable[..., AbstractAsyncContextManager[Pair]]
    half_closes: bool = True
    resets: bool = True
    is_server: bool = True


Promise = Callable[[Transport], Awaitable[None]]
#: The promises by name, and for which transports each is given.
PROMISES: dict[str, tuple[Promise, Callable[[Transport], bool]]] = {}


def promise(given: Callable[[Transport], bool] = lambda _: True) -> Callable[[Promise], Promise]:
    """Return a decorator that adds a promise, for the transports for which ``given`` is true."""

    def add(function: Promise) -> Promise:
        PROMISES[function.__name__] = function, given
        return function

    return add


def half_closing(transport: Transport) -> bool:
    """Return whether a direction can end alone."""
    return transport.half_closes


def not_half_closing(transport: Transport) -> bool:
    """Return whether both directions end together."""
    return not transport.half_closes


def serving(transport: Transport) -> bool:
    """Return whether the stream is a server's."""
    return transport.is_server


async def greet(pair: Pair) -> None:
    """Exchange a message, after which the handshake is complete on either side."""
    await in_thread(pair.peer.send, b"hello")
    assert await in_thread(pair.peer.receive, len(MARK) + 5) == MARK + b"hello"


async def ended(pair: Pair, *outcomes: Outcome) -> None:
    """Wait for the end of the only connection; it is reported once, as one of ``outcomes``."""
    await until(lambda: pair.record.outcomes)
    await turn()  # in which a second report would come
    assert len(pair.record.outcomes) == pair.record.lost == 1
    assert pair.record.outcomes[0] in outcomes


def write(pair: Pair, data: bytes) -> None:
    """Have our side send ``data``, whatever becomes of it."""
    written = pair.stream.write(data)
    if written is not None:  # a client's Deferred, which fails where the connection ends before
        written.addErrback(lambda _: None)


async def fill(pair: Pair, data: bytes) -> None:
    """Have our side send ``data``, of which the peer takes nothing and the kernel a part."""
    write(pair, data)
    assert pair.stream.queued > HIGH_WATER
    await turn()  # the kernel takes more only in turns of the reactor
    assert pair.stream.queued > HIGH_WATER


def check_heard(heard: Heard, expected: bytes, end: str = CLEAN) -> None:
    """Check what a peer has received, with a message that is short for long streams."""
    same = heard.data == expected
    assert same, f"{heard.size} of {len(expected)} bytes, or others, then {heard.end}"
    assert heard.end == end


async def hear(peer: RawPeer, data: bytes = b"", end: bool = False) -> Heard:
    """Have the peer send ``data``, read fast and to the end."""
    peer.read_slowly(False)
    return await in_thread(peer.converse, data, end)


async def stall(pair: Pair) -> int:
    """Have the peer send and not read until nothing moves; return the most that was queued."""
    piece, peak, looks = payload(READ), 0, 0
    before = -1

    def stands_still() -> bool:
        nonlocal peak, looks, before
        moved = pair.peer.push(piece) or before != pair.stream.bytes_in
        before, peak = pair.stream.bytes_in, max(peak, pair.stream.queued)
        assert pair.peer.sent < TOO_MUCH, "the peer is never held up"
        looks = 0 if moved or not pair.stream.queued else looks + 1
        return looks >= 20

    await until(stands_still)
    return peak


# -- half-close ---------------------------------------------------------------


@promise(half_closing)
async def data_and_end_in_one_packet_are_answered_whole(transport: Transport) -> None:
    for size in (5, 300 * KIB):
        async with transport.open() as pair:
            heard = await hear(pair.peer, payload(size), end=True)
            assert heard.data.startswith(MARK)
            check_heard(Heard(unmarked(heard.data), heard.end), payload(size))
            await ended(pair, Outcome.FINISHED)
            assert pair.record.ended == 1


@promise(half_closing)
async def an_end_with_nothing_sent_is_answered_with_an_end(transport: Transport) -> None:
    async with transport.open() as pair:
        check_heard(await hear(pair.peer, end=True), b"")
        await ended(pair, Outcome.FINISHED)
        assert pair.stream.bytes_in == pair.stream.bytes_out == 0


@promise(half_closing)
async def our_direction_stays_open_after_the_peers_end(transport: Transport) -> None:
    late = payload(MIB, 7)
    async with transport.open(allow_half_open=True, idle_timeout=0.1) as pair:
        heard = started(hear(pair.peer, b"hello", end=True))
        await until(lambda: pair.record.ended)
        idles = pair.record.idles
        await until(lambda: pair.record.idles > idles)
        assert pair.stream.eof_received
        assert not pair.stream.closing
        write(pair, late)
        await turn()
        write(pair, b"bye")
        pair.stream.finish()
        check_heard(await heard, MARK + b"hello" + late + b"bye")
        await ended(pair, *OWN_END)


@promise(half_closing)
async def the_peers_direction_stays_open_after_our_end(transport: Transport) -> None:
    async with transport.open(linger=NEVER) as pair:
        write(pair, b"bye")
        pair.stream.finish()
        check_heard(await hear(pair.peer), b"bye")
        assert not pair.record.outcomes
        check_heard(await hear(pair.peer, payload(MIB), end=True), b"")
        await ended(pair, *OWN_END)
        assert pair.stream.bytes_in == MIB
        assert pair.stream.bytes_out == 3


@promise(half_closing)
async def nothing_is_lost_at_the_peers_end_with_much_queued(transport: Transport) -> None:
    async with transport.open() as pair:
        await greet(pair)
        await fill(pair, payload(MUCH))
        check_heard(await hear(pair.peer, end=True), payload(MUCH))
        await ended(pair, Outcome.FINISHED)


@promise(half_closing)
async def nothing_is_lost_at_the_peers_end_with_a_little_queued(transport: Transport) -> None:
    """Then the end is read before the queue is empty."""
    async with transport.open() as pair:
        await greet(pair)
        sent = 0
        while pair.stream.queued < HIGH_WATER // 2:
            write(pair, payload(16 * KIB))
            sent += 16 * KIB
            await turn()
        await in_thread(pair.peer.send_end)
        await until(lambda: pair.record.ended)
        assert pair.stream.queued
        check_heard(await hear(pair.peer), payload(16 * KIB) * (sent // (16 * KIB)))
        await ended(pair, Outcome.FINISHED)


# -- where both directions end together ---------------------------------------


@promise(not_half_closing)
async def an_answer_that_was_read_before_the_end_is_whole(transport: Transport) -> None:
    async with transport.open() as pair:
        await in_thread(pair.peer.send, payload(300 * KIB))
        await until(lambda: pair.stream.bytes_in == 300 * KIB)
        expected = pair.stream.bytes_out
        heard = await in_thread(pair.peer.receive, expected)
        assert unmarked(heard) == payload(300 * KIB)
        check_heard(await hear(pair.peer, end=True), b"")
        await ended(pair, Outcome.FINISHED)


@promise(not_half_closing)
async def an_end_with_much_queued_ends_the_connection_after_a_part(transport: Transport) -> None:
    async with transport.open() as pair:
        await greet(pair)
        await fill(pair, payload(MUCH))
        heard = await hear(pair.peer, end=True)
        assert payload(MUCH).startswith(heard.data)
        await until(lambda: pair.record.outcomes)
        assert len(pair.record.outcomes) == pair.record.lost == 1


# -- back-pressure ------------------------------------------------------------


@promise()
async def a_peer_that_does_not_read_is_held_up_and_gets_everything(transport: Transport) -> None:
    async with transport.open() as pair:
        peak = await stall(pair)
        assert peak <= HIGH_WATER + READ + len(MARK) + pair.peer.layers * ENCRYPTION
        read = pair.stream.bytes_in
        pushed = payload(READ) * (pair.peer.sent // READ)
        assert read < len(pushed)
        if transport.half_closes:
            heard = await hear(pair.peer, end=True)
            check_heard(Heard(unmarked(heard.data), heard.end), pushed)
            await ended(pair, Outcome.FINISHED)
        else:
            heard = await in_thread(pair.peer.receive, read)
            assert pushed.startswith(unmarked(heard))


# -- pause --------------------------------------------------------------------


@promise()
async def nothing_is_read_while_paused_and_everything_after(transport: Transport) -> None:
    async with transport.open(idle_timeout=0.1) as pair:
        await greet(pair)
        pair.stream.pause()
        idles = pair.record.idles
        hearing = started(hear(pair.peer, payload(MIB), end=transport.half_closes))
        await until(lambda: pair.record.idles > idles)
        assert pair.stream.bytes_in == 5
        assert pair.record.ended == 0
        assert not pair.stream.eof_received
        pair.stream.resume()
        if not transport.half_closes:
            await until(lambda: pair.stream.bytes_in == 5 + MIB)
            pair.stream.finish()
        heard = await hearing
        check_heard(Heard(unmarked(heard.data), heard.end), payload(MIB))
        await ended(pair, Outcome.FINISHED, *OWN_END)


@promise(half_closing)
async def an_end_that_comes_while_paused_is_reported_after_the_resume(transport: Transport) -> None:
    async with transport.open(idle_timeout=0.1) as pair:
        await greet(pair)
        pair.stream.pause()
        idles = pair.record.idles
        hearing = started(hear(pair.peer, end=True))
        await until(lambda: pair.record.idles > idles)
        assert pair.record.ended == 0
        assert not pair.stream.eof_received
        pair.stream.resume()
        check_heard(await hearing, b"")
        assert pair.record.ended == 1
        await ended(pair, Outcome.FINISHED)


# -- abort --------------------------------------------------------------------


@promise()
async def an_abort_drops_what_is_queued_and_is_no_clean_end(transport: Transport) -> None:
    async with transport.open() as pair:
        await greet(pair)
        await fill(pair, payload(MUCH))
        if not transport.resets:
            pair.stream.pause()
            await in_thread(pair.peer.send, b"unread")
        pair.stream.abort()
        pair.stream.abort()
        await ended(pair, Outcome.ABORTED)
        heard = await hear(pair.peer)
        assert heard.end in (RESET, CUT)
        assert heard.size < MUCH
        assert payload(MUCH).startswith(heard.data)
        assert pair.stream.closing


@promise()
async def a_reset_by_the_peer_is_reported_once(transport: Transport) -> None:
    async with transport.open() as pair:
        await greet(pair)
        await fill(pair, payload(MUCH))
        pair.peer.reset()
        await ended(pair, Outcome.RESET)
        assert pair.record.ended == 0


# -- our own end --------------------------------------------------------------


@promise()
async def our_end_with_unread_input_lets_every_byte_arrive(transport: Transport) -> None:
    async with transport.open(linger=NEVER) as pair:
        await greet(pair)
        pair.stream.pause()
        await in_thread(pair.peer.send, b"x" * 20_000)
        await fill(pair, payload(MUCH))
        pair.stream.finish()
        check_heard(await hear(pair.peer), payload(MUCH))
        pair.stream.resume()  # for a client, which reads at its application's pace to the end
        await hear(pair.peer, end=True)
        await ended(pair, *OWN_END)


@promise()
async def our_end_while_the_producer_is_paused_lets_every_byte_arrive(transport: Transport) -> None:
    async with transport.open(linger=NEVER) as pair:
        await greet(pair)
        await fill(pair, payload(MUCH))
        pair.stream.finish()
        write(pair, b"too late")
        check_heard(await hear(pair.peer), payload(MUCH))
        await hear(pair.peer, end=True)
        await ended(pair, *OWN_END)


# -- errors of the application ------------------------------------------------


class Failing(Server):
    """Fails to answer one message."""

    def reply(self, message: bytes) -> Any:
        if message == b"fail":
            raise ArithmeticError("on purpose")
        return super().reply(message)


@promise(serving)
async def an_exception_ends_its_own_connection_alone(transport: Transport) -> None:
    async with transport.open(protocol=Failing) as pair:
        await greet(pair)
        other = await in_thread(pair.dial)
        try:
            heard = await in_thread(other.converse, b"fail")
            assert heard.data == b""
            assert heard.end in (RESET, CUT) or not transport.resets
        finally:
            other.close()
        await ended(pair, Outcome.FAILED)
        await greet(pair)
