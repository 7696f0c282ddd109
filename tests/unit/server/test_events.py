"""What is said of connections: the words, and that nobody else's words get in."""

from __future__ import annotations

import json
import unicodedata
from string import Formatter

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet._posixstdio import PipeAddress
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import _ProcessAddress
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from echosvc._text import SHOWN, escaped
from echosvc.connection.outcome import Outcome
from echosvc.net.addresses import format_address, format_listener, plain_ip
from echosvc.server.events import BURST, PERIOD, EventLog
from echosvc.tls.alerts import alert_advice


def v4(host: str, port: int) -> IPv4Address:
    return IPv4Address("TCP", host, port)


def v6(host: str, port: int) -> IPv6Address:
    return IPv6Address("TCP", host, port)


class AlertTests(SynchronousTestCase):
    def test_what_the_server_says_of_the_clients_certificate_is_advised(self) -> None:
        for words in (
            "tlsv13 alert certificate required",
            "tlsv1 alert unknown ca",
            "tlsv1 alert access denied",
            "sslv3 alert bad certificate",
            "sslv3 alert handshake failure",
            "sslv3 alert certificate expired; and more",
        ):
            self.assertIn("(--cert, --key)", alert_advice(f"TLS: {words}"), words)

    def test_what_the_client_itself_says_is_no_alert(self) -> None:
        for words in ("certificate expired", "certificate verify failed", "tlsv1 alert odd"):
            self.assertEqual(alert_advice(f"TLS: {words}"), "")


class EscapedTests(SynchronousTestCase):
    def assert_harmless(self, shown: str) -> None:
        self.assertTrue(shown.isprintable(), repr(shown))
        self.assertEqual((shown[0], shown[-1]), ("'", "'"))
        self.assertLessEqual(len(shown), SHOWN + 2)
        self.assertFalse([each for each in shown if unicodedata.category(each)[0] == "C"])

    @given(st.binary() | st.binary(min_size=150, max_size=300))
    def test_no_bytes_can_harm_a_terminal_or_a_log(self, data: bytes) -> None:
        self.assert_harmless(escaped(data))

    @given(st.text() | st.text(min_size=150, max_size=300))
    def test_no_text_can_harm_a_terminal_or_a_log(self, text: str) -> None:
        self.assert_harmless(escaped(text))

    def test_every_single_byte_is_harmless(self) -> None:
        for byte in range(256):
            self.assert_harmless(escaped(bytes((byte,))))

    def test_plain_text_is_shown_as_it_is(self) -> None:
        self.assertEqual(escaped(b"More Axes"), "'More Axes'")
        self.assertEqual(escaped("bäume"), "'bäume'")
        self.assertEqual(escaped(b""), "''")

    def test_controls_and_quotes_are_escaped(self) -> None:
        self.assertEqual(escaped(b"a\r\n\x1b[2J\xff\0"), r"'a\r\n\x1b[2J\xff\x00'")
        self.assertEqual(escaped(b"it's"), r"'it\'s'")
        self.assertEqual(escaped(b"'\""), r"""'\'"'""")
        self.assertEqual(escaped("\u202e"), r"'\u202e'")

    def test_short_enough_is_whole_and_longer_is_marked(self) -> None:
        self.assertEqual(escaped(b"x" * 200), "'" + "x" * 200 + "'")
        self.assertEqual(escaped(b"x" * 201), "'" + "x" * 197 + "...'")
        self.assertEqual(escaped(b"\0" * 50), "'" + r"\x00" * 50 + "'")
        self.assertEqual(len(escaped(b"\0" * 51)), 202)

    def test_megabytes_are_not_escaped_to_show_a_part(self) -> None:
        class Sliced(bytes):
            def __getitem__(self, place: slice) -> bytes:
                self.stop = place.stop
                return bytes.__getitem__(self, place)

        data = Sliced(b"x" * 1000)
        escaped(data)
        self.assertEqual(data.stop, SHOWN)


class AddressTests(SynchronousTestCase):
    def test_ip_addresses_are_host_and_port(self) -> None:
        self.assertEqual(format_address(v4("192.0.2.1", 8107)), "192.0.2.1:8107")
        self.assertEqual(format_address(v6("2001:db8::1", 5)), "[2001:db8::1]:5")
        self.assertEqual(format_address(v6("fe80::1%eth0", 5)), "[fe80::1%eth0]:5")

    def test_ipv4_through_an_ipv6_socket_is_shown_as_ipv4(self) -> None:
        self.assertEqual(format_address(v6("::ffff:192.0.2.1", 5)), "192.0.2.1:5")

    def test_only_such_addresses_are_shortened(self) -> None:
        for host in ("::1", "::", "::ffff:1:2", "2001:db8::ffff:1.2.3.4"):
            self.assertEqual(plain_ip(host), host)

    def test_unix_addresses(self) -> None:
        for name, shown in (
            (b"/run/echo.sock", "unix:/run/echo.sock"),
            ("/tmp/käse".encode(), "unix:/tmp/käse"),
            (b"\0abstract", "unix:@abstract"),
            (None, "unix:"),
            (b"/tmp/a\n\x1b[2Jb", r"unix:/tmp/a\n\x1b[2Jb"),
            (b"/tmp/\xff", r"unix:/tmp/\udcff"),
            (b"\0\0\x01", r"unix:@\x00\x01"),
        ):
            self.assertEqual(format_address(UNIXAddress(name)), shown)

    def test_an_unknown_kind_of_address_is_shown_harmless(self) -> None:
        self.assertEqual(format_address("a\nb"), r"a\nb")

    def test_what_has_no_address_is_shown_as_a_dash(self) -> None:
        for address in (None, PipeAddress(), _ProcessAddress()):
            self.assertEqual(format_address(address), "-")

    @given(st.binary(min_size=1, max_size=108))
    def test_no_path_can_harm_a_log(self, name: bytes) -> None:
        self.assertTrue(format_address(UNIXAddress(name)).isprintable())

    def test_listeners_are_shown_as_node_does(self) -> None:
        for address, shown in (
            (v6("::", 8107), '{"address":"::","family":"IPv6","port":8107}'),
            (v4("0.0.0.0", 80), '{"address":"0.0.0.0","family":"IPv4","port":80}'),
            (v6("fe80::1%eth0", 9), '{"address":"fe80::1%eth0","family":"IPv6","port":9}'),
            (IPv4Address("TCP", "::1", 7), '{"address":"::1","family":"IPv6","port":7}'),
            (UNIXAddress(b"/run/e.sock"), '{"path":"/run/e.sock"}'),
            (UNIXAddress(b"\0e"), '{"path":"@e"}'),
        ):
            self.assertEqual(format_listener(address), shown)

    def test_any_listener_is_one_line_of_json(self) -> None:
        for address in (UNIXAddress(b'/a"\n\\\xff'), "what\n", None):
            shown = format_listener(address)
            self.assertTrue(shown.isprintable())
            self.assertIsInstance(json.loads(shown), dict)


def _fields(event: dict[str, object]) -> set[str]:
    """The fields of an event's format."""
    parsed = Formatter().parse(str(event["log_format"]))
    return {name for _, name, _, _ in parsed if name}


class LineTests(SynchronousTestCase):
    def line(self, name: str, *arguments: object) -> tuple[str, LogLevel]:
        """What one call of a report says; that it is one event, of our namespace."""
        with capturedLogs() as events:
            getattr(EventLog("messages", Clock().callLater), name)(*arguments)
        (event,) = events
        self.assertEqual(event["log_namespace"], "echosvc")
        return formatEvent(event), event["log_level"]

    def test_listening(self) -> None:
        self.assertEqual(
            self.line("listening", v6("::", 8107)),
            ('Server listening: {"address":"::","family":"IPv6","port":8107}', LogLevel.info),
        )

    def test_terminated(self) -> None:
        self.assertEqual(self.line("terminated"), ("Server Terminated", LogLevel.info))

    def test_server_error(self) -> None:
        self.assertEqual(
            self.line("server_error", "no {braces} harm"),
            ("Server Error: no {braces} harm", LogLevel.error),
        )

    def test_connected(self) -> None:
        self.assertEqual(
            self.line("connected", "127.0.0.1:8107", "127.0.0.1:5"),
            ("Client connection: local = 127.0.0.1:8107 remote = 127.0.0.1:5", LogLevel.info),
        )

    def test_connected_by_tls(self) -> None:
        self.assertEqual(
            self.line("connected", "l", "r", "TLSv1.3", "a\x1b")[0],
            "Client connection: local = l remote = r tls = TLSv1.3 'a\\x1b'",
        )

    def test_refused(self) -> None:
        self.assertEqual(
            self.line("refused", v4("192.0.2.1", 5), "its network is denied"),
            ("Client refused: its network is denied remote = 192.0.2.1:5", LogLevel.warn),
        )

    def test_at_the_limit(self) -> None:
        self.assertEqual(
            self.line("at_limit", 5)[0], "at the limit of 5 connections: new ones have to wait"
        )

    def test_reloaded(self) -> None:
        self.assertEqual(self.line("reloaded", "[::]:1")[0], "Certificates reloaded: [::]:1")

    def test_a_flood_of_bad_clients_makes_few_lines_and_a_count(self) -> None:
        clock = Clock()
        report = EventLog("connections", clock.callLater)
        bad = (Outcome.RESET, Outcome.HANDSHAKE)
        with capturedLogs() as events:
            for _ in range(1000):
                report.refused(v4("192.0.2.1", 5), "over the limit")
                report.socket_error("r", "broken")
                for outcome in bad:
                    report.disconnected("r", outcome, 1, 2, 3.0, 4)
            said = len(events)
            clock.advance(PERIOD)
            report.terminated()
        self.assertEqual(said, 1 + 3 * BURST)
        counts = [each["count"] for each in events if "count" in each]
        self.assertEqual((len(counts), sum(counts) + said), (4, 4000))
        self.assertEqual(formatEvent(events[-1]), "Server Terminated")

    def test_the_stop_says_what_was_left_out(self) -> None:
        clock = Clock()
        report = EventLog("quiet", clock.callLater)
        with capturedLogs() as events:
            for _ in range(3):
                report.refused(None, "over the limit")
            report.terminated()
        self.assertEqual([each.get("count") for each in events], [None, 2, None])
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_clients_that_fall_idle_again_and_again_make_few_lines(self) -> None:
        clock = Clock()
        report = EventLog("connections", clock.callLater)
        with capturedLogs() as events:
            for _ in range(300):
                report.timed_out("r", 0.5)
            clock.advance(PERIOD)
        self.assertEqual(len(events), BURST + 1)
        self.assertEqual(
            formatEvent(events[-1]), "Socket Timed out: 290 more such lines left out in 1 s"
        )

    def test_good_clients_have_all_their_lines(self) -> None:
        with capturedLogs() as events:
            report = EventLog("connections", Clock().callLater)
            for _ in range(1000):
                report.connected("l", "r")
                report.disconnected("r", Outcome.FINISHED, 1, 2, 3.0, 4)
        self.assertEqual(len(events), 2000)

    def test_received(self) -> None:
        self.assertEqual(
            self.line("received", 47904, b"More Axes", 9, 18)[0],
            "Received data from client on port 47904: 'More Axes' Bytes received: 9 Bytes sent: 18",
        )

    def test_received_is_escaped_cut_and_never_a_format(self) -> None:
        text, _ = self.line("received", 1, b"{port}\n\x1b" + b"x" * 500, 1, 2)
        self.assertIn(r"port 1: '{port}\n\x1bxxx", text)
        self.assertIn("xxx...' Bytes", text)
        self.assertTrue(text.isprintable())

    def test_no_observer_of_the_old_kind_takes_a_field_away(self) -> None:
        """Twisted blanks a field called ``message`` for the observers after such a one."""
        for name, arguments in (
            ("received", (5, b"More Axes", 9, 18)),
            ("connected", ("l", "r")),
            ("disconnected", ("r", Outcome.RESET, 1, 2, 3.0, 4)),
        ):
            with capturedLogs() as events:
                getattr(EventLog("messages", Clock().callLater), name)(*arguments)
            (event,) = events
            self.assertEqual({"message", "time", "system", "format"} & _fields(event), set())

    def test_timed_out(self) -> None:
        self.assertEqual(
            self.line("timed_out", "127.0.0.1:5", 0.50049)[0],
            "Socket Timed out: remote = 127.0.0.1:5 idle seconds = 0.500",
        )

    def test_socket_error(self) -> None:
        self.assertEqual(
            self.line("socket_error", "127.0.0.1:5", "Connection reset"),
            ("Socket Error: Connection reset remote = 127.0.0.1:5", LogLevel.warn),
        )

    def test_disconnected(self) -> None:
        self.assertEqual(
            self.line("disconnected", "127.0.0.1:5", Outcome.TIMED_OUT, 5, 14, 1.25, 2)[0],
            "Client disconnected: remote = 127.0.0.1:5 outcome = timed-out bytes in = 5"
            " bytes out = 14 seconds = 1.250 Remaining Connections: 2",
        )

    def test_the_facts_stand_in_fields(self) -> None:
        with capturedLogs() as events:
            EventLog("connections", Clock().callLater).disconnected(
                "r", Outcome.RESET, 1, 2, 3.0, 4
            )
        self.assertEqual(events[0]["outcome"], "reset")
        self.assertIs(type(events[0]["outcome"]), str)
        self.assertEqual([events[0][name] for name in ("bytes_in", "bytes_out")], [1, 2])
        self.assertEqual(events[0]["remaining"], 4)


class LevelTests(SynchronousTestCase):
    def test_the_level_decides_which_lines_are_wanted(self) -> None:
        for level, connections, messages in (
            ("quiet", False, False),
            ("connections", True, False),
            ("messages", True, True),
        ):
            report = EventLog(level, Clock().callLater)
            self.assertEqual((report.connections, report.messages), (connections, messages))


class OutcomeTests(SynchronousTestCase):
    def test_the_words_are_a_fixed_set(self) -> None:
        self.assertEqual(
            {str(word) for word in Outcome},
            {
                "finished", "reset", "timed-out", "too-long", "truncated", "drained", "closed",
                "aborted", "stalled", "failed", "handshake", "expired",
            },
        )  # fmt: skip

    def test_a_word_is_a_string(self) -> None:
        self.assertEqual(f"{Outcome.TOO_LONG}", "too-long")
        self.assertEqual(Outcome.FINISHED, "finished")
