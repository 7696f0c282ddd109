"""Text for people, and the numbers that people write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc._text import format_duration, printable, read_microseconds, read_whole


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


class TimeTests(SynchronousTestCase):
    def test_a_time_is_read_in_each_unit_exactly(self) -> None:
        for text, expected in (
            ("0.3ms", 300.0), ("5us", 5.0), ("5\u00b5s", 5.0), ("5\u03bcs", 5.0), ("1.5s", 1.5e6),
            ("2m", 1.2e8), ("1h", 3.6e9), (".5s", 5e5), ("1e3us", 1e3),
        ):  # fmt: skip
            self.assertEqual(read_microseconds(text), expected, text)

    def test_a_number_without_a_unit_has_the_one_that_is_named(self) -> None:
        self.assertIsNone(read_microseconds("5"))
        self.assertEqual(read_microseconds("5", unit="ms"), 5000.0)

    def test_what_is_no_time_is_none(self) -> None:
        for text in ("", "s", "-1s", "5 s", "5S", "5Ms", "1.2.3s", "\u0661s", "5s\n"):
            self.assertIsNone(read_microseconds(text, unit="s"), text)
