"""Bytes to messages: against oracles written here."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc.wire.framing import (
    FRAMINGS,
    Framer,
    MessageTooLong,
    MessageTruncated,
    make_framer,
)
from tests.support.byte_streams import STREAMS, reads, text, texts_of
from tests.support.examples import examples

ENCODINGS = st.sampled_from(["raw", "utf-8"])


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

    @examples(300)
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
