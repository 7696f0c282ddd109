"""Each message is counted once, under what became of it, however the stream is cut into reads."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from echosvc.probe.traffic.exchange import ABANDONED, CLOSED, Exchange
from echosvc.probe.traffic.messages import STAMP_SIZE, Messages, Ring
from echosvc.probe.traffic.schedule import ClosedLoop, OpenLoop, Schedule
from tests.unit.probe.traffic.model import CUTS, DAMAGES, MODELS, SERVERS, Damage, Model, cut

QUICK = settings(deadline=None, max_examples=40)


def replies(model: Model, reads: list[int]) -> list[bytes]:
    """What the server answers to what is due: to each message, or to each of its reads."""
    sent = model.exchange.due(1.0)
    pieces = cut(sent, reads) if model.framing == "chunk" else model.requests(sent)
    return [model.reply(piece) for piece in pieces]


@given(MODELS, st.integers(1, 12), st.integers(0, 100), CUTS, CUTS)
@QUICK
def test_a_clean_path_answers_everything(server, depth, more, reads, cuts):
    model = Model(*server, more=more, depth=depth)
    for turn in range(1, 4):
        stream = b"".join(replies(model, reads))
        assert model.receive(stream, cuts) == depth
        assert model.exchange.owed == 0
        assert model.tally.answered == turn * depth
    assert model.end() == {"sent": 3 * depth, "answered": 3 * depth}
    assert model.tally.ok


@given(MODELS, st.integers(1, 12), st.lists(DAMAGES, min_size=1, max_size=3), CUTS, CUTS, CUTS)
@example(("chunk", "{hostname} says: "), 7, [Damage("lost", 2000, 1)], [2], [], [])
@settings(deadline=None, max_examples=20)
def test_any_cut_of_any_stream_gives_the_same_tally(server, depth, damages, reads, one, other):
    tallies = []
    for cuts in (one, other, range(5000)):
        model = Model(*server, depth=depth)
        for turn in range(2):
            stream = b"".join(replies(model, reads))
            if turn == 0:
                for damage in damages:
                    stream = damage.do(stream)
            model.receive(stream, cuts)
        model.end()  # which asserts that each message was counted once
        tallies.append(model.tally)
    assert tallies[0] == tallies[1] == tallies[2]


FAULTS = {
    "lost": lambda reply, after: [after],
    "duplicated": lambda reply, after: [reply, reply, after],
    "reordered": lambda reply, after: [after, reply],
    "damaged": lambda reply, after: [flipped(reply, 30), after],
}


def flipped(reply: bytes, place: int) -> bytes:
    return reply[:place] + bytes((reply[place] ^ 0x80,)) + reply[place + 1 :]


@given(st.sampled_from(sorted(FAULTS)), MODELS, st.integers(0, 8), CUTS)
@settings(deadline=None, max_examples=60)
def test_each_fault_of_a_message_is_counted_once_under_its_kind(kind, server, place, cuts):
    model = Model(*server, depth=10)
    each = [model.reply(request) for request in model.requests(model.exchange.due(1.0))]
    each[place : place + 2] = FAULTS[kind](each[place], each[place + 1])
    model.receive(b"".join(each), cuts)
    expected = {"sent": 10, kind: 1, "answered": 10 - (kind in ("lost", "damaged"))}
    assert model.end() == expected
    assert model.tally.errors == {"mismatch": 1}
    assert not model.tally.ok


@given(MODELS, st.booleans(), CUTS)
@QUICK
def test_a_lost_message_beside_a_damaged_one_is_told_apart(server, lost_first, cuts):
    model = Model(*server, depth=6)
    each = [model.reply(request) for request in model.requests(model.exchange.due(1.0))]
    lost, damaged = (1, 2) if lost_first else (2, 1)
    each[damaged] = flipped(each[damaged], len(each[damaged]) - 9)
    del each[lost]
    model.receive(b"".join(each), cuts)
    assert model.end() == {"sent": 6, "answered": 4, "lost": 1, "damaged": 1}


# -- faults of a relay, at any byte -------------------------------------------

#: Servers whose prefix is known byte for byte.
CONSTANT = st.sampled_from([server for server in SERVERS if "{" not in server[1]])
#: Servers of which no byte may be missing unnoticed: where a prefix may come anywhere, it may also
#: be missing.
WITHOUT_OPTIONAL = st.sampled_from(
    [each for each in SERVERS if "{" not in each[1] and (each[0] != "chunk" or not each[1])]
)


def whole_replies(model: Model) -> list[bytes]:
    return [model.reply(request) for request in model.requests(model.exchange.due(1.0))]


@given(CONSTANT, st.integers(0, 2000), st.integers(1, 255), CUTS)
@QUICK
def test_a_changed_byte_damages_one_message(server, place, byte, cuts):
    model = Model(*server, depth=8)
    stream = b"".join(whole_replies(model))
    changed = Damage("flipped", place % len(stream), 1, byte).do(stream)
    model.receive(changed, cuts)
    assert model.end() == {"sent": 8, "answered": 7, "damaged": 1}


@given(CONSTANT, st.integers(0, 2000), st.integers(1, 300), CUTS)
@example(("length", "Sending: "), 245, 289, [])  # what is due ends inside the next key
@example(("length", "Sending: "), 245, 285, [616])  # and inside the number behind it
@QUICK
def test_inserted_bytes_damage_one_message(server, place, size, cuts):
    model = Model(*server, depth=8)
    stream = b"".join(whole_replies(model))
    inserted = Damage("inserted", place % len(stream), size).do(stream)
    model.receive(inserted, cuts)
    counted = model.end()
    counted.pop("unexpected_bytes", None)
    assert counted == {"sent": 8, "answered": 7, "damaged": 1}


@given(WITHOUT_OPTIONAL, st.integers(0, 2000), st.integers(1, 200), CUTS)
@QUICK
def test_each_message_that_lost_bytes_is_lost_or_damaged(server, place, size, cuts):
    model = Model(*server, depth=8)
    each = whole_replies(model)
    stream, length = b"".join(each), len(each[0])
    start = place % (len(stream) - length)
    end = min(start + size, len(stream) - length)  # the last one stays
    if end == start:
        return
    model.receive(stream[:start] + stream[end:], cuts)
    counted = model.end()
    touched = (end - 1) // length - start // length + 1
    # The first bytes of two messages are the same, so that one more may be whole.
    assert counted.get("lost", 0) + counted.get("damaged", 0) in (touched, touched - 1)
    assert counted.keys() <= {"sent", "answered", "lost", "damaged"}


@given(CONSTANT, st.integers(0, 2000), st.integers(1, 60), CUTS)
@example(("chunk", "aXa"), 406, 58, [])
@QUICK
def test_a_piece_that_is_repeated_is_counted_once(server, place, size, cuts):
    model = Model(*server, depth=8)
    stream = b"".join(whole_replies(model))
    start = place % (len(stream) - size)
    model.receive(Damage("duplicated", start, size).do(stream), cuts)
    counted = model.end()
    faults = {kind: counted.get(kind, 0) for kind in ("duplicated", "damaged", "lost", "reordered")}
    assert sum(faults.values()) == 1, faults
    assert counted["answered"] == 8 - faults["damaged"]


# -- one after the other ------------------------------------------------------


@given(CONSTANT, st.lists(st.integers(-1, 80), min_size=1, max_size=10), CUTS)
@QUICK
def test_a_closed_loop_goes_on_after_a_damaged_reply(server, places, cuts):
    model = Model(*server, depth=1)
    wrong = 0
    for place in places:
        (reply,) = whole_replies(model)
        if place >= 0:
            reply, wrong = flipped(reply, place % len(reply)), wrong + 1
        model.receive(reply, cuts)
        assert model.exchange.owed == 0
    good = {"answered": len(places) - wrong} if wrong < len(places) else {}
    bad = {"damaged": wrong} if wrong else {}
    assert model.end() == {"sent": len(places), **good, **bad}


@given(CONSTANT, st.integers(17, 60), st.integers(1, 90), CUTS)
@QUICK
def test_what_is_too_much_in_the_last_reply_is_no_fault_of_the_next(server, place, size, cuts):
    model = Model(*server, depth=1)
    (first,) = whole_replies(model)
    at = len(first) - 64 + place
    model.receive(first[:at] + b"?" * size + first[at:], cuts)
    (second,) = whole_replies(model)
    model.receive(second, cuts)
    assert model.end() == {"sent": 2, "answered": 1, "damaged": 1}


@given(CONSTANT, CUTS)
@QUICK
def test_a_reply_that_comes_again_after_all_is_answered_is_duplicated(server, cuts):
    model = Model(*server, depth=1)
    (first,) = whole_replies(model)
    model.receive(first + first, cuts)
    (second,) = whole_replies(model)
    model.receive(second, cuts)
    assert model.end() == {"sent": 2, "answered": 2, "duplicated": 1}


def test_the_second_half_of_a_repeated_reply_may_come_after_the_next_message_was_sent():
    model = Model("chunk", "", depth=1)
    (first,) = whole_replies(model)
    model.receive(first + first[:30], [])
    (second,) = whole_replies(model)
    model.receive(first[30:] + second, [])
    assert model.end() == {"sent": 2, "answered": 2, "duplicated": 1}


@given(CUTS)
@QUICK
def test_a_piece_that_is_repeated_before_the_next_message_is_no_fault_of_that(cuts):
    model = Model("chunk", "", depth=1)
    (first,) = whole_replies(model)
    model.receive(first + first[4:], [])
    (second,) = whole_replies(model)
    model.receive(second, cuts)
    assert model.end() == {"sent": 2, "answered": 2, "duplicated": 1}


@given(CUTS)
@QUICK
def test_a_damaged_line_feed_damages_one_message_though_the_next_has_no_prefix(cuts):
    model = Model("line", "Sending: ", depth=4)
    one, two, three, four = model.requests(model.exchange.due(1.0))
    joined = flipped(one, len(one) - 1) + two
    model.receive(b"".join(map(model.reply, (joined, three, four))), cuts)
    assert model.end() == {"sent": 4, "answered": 3, "damaged": 1}


@given(st.sampled_from([each for each in SERVERS if "{message}" in each[1]]), CUTS)
@QUICK
def test_a_closed_loop_goes_on_where_prefixes_become_longer(server, cuts):
    model = Model(*server, depth=1)
    for number in range(15):
        (reply,) = whole_replies(model)
        model.receive(flipped(reply, len(reply) - 3) if number == 12 else reply, cuts)
        assert model.exchange.owed == 0
    assert model.end() == {"sent": 15, "answered": 14, "damaged": 1}


@given(CONSTANT, st.integers(64, 400), CUTS)
@QUICK
def test_more_bytes_than_a_reply_before_it_damage_one_message(server, size, cuts):
    model = Model(*server, depth=2)
    first, second = whole_replies(model)
    model.receive(first + b"." * size + second, cuts)
    counted = model.end()
    assert (counted["answered"], counted["damaged"]) == (1, 1)


def test_bytes_before_anything_was_sent_are_unexpected():
    model = Model("line", "Sending: ", depth=1)
    model.receive(b"hello, this is no greeting", [])
    (reply,) = whole_replies(model)
    model.receive(reply, [])
    counted = model.end()
    assert counted["damaged"] == 1
    assert not model.tally.ok


def test_bytes_after_the_last_reply_are_unexpected():
    model = Model("chunk", "Sending: ", depth=1)
    model.receive(b"".join(whole_replies(model)) + b"bye", [])
    assert model.end() == {"sent": 1, "answered": 1, "unexpected_bytes": 3}


def test_a_prefix_that_is_missing_damages_the_message():
    model = Model("chunk", "Sending: ", depth=1)
    (reply,) = whole_replies(model)
    model.receive(reply.removeprefix(b"Sending: "), [])
    assert model.end() == {"sent": 1, "damaged": 1}


def test_a_prefix_that_came_twice_damages_the_message():
    model = Model("chunk", "Sending: ", depth=1)
    (reply,) = whole_replies(model)
    model.receive(b"Sending: " + reply, [])
    assert model.end()["damaged"] == 1


# -- who answered -------------------------------------------------------------


@given(st.sampled_from(["chunk", "line", "length"]), CUTS)
@QUICK
def test_the_fields_of_a_prefix_are_found_in_the_first_reply(framing, cuts):
    model = Model(framing, "{hostname} to {peer}: ", depth=3)
    assert model.exchange.prefix == b""
    model.receive(b"".join(whole_replies(model)), cuts)
    assert model.exchange.prefix == b"web-3 to 192.0.2.7:4242: "
    assert model.end() == {"sent": 3, "answered": 3}


def test_another_prefix_than_was_asked_for_is_a_mismatch():
    model = Model("line", "{hostname} says: ", depth=2)
    each = [reply.replace(b" says", b" sold") for reply in whole_replies(model)]
    model.receive(b"".join(each), [])
    assert model.exchange.owed == 0
    assert model.end()["damaged"] == 2
    assert model.tally.errors == {"mismatch": 1}


def test_a_first_reply_whose_stamp_is_damaged_is_damaged():
    model = Model("chunk", "{hostname} says: ", depth=1)
    (reply,) = whole_replies(model)
    model.receive(flipped(reply, len("web-3 says: ") + 2), [])
    assert model.end()["damaged"] == 1


# -- ends ---------------------------------------------------------------------


@given(MODELS, st.integers(0, 5), CUTS)
@QUICK
def test_what_is_not_answered_when_the_connection_ends_is_lost(server, answered, cuts):
    model = Model(*server, depth=5)
    each = whole_replies(model)
    model.receive(b"".join(each[:answered]), cuts)
    assert model.exchange.owed == 5 - answered
    counted, left = model.end("reset"), 5 - answered
    assert counted.get("lost", 0) == counted.get("unanswered", 0) == left
    assert model.tally.errors == {"reset": 1}


@given(MODELS, st.integers(1, 63), CUTS)
@QUICK
def test_a_reply_that_is_cut_off_is_lost(server, size, cuts):
    model = Model(*server, depth=2)
    first, second = whole_replies(model)
    model.receive(first + second[:size], cuts)
    assert model.end("fin") == {"sent": 2, "answered": 1, "lost": 1, "unanswered": 1}


def test_messages_in_flight_are_abandoned_when_this_side_gives_up():
    model = Model("chunk", "", depth=3)
    model.receive(whole_replies(model)[0], [])
    assert model.end(ABANDONED) == {"sent": 3, "answered": 1, "abandoned": 2}
    assert model.tally.ok


def test_an_orderly_end_is_no_error():
    model = Model("chunk", "")
    assert model.end(CLOSED) == {}
    assert model.tally.ok


# -- times --------------------------------------------------------------------


def test_latency_counts_from_the_intended_time_and_from_the_sent_one():
    model = Model("chunk", "")
    pace = OpenLoop(Schedule.at_rate(10), start=100.0)
    exchange = Exchange(model.messages, model.format, pace, model.tally)
    assert exchange.next_time == 100.0
    sent = exchange.due(100.35)  # four are due
    answers = exchange.received(sent, 100.4)
    assert [answer.number for answer in answers] == [0, 1, 2, 3]
    assert [answer.intended for answer in answers] == pytest.approx([100.0, 100.1, 100.2, 100.3])
    assert model.tally.corrected.largest == 400_000
    assert model.tally.uncorrected.largest == 50_000
    assert model.tally.uncorrected.total == 1  # the others were sent behind it
    assert model.tally.send_lag.largest == 350_000
    assert model.tally.first_byte.largest == 50_000


def test_an_answer_after_its_deadline_is_late():
    model = Model("chunk", "", depth=2)
    exchange = Exchange(model.messages, model.format, ClosedLoop(2), model.tally, deadline=5.0)
    sent = exchange.due(1.0)
    exchange.received(sent[:64], 6.0)
    exchange.received(sent[64:], 6.1)
    exchange.ended(CLOSED, 7.0)
    assert (model.tally.answered, model.tally.late) == (2, 1)
    assert not model.tally.ok


def test_a_time_without_an_answer_is_a_gap():
    model = Model("chunk", "")
    exchange = Exchange(model.messages, model.format, ClosedLoop(2), model.tally, max_gap=1.0)
    sent = exchange.due(10.0)
    assert exchange.silent_since == 10.0
    exchange.received(sent[:64], 10.5)
    assert exchange.silent_since == 10.5
    exchange.received(sent[64:], 12.5)
    assert exchange.silent_since == math.inf
    exchange.received(exchange.due(50.0), 50.1)  # a rest is no gap
    (gap,) = model.tally.gaps.best
    assert (gap.began, gap.seconds, gap.cause, gap.last) == (10.5, 2.0, "silence", 0)


def test_a_long_queue_is_sent_in_parts():
    model = Model("chunk", "", depth=5000)
    parts = iter(lambda: model.exchange.due(1.0), b"")
    assert [len(part) for part in parts] == [65536] * 4 + [5000 * 64 - 4 * 65536]


# -- bounds -------------------------------------------------------------------


def test_a_stream_of_nothing_but_garbage_is_bounded():
    model = Model("chunk", "Sending: ", depth=1000)
    model.exchange.due(1.0)
    for _ in range(40):
        model.exchange.received(b"garbage " * 8192, 2.0)
    counted = model.end()
    assert counted["damaged"] == 1000
    assert counted["unexpected_bytes"] > 2_000_000


def test_nothing_but_stamps_of_long_messages_does_not_cost_a_long_message_each():
    model = Model("chunk", "", depth=4)
    messages = Messages(Ring(9, 4 << 20), 4, 4 << 20)
    exchange = Exchange(messages, model.format, ClosedLoop(4), model.tally)
    while exchange.due(1.0):
        pass
    stamps = messages.make(0)[:STAMP_SIZE] * 4096
    began = time.process_time()
    exchange.received(b"?" + stamps, 2.0)
    assert time.process_time() - began < 1.0  # it took a minute


def test_long_messages_are_verified_too():
    model = Model("chunk", "Sending: ", depth=3)
    ring = Ring(9, 1 << 20, model.format.excluded)
    messages = Messages(ring, 4, 1 << 20)
    exchange = Exchange(messages, model.format, ClosedLoop(3), model.tally)
    sent = b"".join(iter(lambda: exchange.due(1.0), b""))
    stream = b"".join(b"Sending: " + read for read in cut(sent, range(0, 3 << 20, 61440)))
    for read in cut(flipped(stream, (1 << 20) + 5000), range(0, 4 << 20, 65536)):
        exchange.received(read, 2.0)
    exchange.ended(CLOSED, 3.0)
    assert (model.tally.answered, model.tally.damaged, model.tally.owed) == (2, 1, 0)
