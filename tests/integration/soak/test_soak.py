"""Connections that are kept open: each gap is noted, with its length, its cause and its place."""

from __future__ import annotations

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from echosvc import EchoFactory, soak
from echosvc.faults.relay import Relay
from echosvc.faults.spec import FaultSpec
from echosvc.probe.soak.events import GapBegan, Opened, Started
from echosvc.probe.soak.result import Gap, Outage
from echosvc.probe.soak.session import SoakError
from echosvc.probe.soak.settings import SoakSettingsError
from tests.integration.soak.soaking import Soaking, echoing
from tests.support.reactor import in_thread, serving, turn, until, within
from tests.support.tls_files import Files


@pytest.mark.parametrize("framing", ["chunk", "line", "length"])
@pytest.mark.parametrize("prefix", ["", "Sending: ", "{hostname}#{message} "])
async def test_a_clean_path_has_no_gap(framing, prefix):
    async with serving(EchoFactory(log="quiet", framing=framing, prefix=prefix)) as (_, port):
        running = Soaking(port, framing=framing, prefix=prefix)
        await running.opened()
        await turn(0.3)
        result = await running.stop()
    assert result.ok, result.reasons
    assert result.gap_count == result.breaks == 0
    counted = result.messages
    assert counted["answered"] == counted["sent"] > 0
    assert sum(result.servers.values()) == 3
    assert not running.of(Gap)
    assert len(running.of(Started)) == 1


async def test_a_reset_of_all_connections_is_one_outage_and_each_is_replaced():
    async with echoing() as server:
        running = Soaking(server.number)
        await running.opened()
        server.prefix = b"v2: "
        server.reset_all()
        await running.opened(6)
        result = await running.stop()
    assert (result.breaks, result.causes) == (3, {"reset": 3})
    assert result.servers == {"v1:": 3, "v2:": 3}
    (outage,) = result.outages
    assert (outage.connections, outage.together) == (3, 3)
    assert (outage.before, outage.after) == ({"v1:": 3}, {"v2:": 3})
    first = {each.connection: each for each in running.of(Opened)[:3]}
    last = {each.connection: each for each in running.of(Opened)[3:]}
    for gap in result.gaps:
        assert (gap.local, gap.local_after) == (
            first[gap.connection].local,
            last[gap.connection].local,
        )
        assert gap.peer == gap.peer_after == f"127.0.0.1:{server.number}"
        assert (gap.end, gap.answered) == ("reset", True)
    assert result.reasons == ["3 gaps, in 3 of which the connection ended"]


async def test_connections_over_tls_are_replaced_and_what_they_owed_is_known(tmp_path):
    files, factory = Files(tmp_path), EchoFactory(log="quiet", prefix="v1 ")
    root = files.write("root.pem", files.root, key=False)
    async with serving(factory, files.listen) as (_, port):
        running = Soaking(f"tls:localhost:{port}:trustRoots={root}", connections=2)
        await running.opened(2)
        factory.abort_all()
        await running.opened(4)
        result = await running.stop()
    assert (result.breaks, result.servers) == (2, {"v1": 4})
    assert set(result.causes) <= {"reset", "fin", "tls"}
    assert result.messages["damaged"] == 0


async def test_a_certificate_that_is_not_trusted_is_said_in_words(tmp_path):
    files, factory = Files(tmp_path), EchoFactory(log="quiet")
    async with serving(factory, files.listen) as (_, port):
        running = Soaking(f"tls:localhost:{port}", connections=1)
        await running.wait_for(GapBegan)
        result = await running.stop()
    (gap,) = result.gaps
    assert gap.cause == "tls"
    assert "certificate verify failed" in gap.detail


async def test_a_unix_socket_has_no_gap_either(sockets):
    async with serving(EchoFactory(log="quiet"), f"unix:{sockets}/s") as path:
        running = Soaking(f"unix:{path}", connections=2)
        await running.opened(2)
        result = await running.stop()
    assert result.ok, result.reasons


async def test_a_fin_is_a_break():
    async with echoing() as server:
        running = Soaking(server.number, connections=1, max_breaks=1)
        await running.opened(1)
        server.finish_all()
        await running.opened(2)
        result = await running.stop()
    assert result.ok
    (gap,) = result.gaps
    assert (gap.cause, gap.end, gap.is_break) == ("fin", "fin", True)


async def test_a_silence_without_an_end_is_a_gap_and_no_break():
    async with echoing() as server:
        running = Soaking(server.number, connections=1, max_breaks=0)
        await running.opened(1)
        server.holds = True
        await running.wait_for(GapBegan)
        server.release()
        await running.wait_for(Gap)
        result = await running.stop()
    (gap,) = result.gaps
    assert (gap.cause, gap.end, gap.local_after) == ("silence", "", "")
    assert gap.seconds > 0.5
    assert result.ok
    assert result.messages["answered"] == result.messages["sent"]
    assert len(running.of(Opened)) == 1


async def test_a_silent_connection_is_given_up_and_what_it_owes_was_acknowledged():
    async with echoing() as server:
        running = Soaking(server.number, connections=1, timeout=0.7)
        await running.opened(1)
        server.holds = True
        await running.wait_for(GapBegan)
        await until(lambda: len(server.factory.open) == 0)
        server.release()
        await running.opened(2)
        result = await running.stop()
    (gap,) = result.gaps
    assert (gap.cause, gap.end) == ("silence", "timeout")
    assert gap.unanswered > 1
    assert gap.unanswered_bytes == 64 * gap.unanswered
    # The acknowledgement of the last ones may be on its way.
    assert gap.unanswered_bytes / 2 < gap.acknowledged <= gap.unanswered_bytes


async def test_a_reset_says_what_the_peer_had_acknowledged():
    async with echoing() as server:
        running = Soaking(server.number, connections=1)
        await running.opened(1)
        server.holds = True
        await until(lambda: len(server._held) > 3)
        server.reset_all()
        await until(lambda: running.of(GapBegan))
        server.release()
        await running.opened(2)
        result = await running.stop()
    (gap,) = result.gaps
    assert gap.cause == "reset"
    assert gap.unanswered > 3
    assert 3 * 64 < gap.acknowledged <= gap.unanswered_bytes


async def test_what_a_full_next_hop_has_not_taken_is_not_acknowledged():
    size = 1 << 20
    async with echoing() as server:
        running = Soaking(server.number, connections=1, size=size, timeout=0.7, interval=0.1)
        await running.opened(1)
        server.stop_reading()
        await running.opened(2)
        result = await running.stop()
    gap = result.gaps[0]
    assert gap.unanswered_bytes == size * gap.unanswered
    assert 0 < gap.acknowledged < gap.unanswered_bytes


async def test_wrong_bytes_end_a_connection_and_fail_whatever_the_limits():
    async with serving(EchoFactory(log="quiet", prefix="")) as address:
        relay = Relay(reactor, [address], FaultSpec(flip=640 + 20))
        port = relay.listen()
        running = Soaking(port, connections=1, max_breaks=99, max_gap=60)
        await running.wait_for(Gap)
        result = await running.stop()
        await within(relay.stop())
    gap = running.of(Gap)[0]
    assert (gap.cause, gap.end) == ("mismatch", "mismatch")
    assert "changed at byte" in gap.detail
    assert not result.ok
    assert result.reasons[0].endswith(("damaged reply", "damaged replies"))


async def test_a_server_that_is_not_there_yet_is_waited_for():
    async with echoing(listening=False) as server:
        running = Soaking(server.number)
        await running.wait_for(GapBegan, 3)
        server.listen()
        await running.opened()
        result = await running.stop()
    assert result.causes == {"refused": 3}
    assert result.breaks == 0
    assert result.failures["refused"] >= 3
    assert {gap.since_answer for gap in result.gaps} == {None}


async def test_a_server_that_stays_away_is_not_answered_at_the_end():
    async with echoing() as server:
        running = Soaking(server.number, connections=2, max_gap=60, max_breaks=9)
        await running.opened(2)
        await server.stop_listening()
        server.reset_all()
        await running.wait_for(GapBegan, 2)
        result = await running.stop()
    assert result.reasons == ["2 connections not answered at the end"]
    assert {gap.answered for gap in result.gaps} == {False}
    (outage,) = result.outages
    assert outage.after == {}


async def test_what_comes_from_another_server_is_shown():
    async with echoing() as server:
        server.refusal = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        running = Soaking(server.number, connections=1)
        await running.wait_for(GapBegan)
        result = await running.stop()
    (gap,) = result.gaps
    assert gap.cause == "fin"
    assert "HTTP/1.1 400" in gap.detail
    assert "likely: " in gap.detail
    assert "nothing was answered" in result.reasons


async def test_a_prefix_that_cannot_be_verified_ends_the_soak_with_advice():
    async with serving(EchoFactory(log="quiet", prefix="{message}: ")) as (_, port):
        running = Soaking(port)
        with pytest.raises(SoakError, match="--prefix"):
            await within(running.ended)


async def test_it_ends_after_its_duration():
    async with echoing() as server:
        endpoint = f"tcp:127.0.0.1:{server.number}"
        result = await within(Deferred.fromCoroutine(soak(endpoint, duration=0.3, interval=0.05)))
        assert result.ok, result.reasons
        assert result.complete
        assert result.seconds >= 0.3
        await until(lambda: not server.factory.open)


async def test_it_can_be_cancelled_and_leaves_nothing_open():
    async with echoing() as server:
        running = Soaking(server.number)
        await running.opened()
        running.ended.addErrback(lambda _: None)
        running.ended.cancel()
        await within(running.ended)
        await until(lambda: not server.factory.open)


async def test_a_soak_on_asyncio_gives_the_same():
    import asyncio

    from echosvc import soak_async

    async with echoing() as server:
        endpoint = f"tcp:127.0.0.1:{server.number}"
        asked = soak_async(endpoint, duration=0.2, interval=0.05, connections=2)
        result = await in_thread(asyncio.run, asked)
    assert result.ok
    assert list(result.servers) == ["v1:"]


async def test_settings_are_checked_before_anything_is_opened():
    for wrong, word in (
        ({}, "duration"),
        ({"duration": 1.0, "interval": 0.0}, "interval"),
        ({"duration": 1.0, "color": "red"}, "color"),
        ({"duration": 1.0, "prefix": 3}, "prefix"),
    ):
        with pytest.raises(SoakSettingsError, match=word):
            await soak("tcp:127.0.0.1:1", **wrong)


async def test_outages_are_told_as_they_end():
    async with echoing() as server:
        running = Soaking(server.number)
        await running.opened()
        server.reset_all()
        await running.wait_for(Outage)
        assert len(running.of(Gap)) == 3
        await running.stop()
