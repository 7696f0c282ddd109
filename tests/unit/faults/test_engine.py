"""What each fault makes of a connection: the exact byte, the exact time, the exact end."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from echosvc.faults.engine import LIMIT, WINDOW
from echosvc.faults.kind import DOWN, UP
from echosvc.faults.spec import FaultSpec
from tests.support.faults import Wire, specs

STREAM = bytes(range(10))
OTHER = {UP: DOWN, DOWN: UP}
#: A damage of :data:`STREAM`, and what is left of it.
DAMAGES: tuple[tuple[str, bytes], ...] = (
    ("none", STREAM),
    ("drop=3,at=2", STREAM[:2] + STREAM[5:]),
    ("drop=30,at=8", STREAM[:8]),
    ("repeat=3,at=2", STREAM[:5] + STREAM[2:]),
    ("swap=3,at=2", STREAM[:2] + STREAM[5:8] + STREAM[2:5] + STREAM[8:]),
    ("swap=8", STREAM),
    ("change=1,at=4", STREAM[:4] + bytes([STREAM[4] ^ 1]) + STREAM[5:]),
    ("change=2,at=9", STREAM[:9] + bytes([STREAM[9] ^ 1])),
    ("insert=new,at=4", STREAM[:4] + b"new" + STREAM[4:]),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(each for each in places if each < len(data)), len(data)]
    return [data[low:high] for low, high in pairwise(edges) if low < high]


places = st.lists(st.integers(0, len(STREAM)), max_size=6)


@given(st.sampled_from(DAMAGES), places, st.sampled_from((UP, DOWN)))
def test_damage_is_the_same_however_the_stream_comes(
    damage: tuple[str, bytes], at: list[int], direction: str
) -> None:
    text, expected = damage
    spec = FaultSpec(text) if text == "none" else FaultSpec(text, direction=direction)
    wire = Wire(spec)
    for piece in cut(STREAM, at):
        wire.send(piece, direction=direction)
        wire.send(piece, direction=OTHER[direction])
    wire.finish(direction=direction)
    wire.run(0.0)
    assert wire.bytes(direction) == expected
    assert wire.bytes(OTHER[direction]) == STREAM
    assert wire.ends(direction) == [(0.0, "fin")]


def test_offsets_count_what_the_faults_before_have_left() -> None:
    wire = Wire("drop=2", "insert=x,at=2", "close,at=4")
    wire.send(STREAM)
    wire.run(0.0)
    assert wire.bytes() == STREAM[2:4] + b"x" + STREAM[4:5]
    assert wire.ends() == [(0.0, "close")]


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_latency_delays_bytes_and_ends_of_its_direction_alone(direction: str) -> None:
    wire = Wire(FaultSpec("latency=2s", direction=direction))
    for time, data in ((1.0, b"a"), (1.5, b"b")):
        for each in (UP, DOWN):
            wire.send(data, time, each)
    wire.finish(1.5, UP)
    wire.reset(1.5, DOWN)
    wire.run(10.0)
    end = {UP: "fin", DOWN: "break"}
    for each in (UP, DOWN):
        late = 2.0 if each == direction else 0.0
        assert wire.left[each] == [
            (1.0 + late, "send", b"a"), (1.5 + late, "send", b"b"), (1.5 + late, end[each], b"")
        ]  # fmt: skip


def test_jitter_varies_the_latency_within_its_limits_and_keeps_the_order() -> None:
    wire = Wire("latency=100ms,jitter=50ms")
    sent = [number * 0.01 for number in range(300)]
    for time in sent:
        wire.send(b"x", time)
    wire.run(10.0)
    left = [time for time, _, _ in wire.left[DOWN]]
    delays = [after - before for before, after in zip(sent, left, strict=True)]
    assert left == sorted(left)
    assert 0.05 <= min(delays) < 0.07
    assert 0.13 < max(delays) <= 0.15 + 1e-9


def test_jitter_never_makes_a_byte_arrive_before_it_was_sent() -> None:
    wire = Wire("latency=1ms,jitter=1s")
    for number in range(100):
        wire.send(b"x", number * 3.0)
    wire.run(1000.0)
    assert all(time % 3 <= 1.001 for time, _, _ in wire.left[DOWN])


@pytest.mark.parametrize("rate", [1, 7, 1000, 65536])
def test_a_rate_lets_each_byte_pass_when_the_link_has_sent_it(rate: int) -> None:
    wire = Wire(FaultSpec("rate", bytes=rate))
    size = min(3 * rate, 4000)
    wire.send(bytes(size // 2), 5.0)
    wire.send(bytes(size - size // 2), 5.0)
    wire.finish(5.0)
    wire.run(100.0)
    passed = 0
    for time, action, data in wire.left[DOWN]:
        passed += len(data)
        assert time == pytest.approx(5.0 + passed / rate), action
        assert len(data) <= max(1, rate // 100)
    assert passed == size
    assert wire.left[DOWN][-1][1] == "fin"


def test_a_link_that_was_idle_saves_nothing_up() -> None:
    wire = Wire("rate=10")
    wire.send(bytes(10), 0.0)
    wire.send(bytes(10), 50.0)
    wire.run(100.0)
    times = [time for time, _, _ in wire.left[DOWN]]
    assert times[9] == pytest.approx(1.0)
    assert times[10:] == pytest.approx([50.0 + number / 10 for number in range(1, 11)])


def test_a_stall_holds_everything_from_its_offset_on_for_its_time() -> None:
    wire = Wire("stall=5s,at=3")
    wire.send(b"ab", 1.0)
    wire.send(b"cde", 2.0)
    wire.send(b"f", 4.0)
    wire.finish(4.0)
    wire.run(6.9)
    assert wire.left[DOWN] == [(1.0, "send", b"ab"), (2.0, "send", b"c")]
    wire.send(b"!", 6.9, UP)
    wire.run(8.0)
    assert wire.left[DOWN][2:] == [(7.0, "send", b"de"), (7.0, "send", b"f"), (7.0, "fin", b"")]
    assert wire.left[UP] == [(6.9, "send", b"!")]
    assert [(event.offset, event.direction) for event in wire.events] == [(3, DOWN)]


def test_a_stall_for_ever_never_ends_until_it_is_removed() -> None:
    wire = Wire("stall=forever,at=1")
    wire.send(STREAM, 1.0)
    wire.run(1e9)
    assert wire.left[DOWN] == [(1.0, "send", STREAM[:1])]
    wire.plan.remove("stall", 1e9)
    wire.send(b"more", 1e9 + 1)
    wire.run(1e9 + 1)
    assert wire.left[DOWN][1:] == [(1e9, "send", STREAM[1:]), (1e9 + 1, "send", b"more")]


def test_a_greeting_is_late_from_the_accept_on_and_only_then() -> None:
    wire = Wire("greeting=3s")
    wire.send(b"banner", 1.0)
    wire.send(b"now", 2.0, UP)
    wire.send(b"later", 4.0)
    wire.run(9.0)
    assert wire.left == {
        DOWN: [(3.0, "send", b"banner"), (4.0, "send", b"later")],
        UP: [(2.0, "send", b"now")],
    }


@given(places, st.integers(1, 12))
def test_segments_end_at_the_same_offsets_however_the_stream_comes(
    at: list[int], size: int
) -> None:
    wire = Wire(FaultSpec("segments", size=size))
    for piece in cut(STREAM, at):
        wire.send(piece)
    wire.run(0.0)
    assert wire.bytes() == STREAM
    ends = [0]
    for _, action, data in wire.left[DOWN]:
        assert action == "segment"
        assert len(data) <= size
        ends.append(ends[-1] + len(data))
    assert set(range(0, len(STREAM), size)) <= set(ends)


def test_segments_vary_within_their_limits_with_a_pause_between() -> None:
    wire = Wire("segments=10,variation=4,pause=100ms")
    wire.send(bytes(1000))
    wire.finish()
    wire.run(1000.0)
    *segments, last, end = wire.left[DOWN]
    sizes = {len(data) for _, _, data in segments}
    assert sizes == set(range(6, 15))
    times = [time for time, _, _ in segments]
    assert times == pytest.approx([number * 0.1 for number in range(len(times))])
    assert end[0] == last[0]


# -- ends ------------------------------------------------------------------------------------------

#: A fault, and how many bytes of :data:`STREAM` pass before its end.
ENDS = (("close,at=4", 4), ("close,at=0", 0), ("reset,at=10", 10), ("reset,at=1", 1))


@given(st.sampled_from(ENDS), places)
def test_an_end_at_an_offset_comes_as_soon_as_that_byte_has_passed(
    end: tuple[str, int], at: list[int]
) -> None:
    text, size = end
    wire = Wire(text)
    for number, piece in enumerate(cut(STREAM, at)):
        wire.send(piece, float(number))
    wire.run(20.0)
    assert wire.bytes() == STREAM[:size]
    ((time, action),) = wire.ends()
    assert action == text.partition(",")[0]
    assert time == (wire.left[DOWN][-2][0] if size else 0.0)


def test_a_stream_that_ends_before_the_offset_ends_by_itself() -> None:
    wire = Wire("reset,at=11")
    wire.send(STREAM)
    wire.finish()
    wire.run(0.0)
    assert (wire.bytes(), wire.ends(), wire.events) == (STREAM, [(0.0, "fin")], [])


def test_a_connection_ends_after_a_time_also_where_nothing_moves() -> None:
    wire = Wire("reset,after=3s")
    wire.run(2.9)
    assert wire.timers == []
    wire.run(9.0)
    assert wire.timers == [(3.0, "reset")]
    assert wire.kinds() == ["reset"]


REPLIES = b"one\ntwo22\nthree\n"
#: Where the connection ends, and what of the replies has passed.
AT_REPLIES = (
    ("close,messages=1,reply=before", b""),
    ("close,messages=2,reply=before", b"one\n"),
    ("close,messages=2,reply=middle", b"one\ntwo"),
    ("close,messages=2,reply=after", b"one\ntwo22\n"),
    ("reset,messages=3,reply=middle", b"one\ntwo22\nthr"),
    ("reset,messages=3,reply=after", REPLIES),
)


@given(st.sampled_from(AT_REPLIES), st.lists(st.integers(0, len(REPLIES)), max_size=6))
def test_an_end_at_a_reply_is_exact_however_the_replies_come(
    end: tuple[str, bytes], at: list[int]
) -> None:
    text, expected = end
    wire = Wire(text)
    for piece in cut(REPLIES, at):
        wire.send(piece)
    wire.run(0.0)
    assert wire.bytes() == expected
    assert wire.ends() == [(0.0, text.partition(",")[0])]


@given(st.lists(st.integers(0, len(REPLIES)), max_size=6))
def test_an_end_after_messages_counts_those_of_the_client(at: list[int]) -> None:
    wire = Wire("close,messages=2")
    for piece in cut(REPLIES, at):
        wire.send(piece, direction=UP)
    wire.run(0.0)
    assert wire.bytes(UP) == b"one\ntwo22\n"
    assert wire.ends(UP) == [(0.0, "close")]


def test_the_middle_of_a_reply_without_an_end_is_half_of_what_may_be_held() -> None:
    wire = Wire("close,messages=1,reply=middle")
    for _ in range(20):
        wire.send(bytes(10_000))
    wire.run(0.0)
    assert (len(wire.bytes()), wire.ends()) == (1 << 15, [(0.0, "close")])


@pytest.mark.parametrize(
    ("end", "action"), [("fin", "close"), ("reset", "reset"), ("silence", "silence")]
)
def test_an_idle_connection_ends_after_the_last_byte_of_either_direction(
    end: str, action: str
) -> None:
    wire = Wire(FaultSpec("idle=2s", end=end))
    wire.send(b"x", 1.0, UP)
    wire.send(b"x", 2.5, DOWN)
    wire.run(4.4)
    assert wire.timers == []
    wire.run(10.0)
    assert wire.timers == [(4.5, action)]


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        ("fin=close", [(1.0, "close")]),
        ("fin=reset", [(1.0, "reset")]),
        ("fin=drop", []),
        ("fin=late,time=2s", [(3.0, "fin")]),
        ("none", [(1.0, "fin")]),
    ],
)
def test_a_fin_becomes_what_the_fault_says(fault: str, ends: list[tuple[float, str]]) -> None:
    wire = Wire(fault)
    wire.send(STREAM, 1.0, UP)
    wire.finish(1.0, UP)
    wire.reset(1.0, DOWN)
    wire.run(9.0)
    assert (wire.bytes(UP), wire.ends(UP), wire.ends(DOWN)) == (STREAM, ends, [(1.0, "break")])


@pytest.mark.parametrize(
    ("fault", "ends"), [("rst=fin", ["close"]), ("rst=drop", []), ("none", ["break"])]
)
def test_a_reset_becomes_what_the_fault_says(fault: str, ends: list[str]) -> None:
    wire = Wire(fault)
    wire.reset(1.0, UP)
    wire.finish(1.0, DOWN)
    wire.run(9.0)
    assert [action for _, action in wire.ends(UP)] == ends
    assert wire.ends(DOWN) == [(1.0, "fin")]


def test_what_comes_behind_an_end_is_dropped() -> None:
    wire = Wire("close,at=1")
    wire.send(STREAM)
    wire.send(STREAM)
    wire.finish()
    wire.run(1.0)
    assert wire.left[DOWN] == [(0.0, "send", STREAM[:1]), (0.0, "close", b"")]
    assert wire.connection.down.queued == 0


def test_a_reset_may_follow_a_fin_and_nothing_else() -> None:
    wire = Wire("latency=1s")
    wire.finish(1.0)
    wire.send(b"late", 1.5)
    wire.finish(1.5)
    wire.reset(2.0)
    wire.reset(2.0)
    wire.run(9.0)
    assert wire.left[DOWN] == [(2.0, "fin", b""), (3.0, "break", b"")]


@pytest.mark.parametrize("how", ["close", "reset", "silence"])
def test_a_connection_may_end_before_it_is_relayed(how: str) -> None:
    assert Wire(f"accept={how},connection=1").connection.instead == how
    assert Wire(f"accept={how},connection=2").connection.instead == ""


# -- what holds for all ----------------------------------------------------------------------------

pieces = st.lists(st.tuples(st.floats(0, 2), st.binary(min_size=1, max_size=300)), max_size=10)
HARMLESS = ("latency", "rate", "segments", "greeting", "buffer")


@given(st.lists(specs(HARMLESS), max_size=4), pieces)
def test_harmless_faults_pass_every_byte_in_order(faults: list[FaultSpec], sent: list) -> None:
    assume(all(fault.values.get("time") != math.inf for fault in faults))
    wire, now = Wire(*faults), 0.0
    for pause, data in sent:
        now += pause
        wire.send(data, now)
    wire.finish(now)
    wire.run(1e9)
    assert wire.bytes() == b"".join(data for _, data in sent)
    assert [action for _, action in wire.ends()] == ["fin"]


@given(st.lists(specs(), max_size=4), pieces, st.integers(0, 3))
def test_a_seed_repeats_what_happens_and_when(
    faults: list[FaultSpec], sent: list, seed: int
) -> None:
    def run() -> Wire:
        wire, now = Wire(*faults, seed=seed), 0.0
        for pause, data in sent:
            now += pause
            for direction in (UP, DOWN):
                wire.send(data, now, direction)
        wire.finish(now)
        wire.run(now + 100.0)
        return wire

    first, second = run(), run()
    assert first.left == second.left
    assert first.events == second.events
    assert first.timers == second.timers


def test_another_seed_draws_other_numbers() -> None:
    def times(seed: int) -> list[tuple[float, str, bytes]]:
        wire = Wire("latency=1s,jitter=500ms", seed=seed)
        wire.send(b"x")
        wire.run(2.0)
        return wire.left[DOWN]

    assert times(1) == times(1) != times(2)


@pytest.mark.parametrize(
    ("faults", "limit"),
    [
        ((), LIMIT),
        (("drop=1",), LIMIT),
        (("latency=1s",), WINDOW),
        (("rate=1000",), 4096),
        (("rate=100k",), 51200),
        (("rate=100k", "latency=2s"), 256000),
        (("rate=1k", "rate=1M"), 4096),
        (("buffer=1G",), 1 << 30),
        (("buffer=1k",), LIMIT),
        (("latency=1s,direction=up",), LIMIT),
    ],
)
def test_a_direction_holds_only_what_its_faults_need(faults: tuple[str, ...], limit: int) -> None:
    down = Wire(*faults).connection.down
    assert down.limit == limit


def test_a_full_direction_says_so_until_it_has_left() -> None:
    wire = Wire("latency=1s,direction=up")
    down = wire.connection.down
    while not down.is_full:
        wire.connection.received(down, bytes(1000), 0.0)
    assert LIMIT < down.queued < LIMIT + 2000
    wire.run(0.0)
    assert (down.is_full, down.queued) == (False, 0)
