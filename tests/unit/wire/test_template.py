"""The template language, and how little of it is left for each reply."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from echosvc.wire.template import FIELDS, Field, Template, TemplateError

VALUES = {
    "hostname": "höst",
    "pid": "77",
    "local": "127.0.0.1:8107",
    "peer": "[::1]:5",
    "connection": "3",
    "tls_version": "TLSv1.3",
    "tls_peer": "ärbel",
}


def escape(data: bytes) -> str:
    """Any bytes, in the template language."""
    return "".join(f"\\x{byte:02x}" for byte in data)


def literal(text: str) -> bytes | None:
    return Template.parse(text, {}).constant


class ParseTests(SynchronousTestCase):
    def test_each_field_is_filled_with_its_value(self) -> None:
        for name, value in VALUES.items():
            bound = Template.parse(f"<{{{name}}}>").bind(VALUES)
            self.assertEqual(bound.constant, f"<{value}>".encode())

    def test_the_message_number_is_filled_at_each_reply(self) -> None:
        template = Template.parse("{connection}.{message}: ").bind(VALUES)
        self.assertEqual(
            [template.render(n) for n in (1, 2, 1000)], [b"3.1: ", b"3.2: ", b"3.1000: "]
        )

    def test_every_field_is_known(self) -> None:
        self.assertEqual({*VALUES, "message"}, set(FIELDS))

    def test_an_environment_variable_is_taken_at_the_parse(self) -> None:
        environ = {"NAME": "é{pid}\\n"}
        template = Template.parse("{env:NAME}!", environ)
        environ["NAME"] = "later"
        self.assertEqual(template.constant, "é{pid}\\n!".encode())

    def test_the_process_environment_is_the_default(self) -> None:
        self.patch(os, "environ", {"ECHOSVC_TEST_NAME": "blue"})
        self.assertEqual(Template.parse("{env:ECHOSVC_TEST_NAME}").constant, b"blue")

    def test_escapes(self) -> None:
        self.assertEqual(literal(r"a\n\t\\b"), b"a\n\t\\b")
        self.assertEqual(literal(r"\x00\xff\xC3\xa9\x7bpid\x7D"), b"\0\xff\xc3\xa9{pid}")
        self.assertEqual(literal(r"\\n\\x41"), rb"\n\x41")

    def test_doubled_braces_are_braces(self) -> None:
        self.assertEqual(literal("{{}}{{pid}}"), b"{}{pid}")
        self.assertEqual(Template.parse("{{{pid}}}").bind(VALUES).constant, b"{77}")

    def test_an_empty_template_is_empty(self) -> None:
        self.assertEqual(literal(""), b"")
        self.assertEqual(Template.parse("{env:E}", {"E": ""}).constant, b"")
        self.assertEqual(Template.parse("").render(1), b"")

    def test_real_newlines_are_themselves(self) -> None:
        self.assertEqual(literal("a\nb\r\0"), b"a\nb\r\0")

    def test_an_argument_that_is_no_utf8_keeps_its_bytes(self) -> None:
        """As it comes through sys.argv: PEP 383."""
        argument = os.fsdecode(b"\xff caf\xc3\xa9 \xe2\x82")
        self.assertEqual(literal(argument), b"\xff caf\xc3\xa9 \xe2\x82")
        self.assertEqual(Template.parse("{env:A}", {"A": "\udcff"}).constant, b"\xff")
        self.assertEqual(Template.parse("{local}").bind({"local": "\udcff"}).constant, b"\xff")

    def test_bytes_are_literal(self) -> None:
        template = Template.literal(rb"{pid} \n {")
        self.assertEqual(template.constant, rb"{pid} \n {")
        self.assertIs(template.bind(VALUES), template)


class DescriptionTests(SynchronousTestCase):
    def test_a_template_is_described_with_the_fields_that_are_not_bound(self) -> None:
        template = Template.parse(r"{peer}\n{{{message}: ")
        self.assertEqual(template.describe(), b"{peer}\n{{message}: ")
        self.assertEqual(template.bind({"peer": "h:1"}).describe(), b"h:1\n{{message}: ")


class ErrorTests(SynchronousTestCase):
    def refused(self, text: str, pattern: str, environ: dict[str, str] | None = None) -> None:
        error = self.assertRaises(TemplateError, Template.parse, text, environ or {})
        self.assertRegex(str(error), pattern)
        self.assertTrue(str(error).isprintable(), str(error))

    def test_an_unknown_field_is_named_and_the_known_ones_with_it(self) -> None:
        self.refused("{port}", r"'\{port\}'.*hostname, pid, local, peer, connection, message")

    def test_nothing_of_pythons_format_language_is_understood(self) -> None:
        for field in ("pid.real", "pid[0]", "pid!r", "pid:>9", "", "0", " pid", "pid ", "PID"):
            self.refused(f"{{{field}}}", "unknown field")

    def test_an_unset_variable_is_named(self) -> None:
        self.refused("{env:NO_SUCH}", "'NO_SUCH' is not set")

    def test_an_empty_variable_name_is_refused(self) -> None:
        self.refused("{env:}", "'' is not set")

    def test_stray_braces_are_refused_with_their_place(self) -> None:
        for text, place in (
            ("{", 1),
            ("ab}", 3),
            ("{pid", 1),
            ("{{}", 3),
            ("{a{b}", 1),
            ("}}}", 3),
        ):
            self.refused(text, f"character {place}: write '(\\{{\\{{|}}}})'")

    def test_unknown_escapes_are_refused(self) -> None:
        for text in (r"\q", r"\x", r"\x4", r"\xg0", r"\0", "\\\n", "\\\x1b", r"\{pid}", "\\é"):
            self.refused(text, "unknown escape")

    def test_a_backslash_at_the_end_is_refused(self) -> None:
        self.refused("abc\\", "unknown escape")

    def test_a_lone_surrogate_is_refused(self) -> None:
        self.refused("a\ud800b", "UTF-8")
        self.refused("{env:A}", "UTF-8", {"A": "\udfff"})

    def test_hostile_text_makes_one_line(self) -> None:
        for text in ("{a\nb\x1b[2J}", "{env:a\nb}", "x\n\ud800\x1b"):
            self.refused(text, r"\A.+\Z")


class CostTests(SynchronousTestCase):
    """What is constant is joined once."""

    def test_constant_parts_are_joined_at_the_parse(self) -> None:
        self.assertEqual(Template.parse(r"a\tb{{c}}{env:E}", {"E": "d"}).parts, (b"a\tb{c}d",))

    def test_constant_parts_are_joined_at_the_binding(self) -> None:
        template = Template.parse("a {pid} b {message} c {peer} d").bind(VALUES)
        self.assertEqual(template.parts, (b"a 77 b ", Field("message"), b" c [::1]:5 d"))
        self.assertIsNone(template.constant)

    def test_without_a_message_number_a_bound_template_is_one_constant(self) -> None:
        template = Template.parse("{hostname} {pid} {local} {peer} {connection}")
        self.assertIsNone(template.constant)
        self.assertEqual(
            template.bind(VALUES).constant, "höst 77 127.0.0.1:8107 [::1]:5 3".encode()
        )

    def test_binding_leaves_the_template_for_the_next_connection(self) -> None:
        template = Template.parse("{connection}")
        self.assertEqual(template.bind({"connection": "1"}).constant, b"1")
        self.assertEqual(template.bind({"connection": "2"}).constant, b"2")

    def test_a_field_without_a_value_stays(self) -> None:
        self.assertEqual(Template.parse("{peer}").bind({}).parts, (Field("peer"),))

    def test_values_are_not_parsed_again(self) -> None:
        bound = Template.parse("{peer}").bind({"peer": "{pid}\\n", "pid": "1"})
        self.assertEqual(bound.constant, b"{pid}\\n")


class AnyTextTests(SynchronousTestCase):
    @given(st.text(st.characters(exclude_characters="{}\\", exclude_categories=["Cs"])))
    def test_text_without_special_characters_is_itself_in_utf8(self, text: str) -> None:
        self.assertEqual(literal(text), text.encode())

    @given(st.binary())
    def test_any_bytes_can_be_written(self, data: bytes) -> None:
        self.assertEqual(literal(escape(data)), data)

    @given(st.text())
    def test_any_text_parses_or_is_refused_in_one_line(self, text: str) -> None:
        try:
            rendered = Template.parse(text, {}).bind(VALUES).render(1)
        except TemplateError as error:
            self.assertTrue(str(error).isprintable())
        else:
            self.assertIsInstance(rendered, bytes)
