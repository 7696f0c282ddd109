"""What a first exchange says of prefix and greeting."""

from __future__ import annotations

import contextlib

from twisted.trial.unittest import SynchronousTestCase

from echosvc._text import format_bytes, format_duration
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.prefix_detection import (
    MAX_PREFIX,
    UnclearPrefix,
    describe_no_answer,
    describe_one_answer,
    detect_prefix,
    recognize_prefix,
    strip_header,
)
from echosvc.probe.settings import CheckSettings
from echosvc.wire.template import Template
from tests.support.steps import steps

PLAIN = CheckSettings()
GIVEN = CheckSettings(prefix=Template.parse("{hostname} {message}: "))
FRAMED = CheckSettings(framing="length")


class LearnedTests(SynchronousTestCase):
    def test_what_stands_before_both_replies_is_the_prefix(self) -> None:
        template, greeting = detect_prefix(PLAIN, b"Welcome! > ", b"> ")
        self.assertEqual((template.constant, greeting), (b"> ", b"Welcome! "))
        template, greeting = detect_prefix(PLAIN, b"Welcome!", b"")
        self.assertEqual((template.constant, greeting), (b"", b"Welcome!"))

    def test_a_length_before_a_reply_is_no_prefix(self) -> None:
        template, greeting = detect_prefix(FRAMED, b"hi\0\0\0\3> ", b"> ")
        self.assertEqual((template.constant, greeting), (b"> ", b"hi"))
        self.assertEqual(strip_header(b"\0\0\0\3> ", "length"), b"> ")
        self.assertEqual(strip_header(b"> ", "chunk"), b"> ")

    def test_a_given_prefix_is_looked_for_behind_a_greeting(self) -> None:
        template, greeting = detect_prefix(GIVEN, b"Welcome!\nblue 1: ", b"blue 2: ")
        self.assertEqual((template, greeting), (GIVEN.prefix, b"Welcome!\n"))

    def assert_fails(
        self, words: str, settings: CheckSettings, first: bytes, second: bytes
    ) -> None:
        failed = self.assertRaises(Failed, detect_prefix, settings, first, second)
        self.assertIn(words, failed.finding)

    def test_what_cannot_be_is_said(self) -> None:
        self.assert_fails("changes from reply to reply: '1: ', then '2: '", PLAIN, b"1: ", b"2: ")
        self.assert_fails("'x: ', which is not of the form", GIVEN, b"x: ", b"x: ")
        self.assert_fails("the first prefix is 'lue 1'", GIVEN, b"lue 1", b"blue 2: ")
        self.assert_fails("a prefix of 4097 bytes", PLAIN, b"", b"x" * (MAX_PREFIX + 1))
        self.assert_fails("'~' was answered 2 times", PLAIN, b"> ~> ", b"> ")
        self.assert_fails("the PROXY header came back", PLAIN, b"> PROXY TCP4 1 2 3 4\r\n", b"> ")

    def test_what_changes_in_a_prefix_decides_what_is_advised(self) -> None:
        for first, second, advice in (
            (b"hi 1: ", b"2: ", "give it with --prefix '{message}: '"),
            (b"[9] ", b"[10] ", "give it with --prefix '[{message}] '"),
            (b"17.25 ", b"17.5 ", "give it with --prefix '{message}.{message} '"),
            (b"{7} ", b"{8} ", "give it with --prefix '{{{message}}} '"),
            (b"v1 4/1: ", b"v1 4/2: ", "give it with --prefix 'v1 {message}/{message}: '"),
            (b"v1 4: ", b"v2 5: ", "give it with --prefix 'v{message} {message}: '"),
            (b"[9] ", b"[a] ", "something else than a number there"),
            (b"ab12> ", b"cd34> ", "something else than a number there"),
        ):
            failed = self.assertRaises(UnclearPrefix, detect_prefix, PLAIN, first, second)
            self.assertIn(advice, failed.cause)
            self.assertIn("or several servers answer on one connection", failed.cause)


class TimeTests(SynchronousTestCase):
    """A hostile server chooses what comes before its replies."""

    def test_learning_takes_steps_in_proportion_to_what_came(self) -> None:
        for text in ("{hostname}-{peer}-{local}: ", "{peer}{peer}{hostname}{local}: "):
            settings = CheckSettings(prefix=Template.parse(text))
            few, many = (b"-" * size + b": " for size in (1000, 4000))

            def ask(came: bytes, settings: CheckSettings = settings) -> None:
                for call in (
                    lambda: detect_prefix(settings, came, b"a-b-c: "),
                    lambda: detect_prefix(settings, came, came),
                    lambda: recognize_prefix(settings, settings.prefix or Template([]), b"", came),
                    lambda: recognize_prefix(
                        settings, settings.prefix or Template([]), b"", came[:-1]
                    ),
                ):
                    with contextlib.suppress(Failed):
                        call()

            self.assertLess(steps(lambda: ask(many)), 6 * steps(lambda: ask(few)))  # noqa: B023
            self.assertLess(steps(lambda: ask(many)), 200_000)  # noqa: B023


class RecognizedTests(SynchronousTestCase):
    def test_each_backend_may_have_its_own(self) -> None:
        known = Template.literal(b"blue: ")
        for before, prefix in ((b"blue: ", b"blue: "), (b"green: ", b"green: "), (b"", b"")):
            template, found = recognize_prefix(PLAIN, known, b"", before)
            self.assertEqual((template.constant, found), (prefix, prefix))

    def test_the_greeting_is_taken_off_though_it_changes(self) -> None:
        known = Template.literal(b"> ")
        for before in (b"you are 1\n> ", b"you are 22\n> "):
            self.assertEqual(recognize_prefix(PLAIN, known, b"you are 1\n", before)[1], b"> ")

    def test_fields_are_those_of_this_connection(self) -> None:
        known = GIVEN.prefix
        assert known is not None
        for before in (b"blue 1: ", b"another greeting\nblue 1: "):
            template, prefix = recognize_prefix(GIVEN, known, b"", before)
            self.assertEqual(prefix, b"blue 1: ")
            self.assertEqual(template.render(7), b"blue 7: ")
        failed = self.assertRaises(Failed, recognize_prefix, GIVEN, known, b"", b"#")
        self.assertIn("on another connection", failed.finding)


class NoAnswerTests(SynchronousTestCase):
    def assert_said(self, how: str, came: bytes, before: int, words: str, cause: str) -> None:
        finding, likely = describe_no_answer(how, came, b"~", 10.0, before)
        self.assertIn(words, finding)
        self.assertIn(cause, likely)

    def test_the_cause_depends_on_what_came_and_how_it_ended(self) -> None:
        self.assert_said("silence", b"", 0, "within 10 s: nothing came", "does not answer")
        self.assert_said("RST", b"", 0, "ended by RST before", "no server to pass it to")
        self.assert_said("FIN", b"HTTP/1.1 400", 0, "what came is 'HTTP", "speaks HTTP")
        self.assert_said("silence", b"??", 0, "what came is '??'", "another framing")
        self.assert_said(
            "FIN",
            b"",
            3,
            "ended by FIN",
            "3 connections worked before",
        )

    def test_a_line_with_another_end_is_named(self) -> None:
        for came in (b"Sending: ~\r\n", b"~\r", b"~\n\n"):
            cause = describe_no_answer("silence", came, b"~\n", 1.0, 0)[1]
            self.assertEqual(cause, "line ends are translated on the path, or by the server", came)
        for came in (b"Sending: ~", b"Sending: \r\n", b"\r\n"):
            cause = describe_no_answer("silence", came, b"~\n", 1.0, 0)[1]
            self.assertNotIn("line ends", cause, came)
        self.assertNotIn("line ends", describe_no_answer("silence", b"~\r\n", b"~", 1.0, 0)[1])


class WordsTests(SynchronousTestCase):
    def test_amounts(self) -> None:
        sizes = (1, 2, 1023, 1024, 65535, 65536, 1 << 20, 1_500_000)
        words = "1 byte|2 bytes|1023 bytes|1 KiB|65535 bytes|64 KiB|1 MiB|1.4 MiB"
        self.assertEqual("|".join(map(format_bytes, sizes)), words)

    def test_durations(self) -> None:
        times = (0.00005, 0.0123, 0.9994, 0.9996, 1.234, 99.9, 350.4)
        words = "50 µs|12.3 ms|999 ms|1 s|1.23 s|99.9 s|350 s"
        self.assertEqual("|".join(map(format_duration, times)), words)


class SecureTests(SynchronousTestCase):
    def test_where_tls_is_spoken_it_is_not_expected(self) -> None:
        for how in ("FIN", "RST", "silence"):
            cause = describe_no_answer(how, b"", b"~", 10.0, 0, True)[1]
            self.assertNotIn("TLS", cause)
            self.assertIn("TLS is expected", describe_no_answer(how, b"", b"~", 10.0, 0)[1])

    def test_an_alert_that_comes_after_the_handshake_is_the_cause(self) -> None:
        for before in (0, 3):
            how = "TLS: tlsv13 alert certificate required"
            finding, cause = describe_no_answer(how, b"", b"~", 10.0, before, True)
            self.assertIn(how, finding)
            self.assertIn("(--cert, --key)", cause)
            self.assertIn("(--cert, --key)", describe_one_answer(how, b"~", b"", 1.0)[1])
