"""Whether what came back answers what was sent, wherever TCP cut it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc.wire.reply_matching import ReplyMatcher, StreamCounter
from echosvc.wire.template import Template
from tests.support.examples import examples

SENDING = Template.literal(b"Sending: ")


def served(prefix: bytes, message: bytes, cuts: set[int]) -> bytes:
    """What a server sends back that read the message in these pieces."""
    ends = sorted({cut for cut in cuts if 0 < cut < len(message)} | {0, len(message)})
    pieces = [message[start:end] for start, end in itertools.pairwise(ends)]
    return b"".join(prefix + piece for piece in pieces)


def answered_after(answer: ReplyMatcher, stream: bytes) -> int | None:
    """How many bytes it takes."""
    for count in range(len(stream)):
        if answer.feed(stream[count : count + 1]):
            return count + 1
    return None


class ReplyMatcherTests(SynchronousTestCase):
    def test_an_answer_is_complete_with_its_last_byte(self) -> None:
        for stream in (b"Sending: More Axes", b"Sending: MoreSending:  Axes"):
            self.assertEqual(
                answered_after(ReplyMatcher(SENDING, b"More Axes"), stream), len(stream)
            )

    def test_a_plain_echo_is_an_answer(self) -> None:
        self.assertEqual(answered_after(ReplyMatcher(SENDING, b"abc"), b"abc"), 3)
        self.assertEqual(answered_after(ReplyMatcher(Template.literal(b""), b"abc"), b"abc"), 3)

    def test_a_greeting_before_it_is_passed_over(self) -> None:
        stream = b"Hello\nSending: abc"
        self.assertEqual(answered_after(ReplyMatcher(SENDING, b"abc"), stream), len(stream))

    def test_a_greeting_alone_is_no_answer(self) -> None:
        self.assertFalse(ReplyMatcher(SENDING, b"More Axes").feed(b"Hello" * 100))

    def test_an_empty_message_is_answered_already(self) -> None:
        self.assertTrue(ReplyMatcher(SENDING, b"").complete)

    def test_a_message_that_is_the_prefix_is_not_mistaken(self) -> None:
        for message in (b"Sending: ", b"Send", b"Sending: x", b"Sending: Sending: "):
            stream = b"Sending: " + message
            self.assertEqual(answered_after(ReplyMatcher(SENDING, message), stream), len(stream))

    def test_the_prefix_of_another_reply_is_no_answer(self) -> None:
        self.assertIsNone(answered_after(ReplyMatcher(SENDING, b"Send"), b"Sending: xyz"))

    def test_what_comes_after_the_answer_changes_nothing(self) -> None:
        answer = ReplyMatcher(SENDING, b"abc")
        self.assertTrue(answer.feed(b"Sending: abc and more"))
        self.assertTrue(answer.feed(b"even more"))

    def test_fields_match_what_may_stand_there(self) -> None:
        template = Template.parse("{hostname} #{message}: ")
        for stream in (b"box-1 #12: abc", b"box-1 #1: abox-1 #2: bc"):
            self.assertEqual(answered_after(ReplyMatcher(template, b"abc"), stream), len(stream))

    def test_bytes_in_another_order_are_no_answer(self) -> None:
        self.assertFalse(ReplyMatcher(SENDING, b"abc").feed(b"Sending: acb"))

    @given(st.binary(min_size=1, max_size=60), st.sets(st.integers(1, 59), max_size=6))
    def test_any_message_is_answered_wherever_it_is_cut(
        self, message: bytes, cuts: set[int]
    ) -> None:
        stream = served(b"Sending: ", message, cuts)
        found = answered_after(ReplyMatcher(SENDING, message), stream)
        self.assertIsNotNone(found)
        self.assertLessEqual(found, len(stream))

    @given(st.binary(min_size=1, max_size=60), st.sets(st.integers(1, 59), max_size=6))
    def test_no_message_is_answered_early(self, message: bytes, cuts: set[int]) -> None:
        """Where nothing in it can be taken for the prefix."""
        message = bytes(byte | 0x80 for byte in message)
        stream = served(b"Sending: ", message, cuts)
        self.assertEqual(answered_after(ReplyMatcher(SENDING, message), stream), len(stream))

    @examples(300)
    @given(
        st.text("ab", max_size=4),
        st.text("ab", min_size=1, max_size=24),
        st.sets(st.integers(1, 23), max_size=6),
    )
    def test_messages_made_of_prefixes_are_answered_too(
        self, prefix: str, message: str, cuts: set[int]
    ) -> None:
        stream = served(prefix.encode(), message.encode(), cuts)
        answer = ReplyMatcher(Template.literal(prefix.encode()), message.encode())
        self.assertIsNotNone(answered_after(answer, stream))


class StreamCounterTests(SynchronousTestCase):
    def tally(self, template: Template, sent: int | bytes, *pieces: bytes) -> StreamCounter:
        tally = StreamCounter(template)
        tally.send(bytes(sent))
        for piece in pieces:
            tally.feed(piece)
        return tally

    def test_prefixes_are_not_counted_as_payload(self) -> None:
        for pieces in ((b"Sending: abcSending: d",), (b"Sen", b"ding: abcSendi", b"ng: d")):
            tally = self.tally(SENDING, 4, *pieces)
            self.assertEqual((tally.payload, tally.received), (4, 22))
            self.assertTrue(tally.complete)

    def test_one_byte_missing_is_not_complete(self) -> None:
        self.assertFalse(self.tally(SENDING, 5, b"Sending: abcd").complete)

    def test_part_of_a_prefix_is_no_payload(self) -> None:
        """Or a server that dies in the middle of a prefix would have answered."""
        self.assertFalse(self.tally(SENDING, 1, b"Sending:").complete)
        self.assertFalse(self.tally(SENDING, 5, b"Sending: abcdSend").complete)

    def test_without_a_prefix_all_is_payload(self) -> None:
        tally = self.tally(Template.literal(b""), 4, b"ab", b"cd")
        self.assertEqual(tally.payload, 4)
        self.assertTrue(tally.complete)

    def test_what_is_sent_is_counted_and_not_kept(self) -> None:
        for prefix in (b"", b"Sending: "):
            tally = StreamCounter(Template.literal(prefix))
            for _ in range(100):
                tally.send(b"x" * 1000)
                tally.feed(b"x" * 1000)
            self.assertEqual((tally.sent, tally.payload), (100_000, 100_000))
            kept = [value for value in vars(tally).values() if isinstance(value, bytes)]
            self.assertLess(sum(map(len, kept)), 1000)

    def test_a_message_that_ends_like_a_prefix_is_complete(self) -> None:
        tally = StreamCounter(SENDING)
        tally.send(b"now Send")
        tally.feed(b"Sending: now Send")
        self.assertTrue(tally.complete)

    def test_nothing_sent_is_answered_by_nothing(self) -> None:
        self.assertTrue(self.tally(SENDING, 0).complete)

    def test_a_payload_that_contains_the_prefix_is_complete(self) -> None:
        payload = b"Sending: a line\n" * 3
        self.assertTrue(self.tally(SENDING, payload, b"Sending: " + payload).complete)
        self.assertFalse(self.tally(SENDING, payload, b"Sending: " + payload[:-1]).complete)

    def test_a_payload_that_looks_like_a_prefix_with_fields_is_complete(self) -> None:
        payload = b"at 12: a line\n" * 3
        template = Template.parse("{message}: ")
        self.assertTrue(self.tally(template, payload, b"1: " + payload).complete)

    def test_a_field_may_be_cut_too(self) -> None:
        tally = self.tally(Template.parse("{message}: "), 4, b"1", b"2: ab13", b": c", b"d")
        self.assertEqual(tally.payload, 4)

    @given(
        st.binary(min_size=1, max_size=80).map(lambda data: bytes(byte | 0x80 for byte in data)),
        st.sets(st.integers(1, 79), max_size=6),
        st.integers(1, 30),
    )
    def test_any_stream_is_counted_wherever_it_is_cut(
        self, payload: bytes, cuts: set[int], size: int
    ) -> None:
        stream = served(b"Sending: ", payload, cuts)
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        tally = self.tally(SENDING, payload, *pieces[:-1])
        # Who only counts cannot tell the start of a prefix from payload like it.
        if not any(b"".join(pieces[:-1]).endswith(b"Sending: "[:size]) for size in range(1, 9)):
            self.assertFalse(tally.complete)
        tally.feed(pieces[-1])
        self.assertTrue(tally.complete)
        self.assertEqual(tally.payload, len(payload))
