"""TLS connections that are paused and resumed."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
import pytest_twisted

from echosvc import Outcome
from echosvc.connection.phase import Phase
from tests.support.payload import MARK, MIB, payload, unmarked
from tests.support.reactor import in_thread, turn, until
from tests.support.recording import Recorded, Recording, all_gone
from tests.support.sockets import exchange, reset
from tests.support.tls_peer import (
    ANY,
    BARE_FIN,
    GREETING,
    NOTIFY,
    POLITE,
    Heard,
    Peer,
    all_ended,
    ask,
    serving_tls,
    unread,
)
from tests.support.waiting import LIMIT


class Pausing(Recorded):
    """Wants no more after each message."""

    def reply(self, message: bytes) -> bytes | None:
        self.pause()
        return super().reply(message)


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_a_pause_stops_between_two_records_of_one_segment(how, version, pem):
    factory = Recording(prefix=MARK)
    factory.protocol = Pausing
    records = [b"record %d" % number for number in range(20)]
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            await in_thread(peer.shake_hands)
            wire = b"".join(map(peer.sealed, records)) + peer.sealed(notify=how != BARE_FIN)
            hearing = in_thread(peer.converse, wire, how != NOTIFY)
            for number in range(len(records)):
                await until(lambda count=number: factory.bytes_in == size_of(records, count + 1))
                await turn()
                assert factory.bytes_in == size_of(records, number + 1)
                assert not factory.only.eof_received
                factory.only.resume()
            assert await hearing == Heard(b"".join(MARK + each for each in records), True, "FIN")
        await all_gone(factory)
    assert factory.outcomes == [Outcome.TRUNCATED if how == BARE_FIN else Outcome.FINISHED]


def size_of(records: list[bytes], count: int) -> int:
    return sum(map(len, records[:count]))


@pytest.mark.parametrize("how", [NOTIFY, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_pause_holds_up_the_sender_and_resume_loses_nothing(how, version, pem):
    factory = Recording(prefix=MARK)
    data = payload(4 * MIB)
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            await in_thread(peer.shake_hands)
            peer.socket.sendall(peer.sealed(b"one"))
            assert await in_thread(peer.receive, 12) == MARK + b"one"
            (paused,) = factory.connections
            paused.pause()
            wire = peer.sealed(data, how != BARE_FIN)
            hearing = in_thread(peer.converse, wire, how != NOTIFY)
            other = await in_thread(ask, address, b"other")
            assert other == Heard(MARK + b"other", True, "FIN")
            assert paused.bytes_in == 3
            assert not paused.eof_received
            paused.resume()
            heard = await hearing
        await all_gone(factory)
    assert unmarked(heard.data) == data
    assert heard.polite
    last = Outcome.TRUNCATED if how == BARE_FIN else Outcome.FINISHED
    assert factory.outcomes == [Outcome.FINISHED, last]


@pytest_twisted.ensureDeferred
async def test_nothing_is_taken_from_the_kernel_while_paused(pem):
    """What is not decrypted is not heaped up either."""
    factory = Recording(pause_on_connect=True)
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address) as peer:
            await in_thread(peer.shake_hands)
            rest, still = memoryview(peer.sealed(payload(32 * MIB))), 0
            peer.socket.setblocking(False)

            def stands_still() -> bool:
                nonlocal rest, still
                still += 1
                with suppress(BlockingIOError):
                    while rest:
                        rest = rest[peer.socket.send(rest) :]
                        still = 0
                assert rest, "the sender is never held up"
                return still >= 150

            await until(stands_still)
            assert factory.bytes_in == 0


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_an_end_that_comes_while_paused_is_told_after_resume(how, version, pem):
    factory = Recording(prefix=MARK, pause_on_connect=True, greeting=GREETING)
    async with serving_tls(factory, pem) as address:
        hearing = in_thread(ask, address, b"hello", how, version)
        await until(lambda: factory.bytes_out)
        await in_thread(exchange, address, b"")  # another one comes and goes meanwhile
        await turn(0.05)
        assert factory.bytes_in == factory.peers_ended == 0
        (paused,) = (each for each in factory.connections if each.bytes_out)
        paused.resume()
        assert await hearing == Heard(GREETING + MARK + b"hello", True, "FIN")
        await all_ended(factory, 1)
    assert factory.outcomes == [Outcome.TRUNCATED if how == BARE_FIN else Outcome.FINISHED]


@pytest.mark.parametrize("end", ["drain", "abort", "reset"])
@pytest_twisted.ensureDeferred
async def test_a_paused_connection_with_an_end_unread_can_be_ended(end, pem):
    factory = Recording(pause_on_connect=True, linger=LIMIT)
    # A client whose end came in one packet with its handshake's has finished.
    drained = (Outcome.DRAINED, Outcome.FINISHED)
    outcomes = {"drain": drained, "abort": (Outcome.ABORTED,), "reset": (Outcome.RESET,)}
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address) as peer:
            await in_thread(peer.shake_hands)
            peer.socket.sendall(peer.sealed(b"unread", notify=True))
            await until(lambda: factory.count and factory.only.phase is Phase.OPEN)
            {
                "drain": factory.end_all,
                "abort": factory.abort_all,
                "reset": lambda: reset(peer.socket),
            }[end]()
            if end == "drain":
                assert (await in_thread(peer.converse)).polite
            await all_gone(factory, 10)
    assert len(factory.outcomes) == 1
    assert factory.outcomes[0] in outcomes[end]


@pytest.mark.parametrize("end", ["drain", "idle", "finish"])
@pytest_twisted.ensureDeferred
async def test_our_own_end_answers_all_that_was_read_from_a_slow_client(end, pem):
    """What is decrypted and what is not yet: it was read by us, and the client knows."""
    idle = {"idle_timeout": 4.0, "idle_action": "close"} if end == "idle" else {}
    factory = Recording(
        framing="line", prefix=b"P" * 1000, linger=LIMIT, pause_on_connect=True, **idle
    )
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, ANY, None, 8192) as peer:
            await in_thread(peer.shake_hands)
            # Paused by then: nothing is read that comes with the handshake's last words.
            await until(lambda: factory.count and factory.only.phase is Phase.OPEN)
            sealed = peer.sealed(b"a\n" * 30_000)
            await in_thread(peer.socket.sendall, sealed)
            await until(lambda: unread(factory.only) == len(sealed))
            connection = factory.only
            connection.resume()  # one read takes it all
            await until(lambda: factory.stuck)
            if end == "idle":
                await until(lambda: connection._deferred_close)
            else:
                {"drain": factory.end_all, "finish": connection.finish}[end]()
            assert connection.outcome is None  # it has yet to answer
            connection.write(b"too late")
            heard = await in_thread(peer.converse)
        await all_gone(factory, 10)
    assert heard.polite
    assert heard.data == (b"P" * 1000 + b"a\n") * (connection.bytes_in // 2)
    assert connection.bytes_in > 3 * 16384  # more than the records that were decrypted
    assert factory.peak <= 64 * 1024 + 4096
    words = {"drain": Outcome.DRAINED, "idle": Outcome.TIMED_OUT, "finish": Outcome.CLOSED}
    assert factory.outcomes == [words[end]]


@pytest_twisted.ensureDeferred
async def test_a_client_that_breaks_tls_and_takes_nothing_is_not_waited_for(pem):
    factory = Recording(prefix=b"P" * 4096, framing="line")
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, ANY, None, 4096) as peer:
            await in_thread(peer.shake_hands)
            lines = peer.sealed(b"a\n" * 7)  # answered by less than stops the reading
            sent = 0
            while not (factory.count and factory.only.queued):
                await in_thread(peer.socket.sendall, lines if not sent else peer.sealed(b"a\n"))
                sent += 1
                await turn(0.002)
            assert not factory.stuck
            await in_thread(peer.socket.sendall, b"\x17\x03\x03\x00\x20" + bytes(32))
            await all_gone(factory, 10)
    assert factory.outcomes == [Outcome.RESET]


@pytest_twisted.ensureDeferred
async def test_a_half_open_end_after_a_cut_is_told_as_such(pem):
    factory = Recording(allow_half_open=True, half_open_timeout=0.1)
    async with serving_tls(factory, pem) as address:
        await in_thread(ask, address, b"hello", BARE_FIN)
        await all_gone(factory, 10)
    assert factory.outcomes == [Outcome.TRUNCATED]


@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["x"]])
@pytest_twisted.ensureDeferred
async def test_a_client_that_offers_protocols_is_served_without_one(offered, pem):
    """As curl, browsers and proxies do (RFC 7301)."""
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings.check_hostname, settings.verify_mode = False, ssl.CERT_NONE
    settings.set_alpn_protocols(offered)
    factory = Recording(prefix=MARK)
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, settings) as peer:
            await in_thread(peer.shake_hands)
            assert peer.tls.selected_alpn_protocol() is None
            heard = await in_thread(peer.converse, peer.sealed(b"x", notify=True), True)
        await all_gone(factory)
    assert heard == Heard(MARK + b"x", True, "FIN")
