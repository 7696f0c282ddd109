"""The command line of the server is read correctly, or refused in one line."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from echosvc import Config, __version__
from echosvc._text import one_line
from echosvc.cli.config_options import CONFIG_OPTIONS
from echosvc.cli.serve import ServeOptions
from echosvc.cli.serve_options import SERVER_OPTIONS, Options
from echosvc.cli.server_listeners import TLS_MIN_VERSION
from echosvc.config.settings import settings_of
from echosvc.net.listeners import PORT, TCPListener, UNIXListener
from echosvc.tls.context import TLS_VERSIONS, ClientAuthPolicy

LONG = tuple(setting.option for setting in (*SERVER_OPTIONS, *CONFIG_OPTIONS))
NEGATED = {f"no-{each.option}" for each in SERVER_OPTIONS if not each.kind.metavar}


#: Words of a command line, the setting that they mean, and its value.
OPTIONS: tuple[tuple[list[str], str, object], ...] = (
    (["--dialect", "gateway-api"], "dialect", "gateway-api"),
    (["--prefix", "> "], "prefix", "> "),
    (["-p", ""], "prefix", ""),
    (["--prefix=-x"], "prefix", "-x"),
    (["--greeting", "Hello"], "greeting", "Hello"),
    (["--greeting", ""], "greeting", ""),
    (["--discard"], "discard", True),
    (["--framing", "line"], "framing", "line"),
    (["--max-message", "1"], "max_message", 1),
    (["--encoding", "utf-8"], "encoding", "utf-8"),
    (["--idle-timeout", "0"], "idle_timeout", 0.0),
    (["--idle-timeout", "1.25"], "idle_timeout", 1.25),
    (["--idle-action", "reset"], "idle_action", "reset"),
    (["--linger", "0.5"], "linger", 0.5),
    (["--handshake-timeout", "0.5"], "handshake_timeout", 0.5),
    (["--stall-timeout", "7"], "stall_timeout", 7.0),
    (["--max-lifetime", "3600"], "max_lifetime", 3600.0),
    (["--max-connections", "5"], "max_connections", 5),
    (["--over-limit", "refuse"], "over_limit", "refuse"),
    (["--max-per-peer", "3"], "max_per_peer", 3),
    (["--allow", "10.0.0.0/8", "--allow", "::1"], "allow", ("10.0.0.0/8", "::1")),
    (["--deny=::/0"], "deny", ("::/0",)),
    (["--proxy-protocol", "require", "--proxy-from", "::1"], "proxy_protocol", "require"),
    (["--proxy-protocol", "require", "--proxy-from", "::1"], "proxy_from", ("::1",)),
    (["--allow-half-open"], "allow_half_open", True),
    (["--keep-alive", "5"], "keep_alive", 5),
    (["--nagle"], "nagle", True),
    (["--drain", "0"], "drain", 0.0),
    (["--drain-delay", "1"], "drain_delay", 1.0),
    (["--unready-delay", "120"], "unready_delay", 120.0),
    (["--drain-spread", "30"], "drain_spread", 30.0),
    (["--log", "messages"], "log", "messages"),
)


def parsed(*words: str) -> Options:
    options = Options()
    options.parseOptions(list(words))
    return options


def config(*words: str) -> Config:
    return parsed(*words).config


class OptionsTestCase(SynchronousTestCase):
    def refused(self, *words: str, act: Callable[..., object] = parsed) -> str:
        """Return the one line on standard error of a process that exits with status 1."""
        with tempfile.TemporaryFile() as file:
            stderr = os.dup(2)
            os.dup2(file.fileno(), 2)
            try:
                exit_ = self.assertRaises(SystemExit, act, *words)
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)
            file.seek(0)
            written = file.read().decode()
        self.assertEqual(exit_.code, 1)
        self.assertTrue(written.startswith("echosvc: "), written)
        self.assertTrue(written.endswith("\n"), written)
        self.assertTrue(written[:-1].isprintable(), repr(written))
        return written[:-1]

    def printed(self, *words: str) -> str:
        """Return what a process prints that exits with status 0."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exit_ = self.assertRaises(SystemExit, parsed, *words)
        self.assertIn(exit_.code, (0, None))
        return out.getvalue()


class ParseTests(OptionsTestCase):
    def test_with_no_options_all_is_as_by_default(self) -> None:
        self.assertEqual(config(), Config(half_open_timeout=2.0))

    def test_every_option_is_tried_here(self) -> None:
        tried = {name for _, name, value in OPTIONS if value != getattr(Config(), name)}
        missing = sorted({each.name for each in settings_of(Config) if each.option} - tried)
        self.assertEqual(missing, [], "add to OPTIONS a row with a value that is no default")

    def test_an_option_sets_its_setting(self) -> None:
        for words, name, value in OPTIONS:
            self.assertEqual(getattr(config(*words), name), value, words)

    def test_all_options_together(self) -> None:
        found = config(
            "-p", "{pid}", "--greeting", "hi", "--discard", "--framing", "length",
            "--max-message", "9", "--encoding", "utf-8", "--idle-timeout", "3",
            "--idle-action", "close", "--linger", "4", "--allow-half-open", "--keep-alive", "6",
            "--nagle", "--drain", "7", "--log", "quiet",
        )  # fmt: skip
        self.assertEqual(
            found,
            Config(
                prefix="{pid}", greeting="hi", discard=True, framing="length", max_message=9,
                encoding="utf-8", idle_timeout=3, idle_action="close", linger=4,
                allow_half_open=True, half_open_timeout=4, keep_alive=6, nagle=True, drain=7,
                log="quiet",
            ),
        )  # fmt: skip

    def test_a_half_open_connection_gets_the_longer_of_idle_time_out_and_linger(self) -> None:
        for idle, linger, limit in (("0.5", "2", 2), ("60", "2", 60), ("0", "0", 0)):
            found = config("--idle-timeout", idle, "--linger", linger)
            self.assertEqual(found.half_open_timeout, limit)

    def test_a_prefix_that_is_no_utf8_keeps_its_bytes(self) -> None:
        template = config("--prefix", os.fsdecode(b"\xff> ")).prefix_template()
        self.assertEqual(template.constant, b"\xff> ")


class TLSTests(SynchronousTestCase):
    """Without options nothing of TLS is imported, so its versions are written twice."""

    def test_every_version_that_tls_knows_can_be_asked_for_and_no_other(self) -> None:
        faults = {
            version: TLS_MIN_VERSION.find_error(version) for version in (*TLS_VERSIONS, "1.1")
        }
        self.assertEqual({name for name, why in faults.items() if not why}, set(TLS_VERSIONS))

    def test_the_default_is_the_one_of_tls_itself(self) -> None:
        self.assertEqual(TLS_MIN_VERSION.default, ClientAuthPolicy().min_version)


class ListenTests(OptionsTestCase):
    def test_by_default_it_is_every_address_on_port_8107(self) -> None:
        (endpoint,) = parsed().endpoints(MemoryReactorClock())
        self.assertIsInstance(endpoint, TCPListener)
        self.assertEqual((endpoint.host, endpoint.port, endpoint.backlog), (None, PORT, 511))
        self.assertEqual(PORT, 8107)

    def test_it_is_repeatable_and_replaces_the_default(self) -> None:
        options = parsed("-l", "tcp:1", "--listen", "unix:/x", "--listen=tcp6:2")
        first, second, third = options.endpoints(MemoryReactorClock())
        self.assertEqual((first.port, third.port), (1, 2))
        self.assertIsInstance(second, UNIXListener)

    def test_a_port_alone_is_of_both_families_and_a_host_before_it_is_the_interface(self) -> None:
        options = parsed("-l", "1", "-l", ":2", "-l", "127.0.0.1:3", "--listen", "tcp://[::1]:4")
        found = [(each.host, each.port) for each in options.endpoints(MemoryReactorClock())]
        self.assertEqual(found, [(None, 1), (None, 2), ("127.0.0.1", 3), ("::1", 4)])

    def test_two_command_lines_do_not_share_their_listeners(self) -> None:
        parsed("-l", "tcp:1")
        self.assertEqual(parsed("-l", "tcp:2").listen, ["tcp:2"])

    def test_a_wrong_endpoint_is_refused_in_one_line(self) -> None:
        for description in (
            "",
            "tcp",
            "tcp:http",
            "tcp:80:x=1",
            "nonsense:a:1",
            "unix:",
            "a\n\x1bb",
        ):
            options = parsed("--listen", "tcp:0", "--listen", description)
            line = self.refused(MemoryReactorClock(), act=options.endpoints)
            self.assertTrue(line.startswith(f"echosvc: --listen {description!r}: "), line)


class ErrorTests(OptionsTestCase):
    def test_a_wrong_value_is_named_with_its_option(self) -> None:
        for option, values in (
            ("--prefix", ("{port}", "{", "}", r"\q", "{env:}", "{env:NO_SUCH_VARIABLE}", "\ud800")),
            ("--greeting", ("{", "{a.b}")),
            ("--framing", ("", "lines", "LINE")),
            ("--max-message", ("", "0", "-1", "1.5", "many", "1e5", "nan", str(1 << 31))),
            ("--encoding", ("utf8", "latin-1")),
            ("--idle-timeout", ("", "-1", "nan", "inf", "-inf", "soon", "1,5", "1s")),
            ("--idle-action", ("abort", "")),
            ("--linger", ("-0.1", "nan", "infinity", "x")),
            ("--handshake-timeout", ("-0.1", "nan", "infinity", "x")),
            ("--keep-alive", ("-1", "0.5", "32768", "nan", "x")),
            ("--drain", ("-1", "nan", "1e999", "x")),
            ("--log", ("debug", "none")),
        ):
            for value in values:
                line = self.refused(f"{option}={value}")
                self.assertTrue(line.startswith(f"echosvc: {option}: "), line)
                if not option.startswith(("--prefix", "--greeting")):
                    shown = value if value in line else str(float(value))
                    self.assertIn(shown, line)

    def test_the_error_of_a_wrong_template_names_the_wrong_part(self) -> None:
        for value, part in (("{port}", "{port}"), ("{env:NO_SUCH}", "NO_SUCH"), (r"\q", r"\\q")):
            self.assertIn(part, self.refused("--prefix", value))

    def test_unknown_and_incomplete_options_are_named(self) -> None:
        for words, named in (
            (["--no-such"], "no-such"),
            (["-x"], "x"),
            (["--prefix"], "prefix"),
            (["-l"], "l"),
            (["--discard=yes"], "discard"),
            (["surplus"], "'surplus'"),
            (["--nagle", "a\nb"], r"a\nb"),
        ):
            self.assertIn(named, self.refused(*words))

    def test_hostile_arguments_never_break_the_line(self) -> None:
        hostile = "a\nb\r\x1b[2J\u2028\x85\udcff\u202e"
        for option in ("prefix=\\q", "framing=", "max-message=", "idle-timeout=", "log=", "x="):
            self.refused(f"--{option}{hostile}")
        self.refused(hostile)
        self.refused(f"--{hostile}")

    @settings(deadline=None)
    @given(
        st.sampled_from(["--framing=", "--linger=", "--keep-alive=", "--x", ""]),
        st.text(st.characters(codec=None), min_size=1, max_size=20),
    )
    def test_any_wrong_argument_is_one_line(self, option: str, text: str) -> None:
        self.refused(option + "!" + text)

    @given(st.text(st.characters()))
    def test_one_line_is_one_line(self, text: str) -> None:
        self.assertTrue(one_line(text).isprintable())

    def test_only_what_is_not_printable_is_changed(self) -> None:
        self.assertEqual(one_line("käse 'x' \\"), "käse 'x' \\")
        self.assertEqual(one_line("a\n\x1b"), r"a\n\x1b")


class ServeTests(OptionsTestCase):
    def test_the_status_of_a_usage_error_is_that_of_the_program(self) -> None:
        for words in (["--framing=no"], ["--no-such"], ["--drain=x"]):
            with self.assertRaises(SystemExit) as leaving:
                ServeOptions().parseOptions(words)
            self.assertEqual(leaving.exception.code, 2)
            self.refused(*words)  # with twistd's status


class HelpTests(OptionsTestCase):
    def test_help_names_every_option_and_its_default(self) -> None:
        text = self.printed("--help")
        for option in (*LONG, "help", "version"):
            self.assertRegex(text, rf"--{option}\b")
        self.assertRegex(text, r"-l, --listen=")
        self.assertRegex(text, r"-p, --prefix=")
        flat = " ".join(text.split())
        for default in ("Sending: ", "none", "chunk", "65536", "raw", "0.5", "log", "2.0", "0",
                        "5.0", "connections"):  # fmt: skip
            self.assertIn(f"[default: {default}]", flat)
        self.assertRegex(flat, r"--listen.*\[default: [^]]*8107")

    def test_help_says_where_to_listen_and_on_which_families(self) -> None:
        flat = " ".join(self.printed("--help").split())
        for form in (
            "PORT or tcp:PORT (IPv4 and IPv6)", "HOST:PORT or tcp:PORT:interface=HOST",
            "0.0.0.0 = IPv4 only", "tcp6:PORT (IPv6 only)", "unix:PATH:mode=660",
            "ssl:PORT:privateKey=FILE:certKey=FILE", "tls:DIRECTORY:PORT", "tcp://HOST:PORT",
            "NAME: in front selects an endpoint type.",
        ):  # fmt: skip
            self.assertIn(form, flat)

    def test_the_help_has_no_option_without_a_row(self) -> None:
        found = set(re.findall(r"--([a-z-]+)", self.printed("--help").partition("Examples")[0]))
        found -= {"option"}  # of the words "--option=VALUE"
        self.assertEqual(found - {"help", "version"} - NEGATED, set(LONG))
        self.assertLessEqual(NEGATED, found)

    def test_version(self) -> None:
        self.assertEqual(self.printed("--version"), f"echosvc {__version__}\n")
