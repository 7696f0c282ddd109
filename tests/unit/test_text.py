"""Text for people, and the numbers that people write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc._text import format_duration, printable, read_whole


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


class FormatDurationTests(SynchronousTestCase):
    @given(st.floats(0, 1e6))
    def test_no_number_reaches_that_of_the_next_unit(self, seconds: float) -> None:
        number, unit = format_duration(seconds).split()
        self.assertIn(unit, ("µs", "ms", "s"))
        self.assertTrue(unit == "s" or float(number) < 1000)

    def test_what_is_all_but_a_millisecond_is_one(self) -> None:
        self.assertEqual(format_duration(0.0009999), "1 ms")
        self.assertEqual(format_duration(0.000999), "999 µs")
