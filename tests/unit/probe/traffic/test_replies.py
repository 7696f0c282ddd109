"""Prefixes are cut out of a stream wherever they are, and heads are found before messages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echosvc.probe.traffic.replies import PrefixBinder, PrefixSplitter, ReplyFormat
from echosvc.wire.template import Template
from tests.unit.probe.traffic.model import CUTS, cut

PREFIXES = st.sampled_from(["Sending: ", "aXa", "aa", "#{message}> ", "{message}", "n{message}"])


def splitter(prefix: str) -> tuple[PrefixSplitter, ReplyFormat]:
    replies = ReplyFormat("chunk", Template.parse(prefix))
    return PrefixSplitter(replies), replies


PIECES = st.lists(
    st.tuples(st.integers(0, 10**12), st.binary(min_size=1, max_size=9)), min_size=1, max_size=9
)


@given(PREFIXES, PIECES, CUTS)
@settings(deadline=None)
def test_what_is_between_prefixes_is_found_however_a_stream_is_cut(prefix, pieces, cuts):
    replies = splitter(prefix)[1]
    allowed = bytes(0xFF if byte in replies.excluded else byte for byte in range(256))
    pieces = [(number, piece.translate(allowed)) for number, piece in pieces]
    stream = b"".join(replies.template.render(number) + piece for number, piece in pieces)
    for places in (cuts, range(len(stream))):
        split, found = splitter(prefix)[0], [b""]
        for read in cut(stream, places):
            first, *rest = split.split(read)
            found[-1] += first
            found += rest
        assert found == [b"", *(piece for _, piece in pieces)]
        assert split.held == b""


def test_the_beginning_of_a_prefix_is_held_until_it_is_known_what_it_is():
    split, _ = splitter("Sending: ")
    assert split.split(b"xySend") == [b"xy"]
    assert split.held == b"Send"
    assert split.split(b"it") == [b"Sendit"]
    assert split.split(b"Sending: z") == [b"", b"z"]


@pytest.mark.parametrize(
    ("framing", "prefix", "reply", "start"),
    [
        ("line", "Sending: ", b"Sending: hello\n", 9),
        ("line", "{message}: ", b"12: hello\n", 4),
        ("length", "", b"\0\0\0\x06hello\n", 4),
        ("length", "a ", b"\0\0\0\x08a hello\n", 6),
        ("length", "{message} ", b"\0\0\0\x0912 hello\n", 7),
    ],
)
def test_a_head_is_found_before_a_message(framing, prefix, reply, start):
    replies = ReplyFormat(framing, Template.parse(prefix))
    assert replies.head_before(b"junk" + reply, 4 + start, 6) == 4
    wrong = b"junk" + reply[: start - 1] + b"?" + reply[start:]
    assert replies.head_before(wrong, 4 + start, 6) is None
    if replies.varies:
        assert replies.find_head(reply, 0, 6) == start
        assert replies.find_head(reply[: start - 1], 0, 6) == -1
        assert replies.find_head(b"?" + reply, 0, 6) is None
    else:
        assert replies.reply(b"hello\n") == reply


def test_a_message_is_sent_behind_its_length_only_with_length_framing():
    literal = Template.parse("a ")
    assert ReplyFormat("length", literal).frame(b"hello") == b"\0\0\0\x05hello"
    assert ReplyFormat("line", literal).frame(b"hello\n") == b"hello\n"


def test_a_first_prefix_that_never_ends_is_given_up():
    replies = ReplyFormat("line", Template.parse("{hostname}: "))
    binder = PrefixBinder(replies, b"KEYKEYK")
    found = [binder.feed(b"x" * 1000) for _ in range(5)]
    assert found[:4] == [None] * 4
    assert found[4] is not None
    assert found[4].prefix == b"{hostname}: "
