"""What came back, though nobody said which prefix the server has."""

from __future__ import annotations

from itertools import pairwise
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc.wire.template import Template
from echosvc.wire.unknown_prefix import (
    AnyPrefixReplyMatcher,
    AnyPrefixStreamCounter,
    SubsequenceMatcher,
)
from tests.support.steps import steps

USUAL = Template.literal(b"Sending: ")
cuts = st.lists(st.integers(0, 200), max_size=6)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def returned(sent: bytes, came: bytes) -> int:
    """How much of what was sent stands in what came, in order."""
    count = 0
    for byte in came:
        count += sent[count : count + 1] == bytes((byte,))
    return count


class SubsequenceMatcherTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(st.text("ab", max_size=60), st.text("abc", max_size=200), cuts, cuts)
    def test_each_byte_is_waited_for_in_its_turn(
        self, sent: str, came: str, out: list[int], into: list[int]
    ) -> None:
        order = SubsequenceMatcher()
        for piece in cut(sent.encode(), out):
            order.send(piece)
        for piece in cut(came.encode(), into):
            order.feed(piece)
        self.assertEqual(order.returned, returned(sent.encode(), came.encode()))
        self.assertEqual(order.complete, order.returned == len(sent))

    @settings(deadline=None)
    @given(st.binary(max_size=200), cuts, st.binary(max_size=9), cuts)
    def test_whatever_stands_between_all_of_it_comes_back(
        self, sent: bytes, out: list[int], prefix: bytes, into: list[int]
    ) -> None:
        order = SubsequenceMatcher()
        order.send(sent)
        stream = b"".join(prefix + piece for piece in cut(sent, out))
        for piece in cut(stream, into):
            order.feed(piece)
        self.assertTrue(order.complete)

    def test_steps_are_in_proportion_to_what_came(self) -> None:
        def follow(size: int, every: int) -> None:
            order = SubsequenceMatcher()
            order.send(b"a" * size)
            for _ in range(0, size, every):
                order.feed(b"a" * every + b"b")
            self.assertTrue(order.complete)

        for every in (1, 100):
            many = steps(lambda: follow(16_000, every))  # noqa: B023
            self.assertLess(many, 5 * steps(lambda: follow(4000, every)))  # noqa: B023

    def test_what_is_under_way_is_kept_up_to_a_limit(self) -> None:
        order = SubsequenceMatcher()
        with mock.patch("echosvc.wire.unknown_prefix.MAX_KEPT", 1000):
            order.send(b"x" * 1000)
            self.assertTrue(order.sure)
            order.feed(b"x" * 500)
            order.send(b"x" * 501)
            self.assertFalse(order.sure)


class AnyPrefixReplyMatcherTests(SynchronousTestCase):
    def complete(self, message: bytes, *pieces: bytes) -> bool:
        answer = AnyPrefixReplyMatcher(USUAL, message)
        for piece in pieces:
            answer.feed(piece)
        return answer.complete

    def test_the_message_at_the_end_is_its_answer(self) -> None:
        for pieces in ((b"other: hi",), (b"oth", b"er: h", b"i"), (b"hi",), (b"Sending: hi",)):
            self.assertTrue(self.complete(b"hi", *pieces), pieces)
            self.assertFalse(self.complete(b"hi", *pieces[:-1], pieces[-1][:-1]), pieces)

    def test_behind_the_usual_prefix_it_may_be_cut(self) -> None:
        self.assertTrue(self.complete(b"More Axes", b"Sending: MoreSending:  Axes"))

    def test_a_beginning_of_the_usual_prefix_is_no_answer_yet(self) -> None:
        for size in range(1, 10):
            message = b"Sending: "[:size]
            self.assertFalse(self.complete(message, b"Sending: "[:size]))
            self.assertTrue(self.complete(message, b"Sending: " + message))

    def test_behind_the_usual_prefix_it_is_known_to_be_cut_short(self) -> None:
        for came, known in ((b"Sending: h", True), (b"Send", True), (b"oth", False), (b"h", False)):
            answer = AnyPrefixReplyMatcher(USUAL, b"hi")
            answer.feed(came)
            self.assertEqual(answer.truncated, known, came)

    def test_little_is_kept(self) -> None:
        answer = AnyPrefixReplyMatcher(USUAL, b"hi")
        for _ in range(100):
            answer.feed(b"x" * 1000)
        self.assertLess(len(answer._end), 3000)
        self.assertTrue(answer.feed(b"hi"))

    def test_an_empty_message_is_answered_already(self) -> None:
        self.assertTrue(AnyPrefixReplyMatcher(USUAL, b"").complete)


class AnyPrefixStreamCounterTests(SynchronousTestCase):
    def tally(self, sent: bytes, *pieces: bytes) -> AnyPrefixStreamCounter:
        tally = AnyPrefixStreamCounter(USUAL)
        tally.send(sent)
        for piece in pieces:
            tally.feed(piece)
        return tally

    def test_all_that_comes_back_behind_any_prefix_is_complete(self) -> None:
        for prefix in (b"Sending: ", b"other: ", b"", b"0", b"Sending it: "):
            tally = self.tally(b"0123456789", prefix + b"01234", prefix + b"56789")
            self.assertTrue(tally.complete)
            self.assertFalse(tally.has_extra)
            self.assertEqual((tally.payload, tally.returned), (10, 10))

    def test_whatever_the_prefix_is_lost_bytes_are_known(self) -> None:
        for prefix in (b"Sending: ", b"other: ", b"", b"Sending it: "):
            for came in (b"123456789", b"012356789", b"012345678", b""):
                tally = self.tally(b"0123456789", prefix + came)
                self.assertFalse(tally.complete, (prefix, came))
                self.assertLess(tally.payload, 10)

    def test_what_was_sent_may_contain_the_usual_prefix(self) -> None:
        data = b"Sending: a line\n" * 3
        for prefix in (b"Sending: ", b"other: ", b""):
            self.assertTrue(self.tally(data, prefix + data).complete)
            self.assertFalse(self.tally(data, prefix + data[:-1]).complete)

    def test_more_behind_the_usual_prefix_is_too_much(self) -> None:
        self.assertTrue(self.tally(b"012", b"Sending: 01212").has_extra)
        self.assertFalse(self.tally(b"012", b"other: 01212").has_extra)

    def test_what_is_too_much_to_be_kept_is_counted(self) -> None:
        with mock.patch("echosvc.wire.unknown_prefix.MAX_KEPT", 5):
            self.assertTrue(self.tally(b"0123456789", b"> 0123456789").complete)
            self.assertFalse(self.tally(b"0123456789", b"> 0123").complete)
