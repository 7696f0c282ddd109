"""Each message is counted once, under what became of it, however the stream is cut into reads."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from echosvc.probe.traffic.exchange import ABANDONED, CLOSED
from echosvc.probe.traffic.schedule import ClosedLoop, OpenLoop, Schedule
from tests.unit.probe.traffic.model import CUTS, DAMAGES, MODELS, SERVERS, Model, cut

QUICK = settings(deadline=None, max_examples=60)


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
@settings(deadline=None, max_examples=40)
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
@settings(deadline=None, max_examples=100)
def test_each_fault_of_a_message_is_counted_once_under_its_kind(kind, server, place, cuts):
    model = Model(*server, depth=10)
    each = [model.reply(request) for request in model.requests(model.exchange.due(1.0))]
    each[place : place + 2] = FAULTS[kind](each[place], each[place + 1])
    model.receive(b"".join(each), cuts)
    expected = {"sent": 10, kind: 1, "answered": 10 - (kind in ("lost", "damaged"))}
    assert model.end() == expected
    assert model.tally.errors == {"mismatch": 1}
    assert not model.tally.ok
