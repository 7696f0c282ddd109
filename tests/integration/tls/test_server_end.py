"""How the server itself ends a TLS connection; and half-open ones."""

from __future__ import annotations

import pytest
import pytest_twisted

from echosvc import Outcome
from tests.support.payload import HIGH_WATER, MARK, MIB, payload
from tests.support.reactor import in_thread, turn, until
from tests.support.recording import Recorded, Recording, all_gone, answering
from tests.support.tls_peer import (
    ANY,
    BARE_FIN,
    ENCRYPTION,
    GREETING,
    LINES,
    LONG,
    NOTIFY,
    POLITE,
    Heard,
    Peer,
    ask,
    serving_tls,
)
from tests.support.waiting import LIMIT


@pytest_twisted.ensureDeferred
async def test_the_idle_action_close_says_close_notify_and_reads_on(version, pem):
    factory = Recording(
        idle_timeout=0.2, idle_action="close", linger=LIMIT, greeting=GREETING, prefix=MARK
    )
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            await in_thread(peer.shake_hands)
            assert await in_thread(peer.converse) == Heard(GREETING, True, "FIN")
            wire = peer.sealed(payload(MIB), notify=True)
            assert await in_thread(peer.converse, wire, True) == Heard(b"", True, "FIN")
        await all_gone(factory)
    assert factory.bytes_in == MIB
    assert factory.outcomes == [Outcome.TIMED_OUT]


def say_after_the_end(peer: Peer) -> Heard:
    """Send much while the rest comes in, and more after TCP's end of the other side."""
    heard = peer.converse(peer.sealed(payload(MIB)))
    again = peer.converse(peer.sealed(payload(MIB), notify=True), end=True)
    assert again.end == "FIN"
    return heard


@pytest_twisted.ensureDeferred
async def test_drained_everything_due_arrives_though_the_client_goes_on_sending(version, pem):
    factory = Recording(linger=LIMIT)
    factory.protocol = answering(payload(4 * MIB))
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version, None, 4096) as peer:
            await in_thread(peer.shake_hands)
            peer.socket.sendall(peer.sealed(b"x"))
            await until(lambda: factory.stuck)
            factory.end_all()
            heard = await in_thread(say_after_the_end, peer)
        await all_gone(factory)
    assert heard == Heard(payload(4 * MIB), True, "FIN")
    assert factory.outcomes == [Outcome.DRAINED]
    assert factory.bytes_in == 1 + 2 * MIB


@pytest_twisted.ensureDeferred
async def test_drained_in_the_middle_of_a_read_all_that_was_read_is_answered(pem):
    factory = Recording(prefix=LONG, framing="line", linger=LIMIT)
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, ANY, None, 4096) as peer:
            await in_thread(peer.shake_hands)
            peer.socket.sendall(peer.sealed(b"\n" * LINES))
            await until(lambda: factory.stuck)
            factory.end_all()
            assert await in_thread(peer.converse) == Heard((LONG + b"\n") * LINES, True, "FIN")
        await all_gone(factory)
    assert factory.outcomes == [Outcome.DRAINED]
    assert factory.peak <= HIGH_WATER + len(LONG) + 1 + ENCRYPTION


@pytest.mark.parametrize("how", [*POLITE, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_however_the_client_answers_our_end_it_keeps_its_word(how, version, pem):
    factory = Recording(linger=LIMIT, greeting=GREETING)
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            await in_thread(peer.shake_hands)
            await until(lambda: factory.bytes_out)
            factory.end_all()
            assert await in_thread(peer.converse) == Heard(GREETING, True, "FIN")
            wire = peer.sealed(notify=how != BARE_FIN)
            assert (await in_thread(peer.converse, wire, how != NOTIFY)).end == "FIN"
        await all_gone(factory)
    assert factory.outcomes == [Outcome.DRAINED]


@pytest_twisted.ensureDeferred
async def test_finish_in_reply_sends_what_was_due_and_close_notify(version, pem):
    class Finishing(Recorded):
        def reply(self, message: bytes) -> bytes | None:
            self.write(b"bye ")
            self.finish()
            return super().reply(message)

    factory = Recording(prefix=MARK, linger=LIMIT)
    factory.protocol = Finishing
    async with serving_tls(factory, pem) as address:
        with await in_thread(Peer, address, version) as peer:
            await in_thread(peer.shake_hands)
            wire = peer.sealed(b"hello")
            heard = await in_thread(peer.converse, wire)
            assert heard == Heard(b"bye " + MARK + b"hello", True, "FIN")
        await all_gone(factory)
    assert factory.outcomes == [Outcome.CLOSED]


@pytest.mark.parametrize("how", [NOTIFY, BARE_FIN])
@pytest_twisted.ensureDeferred
async def test_half_open_the_application_writes_on_after_the_clients_end(how, version, pem):
    factory = Recording(prefix=MARK, allow_half_open=True)
    late = payload(MIB, 7)
    async with serving_tls(factory, pem) as address:
        asking = in_thread(ask, address, b"hello", how, version)
        await until(lambda: factory.peers_ended)
        assert factory.only.eof_received
        assert not factory.only.closing
        factory.only.write(late)
        await turn(0.05)
        factory.only.write(b"bye")
        factory.only.finish()
        assert await asking == Heard(MARK + b"hello" + late + b"bye", True, "FIN")
        await all_gone(factory)
    assert factory.outcomes == [Outcome.CLOSED]
