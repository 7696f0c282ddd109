"""Bytes to messages: against Node's decoder and against oracles written here."""

from __future__ import annotations

import itertools
import re
import struct
import time
from collections.abc import Callable
from typing import NamedTuple
from unittest import SkipTest

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc.wire.framing import (
    FRAMINGS,
    Framer,
    MessageTooLong,
    MessageTruncated,
    Utf8Decoder,
    make_framer,
    replace_invalid,
)
from tests.support import node_decoder
from tests.support.examples import examples

NOISE = bytes.fromhex("00 41 80 90 a0 bf c0 c2 c3 df e0 e2 ed ef f0 f4 f5 f7 f8 ff 0a 0d")
FRAGMENTS = st.sampled_from(
    [*(bytes((byte,)) for byte in NOISE), *(text.encode() for text in ("é", "€", "😀", "\ufeff"))]
)
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=5), max_size=30).map(b"".join)
ENCODINGS = st.sampled_from(["raw", "utf-8"])
THOROUGH = examples(300)


@st.composite
def reads(draw: st.DrawFn, streams: st.SearchStrategy[bytes] = STREAMS) -> list[bytes]:
    """A stream, cut anywhere."""
    data = draw(streams)
    places = draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=12))
    ends = [0, *sorted(places), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(ends)]
    return [piece for piece in pieces if piece]


def take_all(framer: Framer) -> list[bytes]:
    messages = []
    while (message := framer.take()) is not None:
        messages.append(message)
    return messages


def outcome(framer: Framer, pieces: list[bytes]) -> list[object]:
    """Every message, and last the error, if there is one."""
    messages: list[object] = []
    try:
        for piece in pieces:
            framer.feed(piece)
            while (message := framer.take()) is not None:
                messages.append(message)
        if (last := framer.end()) is not None:
            messages.append(last)
    except (MessageTooLong, MessageTruncated) as error:
        messages.append(type(error))
    return messages


def text(data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode()


# -- the oracles: whole streams, the simplest way --------------------------------


def lines_of(stream: bytes, limit: int, encoding: str) -> list[object]:
    *whole, rest = stream.split(b"\n")
    lines = [line + b"\n" for line in whole] + [rest] * bool(rest)
    result: list[object] = []
    for line in lines:
        if len(line) > limit:
            return [*result, MessageTooLong]
        result.append(text(line) if encoding == "utf-8" else line)
    return result


def frames_of(stream: bytes, limit: int, encoding: str) -> list[object]:
    result: list[object] = []
    while len(stream) >= 4:
        (size,) = struct.unpack("!I", stream[:4])
        if size > limit:
            return [*result, MessageTooLong]
        if len(stream) < 4 + size:
            break
        message = stream[4 : 4 + size]
        result.append(text(message) if encoding == "utf-8" else message)
        stream = stream[4 + size :]
    return [*result, MessageTruncated] if stream else result


_HELD = re.compile(rb"(?:[\xC0-\xDF]|[\xE0-\xEF][\x80-\xBF]?|[\xF0-\xF7][\x80-\xBF]{0,2})\Z")


def texts_of(pieces: list[bytes]) -> list[bytes]:
    """Node's decoder, by the rule as it is written down."""
    held, result = b"", []
    for piece in pieces:
        parts = []
        while held and piece:
            announced = 2 if held[0] < 0xE0 else 3 if held[0] < 0xF0 else 4
            if 0x80 <= piece[0] <= 0xBF:
                held, piece = held + piece[:1], piece[1:]
                if len(held) < announced:
                    continue
            parts.append(held)
            held = b""
        if not held:
            found = _HELD.search(piece)
            held = found[0] if found else b""
            parts.append(piece[: len(piece) - len(held)])
        result.append(b"".join(map(text, parts)))
    return [each for each in [*result, text(held)] if each]


def reads_of(pieces: list[bytes], limit: int, encoding: str) -> list[object]:
    return [*(texts_of(pieces) if encoding == "utf-8" else pieces)]


def framed(payload: bytes) -> bytes:
    return struct.pack("!I", len(payload)) + payload


class Expected(NamedTuple):
    """What the tests of every framing know of one.

    :ivar oracle: returns the messages of reads, from the reads, the limit and the encoding.
    :ivar frame: returns the bytes that carry a payload without LF.
    :ivar limited: whether a message can be too long.
    """

    oracle: Callable[[list[bytes], int, str], list[object]]
    frame: Callable[[bytes], bytes]
    limited: bool = True


#: Bytes that a framing may add to a message in front or behind it.
OVERHEAD = 4
EXPECTED = {
    "chunk": Expected(reads_of, lambda payload: payload, limited=False),
    "line": Expected(
        lambda pieces, limit, encoding: lines_of(b"".join(pieces), limit, encoding),
        lambda payload: payload + b"\n",
    ),
    "length": Expected(
        lambda pieces, limit, encoding: frames_of(b"".join(pieces), limit, encoding), framed
    ),
}
NAMES = st.sampled_from([*EXPECTED])
LIMITED = [name for name, expected in EXPECTED.items() if expected.limited]


@st.composite
def streams_of_messages(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """A framing, and messages or noise in it, cut anywhere."""
    name = draw(NAMES)
    payloads = st.lists(STREAMS.map(lambda data: data.replace(b"\n", b"")), max_size=5)
    messages = payloads.map(lambda all_: b"".join(map(EXPECTED[name].frame, all_)))
    return name, draw(reads(messages | STREAMS))


class Utf8Tests(SynchronousTestCase):
    def decoded(self, pieces: list[bytes]) -> list[str]:
        decoder = Utf8Decoder()
        texts = [decoder.decode(piece) for piece in pieces]
        return [each.decode("utf-8") for each in [*texts, decoder.end()]]

    def test_every_recorded_stream_decodes_as_by_node(self) -> None:
        table = node_decoder.recorded()
        self.assertGreater(len(table), 1500)
        wrong = [pieces for pieces, texts in table if self.decoded(pieces) != texts]
        self.assertEqual(wrong, [])

    def test_the_table_is_that_of_the_generator(self) -> None:
        """So that what the generator covers is what is tested."""
        recorded = [pieces for pieces, _ in node_decoder.recorded()]
        self.assertEqual(recorded, list(node_decoder.streams()))

    def test_the_oracle_of_these_tests_agrees_with_node(self) -> None:
        for pieces, texts in node_decoder.recorded():
            self.assertEqual(texts_of(pieces), [each.encode() for each in texts if each], pieces)

    def test_a_held_lead_is_one_replacement_character_for_each_invalid_part(self) -> None:
        for held, count in ((b"\xe2\x82", 1), (b"\xe0\x80", 2), (b"\xf0\x80\x80", 3)):
            self.assertEqual(self.decoded([b"a" + held]), ["a", "\ufffd" * count])

    def test_a_decoder_is_as_new_after_the_end(self) -> None:
        decoder = Utf8Decoder()
        decoder.decode(b"\xf0\x9f")
        decoder.end()
        self.assertEqual(decoder.decode(b"\x98\x80a"), "\ufffd\ufffda".encode())
        self.assertEqual(decoder.end(), b"")

    @THOROUGH
    @given(reads())
    def test_any_stream_cut_anywhere_decodes_by_the_rule(self, pieces: list[bytes]) -> None:
        self.assertEqual([each.encode() for each in self.decoded(pieces) if each], texts_of(pieces))

    @given(st.text())
    def test_valid_text_is_itself_wherever_it_is_cut(self, whole: str) -> None:
        pieces = [bytes((byte,)) for byte in whole.encode()]
        self.assertEqual("".join(self.decoded(pieces)), whole)

    @given(st.binary())
    def test_replace_invalid_is_idempotent_and_valid(self, data: bytes) -> None:
        once = replace_invalid(data)
        self.assertEqual(once.decode("utf-8").encode(), replace_invalid(once))


class LiveNodeTests(SynchronousTestCase):
    """The same, asked of the Node that is here."""

    def setUp(self) -> None:
        if node_decoder.NODE is None:
            raise SkipTest("no node on the path")
        self.node = node_decoder.NodeDecoder()
        self.addCleanup(self.node.close)

    @THOROUGH
    @given(reads())
    def test_any_stream_cut_anywhere_decodes_as_by_node(self, pieces: list[bytes]) -> None:
        decoder = Utf8Decoder()
        texts = [*map(decoder.decode, pieces), decoder.end()]
        self.assertEqual([each.decode("utf-8") for each in texts], self.node.decode(pieces))


class OracleTests(SynchronousTestCase):
    """Any stream, cut anywhere, gives the oracle's answer."""

    @examples(500)
    @given(streams_of_messages(), ENCODINGS, st.integers(1, 60))
    def test_every_framing_agrees_with_its_oracle(
        self, stream: tuple[str, list[bytes]], encoding: str, limit: int
    ) -> None:
        name, pieces = stream
        expected = EXPECTED[name].oracle(pieces, limit, encoding)
        self.assertEqual(outcome(make_framer(name, encoding, limit), pieces), expected)

    @THOROUGH
    @given(
        reads(st.lists(STREAMS, max_size=5).map(lambda all_: b"".join(map(framed, all_)))),
        ENCODINGS,
        st.integers(1, 60),
        st.integers(0, 9),
    )
    def test_messages_follow_their_length(
        self, pieces: list[bytes], encoding: str, limit: int, lost: int
    ) -> None:
        """``lost``: so many bytes are missing at the end."""
        while lost and pieces:
            lost, pieces[-1] = lost - 1, pieces[-1][:-1]
            pieces = [piece for piece in pieces if piece]
        expected = frames_of(b"".join(pieces), limit, encoding)
        self.assertEqual(outcome(make_framer("length", encoding, limit), pieces), expected)

    @given(
        NAMES,
        ENCODINGS,
        st.lists(st.binary(max_size=20), max_size=6),
        st.randoms(use_true_random=False),
    )
    def test_stopping_in_mid_read_changes_nothing(
        self, framing: str, encoding: str, messages: list[bytes], random: object
    ) -> None:
        pieces = [piece for piece in map(EXPECTED[framing].frame, messages) if piece]
        expected = outcome(make_framer(framing, encoding, 1 << 30), pieces)
        framer = make_framer(framing, encoding, 1 << 30)
        taken: list[object] = []
        try:
            for piece in pieces:
                framer.feed(piece)
                for _ in range(random.randint(0, 2)):
                    if (message := framer.take()) is not None:
                        taken.append(message)
            taken += take_all(framer)
            if (last := framer.end()) is not None:
                taken.append(last)
        except (MessageTooLong, MessageTruncated) as error:
            taken.append(type(error))
        self.assertEqual(taken, expected)


class TableTests(SynchronousTestCase):
    def test_every_framing_is_tested_here(self) -> None:
        """By the tests that go through EXPECTED: oracle, limit, what is held, time."""
        remedy = "add each framing of FRAMINGS to EXPECTED in this file, with its oracle"
        self.assertEqual(set(EXPECTED), set(FRAMINGS), remedy)

    def test_each_framing_has_a_meaning_and_a_framer_of_its_own(self) -> None:
        meanings = {framing.meaning for framing in FRAMINGS.values()}
        kinds = {type(make_framer(name, "raw", 9)) for name in FRAMINGS}
        self.assertEqual((len(meanings), len(kinds)), (len(FRAMINGS), len(FRAMINGS)))
        for name, framing in FRAMINGS.items():
            self.assertTrue(framing.meaning.strip(), name)


class LimitTests(SynchronousTestCase):
    def test_a_line_of_exactly_the_limit_is_a_message(self) -> None:
        """The LF counts; so does everything of a last line without one."""
        for data in (b"1234567\n", b"12345678"):
            for size in range(1, 9):
                pieces = [data[start : start + size] for start in range(0, 8, size)]
                self.assertEqual(outcome(make_framer("line", "raw", 8), pieces), [data])

    def test_a_line_of_one_more_is_too_long_wherever_it_is_cut(self) -> None:
        for data in (b"12345678\n", b"123456789", b"12345678\nok\n"):
            for size in range(1, 13):
                pieces = [data[start : start + size] for start in range(0, len(data), size)]
                found = outcome(make_framer("line", "raw", 8), pieces)
                self.assertEqual(found, [MessageTooLong], (data, size))

    def test_a_frame_of_exactly_the_limit_is_a_message(self) -> None:
        for size in range(1, 13):
            pieces = [framed(b"12345678")[start : start + size] for start in range(0, 12, size)]
            self.assertEqual(outcome(make_framer("length", "raw", 8), pieces), [b"12345678"])

    def test_a_frame_of_one_more_is_too_long_as_soon_as_it_says_so(self) -> None:
        framer = make_framer("length", "raw", 8)
        framer.feed(b"\0\0\0")
        self.assertIsNone(framer.take())
        framer.feed(b"\x09")
        self.assertRaises(MessageTooLong, framer.take)

    def test_what_came_before_a_message_too_long_is_given(self) -> None:
        self.assertEqual(
            outcome(make_framer("line", "raw", 4), [b"abc\nd\n12345"]),
            [b"abc\n", b"d\n", MessageTooLong],
        )
        self.assertEqual(
            outcome(make_framer("length", "raw", 4), [framed(b"abc") + framed(b"12345")]),
            [b"abc", MessageTooLong],
        )

    def test_an_error_names_the_limit_in_one_line(self) -> None:
        for framing in LIMITED:
            framer = make_framer(framing, "raw", 8)
            framer.feed(EXPECTED[framing].frame(b"123456789"))
            error = self.assertRaises(MessageTooLong, framer.take)
            self.assertRegex(str(error), r"\A[^\n]*\b8\b[^\n]*\Z")

    @given(streams_of_messages(), st.integers(1, 20))
    def test_no_more_than_one_message_and_one_read_is_pending(
        self, stream: tuple[str, list[bytes]], limit: int
    ) -> None:
        framing, pieces = stream
        framer = make_framer(framing, "raw", limit)
        try:
            for piece in pieces:
                framer.feed(piece)
                self.assertLessEqual(framer.pending, limit + OVERHEAD + len(piece))
                take_all(framer)
                self.assertLessEqual(framer.pending, limit + OVERHEAD)
        except MessageTooLong:
            pass

    def test_an_empty_frame_is_a_message(self) -> None:
        self.assertEqual(outcome(make_framer("length", "raw", 1), [framed(b"") * 2]), [b"", b""])

    def test_every_incomplete_frame_is_truncated(self) -> None:
        for size in range(1, 7):
            found = outcome(make_framer("length", "raw", 9), [framed(b"abc")[:size]])
            self.assertEqual(found, [MessageTruncated], size)

    def test_nothing_at_all_is_no_message(self) -> None:
        for framing in FRAMINGS:
            for encoding in ("raw", "utf-8"):
                framer = make_framer(framing, encoding, 8)
                self.assertIsNone(framer.take())
                self.assertIsNone(framer.end())
                self.assertEqual(framer.pending, 0)

    def test_a_replys_length_is_its_own(self) -> None:
        self.assertEqual(make_framer("length", "raw", 1).wrap(b"> abc"), b"\0\0\0\x05> abc")
        for framing in ("chunk", "line"):
            self.assertEqual(make_framer(framing, "utf-8", 1).wrap(b"> abc"), b"> abc")

    def test_pending_counts_what_was_not_taken(self) -> None:
        for framing, expected in EXPECTED.items():
            data = expected.frame(b"abc")
            framer = make_framer(framing, "raw", 9)
            framer.feed(data)
            framer.feed(data)
            self.assertEqual(framer.pending, 2 * len(data))
            framer.take()
            self.assertEqual(framer.pending, len(data))


class Counted(bytearray):
    """A buffer that counts the bytes that are searched and the times it is cut."""

    searched = cut = 0

    def find(self, sub: bytes, start: int = 0, end: int = 1 << 62) -> int:
        found = super().find(sub, start, end)
        self.searched += (found if found >= 0 else min(end, len(self))) - start
        return found

    def __delitem__(self, place: slice) -> None:
        self.cut += 1
        super().__delitem__(place)


class CostTests(SynchronousTestCase):
    def line(self, size: int, step: int) -> Counted:
        """Feed one line in pieces; give the buffer that counted."""
        framer = make_framer("line", "raw", size)
        framer._buffer = buffer = Counted()
        piece = b"x" * step
        for _ in range(size // step - 1):
            framer.feed(piece)
            self.assertIsNone(framer.take())
        framer.feed(piece[:-1] + b"\n")
        self.assertEqual(len(framer.take()), size)
        return buffer

    def test_no_byte_of_a_long_line_is_searched_twice(self) -> None:
        for size, step in ((1 << 17, 1), (1 << 22, 1 << 10), (1 << 22, 1 << 16)):
            self.assertLessEqual(self.line(size, step).searched, size)

    def test_many_short_lines_in_one_read_are_cut_off_once(self) -> None:
        framer = make_framer("line", "raw", 64)
        framer._buffer = buffer = Counted()
        framer.feed(b"ab\n" * 20_000)
        self.assertEqual(len(take_all(framer)), 20_000)
        framer.feed(b"ab\n")
        self.assertEqual(buffer.cut, 2)
        self.assertEqual(buffer.searched, 40_000)

    def test_time_grows_with_the_bytes_and_not_their_square(self) -> None:
        """Copied or searched anew at each of its pieces, this would take minutes."""
        began = time.process_time()
        size = 1 << 22
        for framing, expected in EXPECTED.items():
            framer = make_framer(framing, "utf-8", size + OVERHEAD)
            data, taken = expected.frame(b"x" * size), 0
            for start in range(0, len(data), 257):
                framer.feed(data[start : start + 257])
                taken += sum(map(len, take_all(framer)))
            self.assertGreaterEqual(taken, size, framing)
        self.assertLess(time.process_time() - began, 8 * len(EXPECTED))
