"""Text for people, and the numbers that people write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc._text import printable, read_whole


class ReadWholeTests(SynchronousTestCase):
    @given(st.integers(0, (1 << 63) - 1))
    def test_a_number_is_read(self, number: int) -> None:
        self.assertEqual(read_whole(str(number)), number)

    def test_what_python_takes_for_a_number_besides_is_none(self) -> None:
        for text in ("", " 1", "1 ", "+1", "-1", "1_0", "\u0663", "\u00b2", "1.0", "0x1", "9" * 20):
            with self.subTest(text):
                self.assertIsNone(read_whole(text))

    def test_more_than_the_most_is_none(self) -> None:
        self.assertEqual((read_whole("7", 7), read_whole("8", 7)), (7, None))


class PrintableTests(SynchronousTestCase):
    @given(st.text())
    def test_nothing_ends_the_line_or_reaches_the_terminal(self, text: str) -> None:
        self.assertTrue(printable(text).isprintable())
