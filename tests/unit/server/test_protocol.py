"""What one client gets: every message answered, in order, however it ends."""

from __future__ import annotations

import os
import re
import socket

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from echosvc import EchoProtocol, Outcome
from echosvc.connection.sender import HIGH_WATER
from tests.support.examples import examples
from tests.support.server import ServerTestCase, framed, lines_of


class ReplyTests(ServerTestCase):
    def test_each_read_is_answered_with_the_prefix(self) -> None:
        self.assertEqual(self.exchange(b"one", b"two"), b"Sending: oneSending: two")
        self.assertIs(self.outcome, Outcome.FINISHED)

    def test_a_client_that_only_finishes_gets_an_end(self) -> None:
        self.assertEqual(self.exchange(), b"")
        self.assertIs(self.outcome, Outcome.FINISHED)

    def test_data_and_fin_together_are_answered(self) -> None:
        line, connection = self.line()
        line.peer.send(b"hello")
        line.peer.shutdown(socket.SHUT_WR)
        self.assertEqual(line.receive_all(), b"Sending: hello")
        self.assertEqual((connection.bytes_in, connection.bytes_out), (5, 14))

    def test_the_prefix_has_all_its_fields(self) -> None:
        factory = self.factory(prefix="{hostname} {pid} {local} {peer} {connection} {message}: ")
        factory.buildProtocol(None).makeConnection(StringTransport())
        connection, transport = factory.buildProtocol(None), StringTransport()
        connection.makeConnection(transport)
        connection.dataReceived(b"a")
        connection.dataReceived(b"b")
        facts = f"{socket.gethostname()} {os.getpid()} 10.0.0.1:12345 192.168.1.1:54321 2"
        self.assertEqual(transport.value(), f"{facts} 1: a{facts} 2: b".encode())

    def test_connections_and_messages_are_numbered_from_one(self) -> None:
        factory = self.factory(prefix="{connection}.{message} ", framing="line")
        for number in (1, 2, 3):
            line, connection = self.line(factory=factory)
            line.send(b"a\nb\n")
            line.send(b"c\n")
            expected = "".join(f"{number}.{n} {x}\n" for n, x in enumerate("abc", 1))
            self.assertEqual(line.receive().decode(), expected)
            self.assertEqual((connection.number, connection.messages), (number, 3))
            line.finish()

    def test_lines_and_lengths(self) -> None:
        self.assertEqual(
            self.exchange(b"a\r\nb", b"\n\nlast", framing="line", prefix="> "),
            b"> a\r\n> b\n> \n> last",
        )
        self.assertEqual(
            self.exchange(framed(b"ab") + framed(b"")[:3], b"\0", framing="length", prefix="> "),
            framed(b"> ab") + framed(b"> "),
        )

    def test_a_read_without_a_whole_character_gets_no_reply(self) -> None:
        found = self.exchange(
            b"a\xe2", b"\x82", b"\xacb", b"\xf0\x9f", encoding="utf-8", prefix=">"
        )
        self.assertEqual(found, ">a>€b>\ufffd".encode())

    def test_replies_to_one_read_leave_in_one_write(self) -> None:
        class Counting(StringTransport):
            writes = 0

            def write(self, data: bytes) -> None:
                self.writes += 1
                super().write(data)

        transport = Counting()
        connection = self.factory(framing="line").buildProtocol(None)
        connection.makeConnection(transport)
        connection.dataReceived(b"a\n" * 100)
        self.assertEqual(transport.writes, 1)
        self.assertEqual(transport.value(), b"Sending: a\n" * 100)

    def test_an_empty_prefix_is_a_plain_echo(self) -> None:
        data = bytes(range(256))
        self.assertEqual(self.exchange(data, prefix=""), data)
        self.assertEqual(self.exchange(data, prefix=b""), data)

    @examples(50)
    @given(st.lists(st.binary(min_size=1, max_size=40), max_size=8))
    def test_without_the_prefixes_it_is_what_was_sent(self, pieces: list[bytes]) -> None:
        for framing in ("chunk", "line"):
            received = self.exchange(*pieces, framing=framing, prefix=b"\0<prefix>\0")
            self.assertEqual(received.replace(b"\0<prefix>\0", b""), b"".join(pieces))
            self.doCleanups()


class GreetingTests(ServerTestCase):
    def test_a_greeting_is_sent_once_before_all_else(self) -> None:
        line, connection = self.line(greeting="Hello {connection}\\n")
        line.turn()
        self.assertEqual(line.receive(), b"Hello 1\n")
        line.send(b"x")
        self.assertEqual(line.receive(), b"Sending: x")
        self.assertEqual(connection.bytes_out, 18)

    def test_an_empty_greeting_is_nothing(self) -> None:
        self.assertEqual(self.exchange(b"x", greeting="", prefix=""), b"x")

    def test_the_tutorials_first_server_greets_and_listens(self) -> None:
        with capturedLogs() as events:
            received = self.exchange(
                b"some data \r\n", greeting="Hello", discard=True, log="messages"
            )
        self.assertEqual(received, b"Hello")
        (told,) = [event for event in events if event.get("bytes_in") and "port" in event]
        self.assertEqual((told["bytes_in"], told["bytes_out"]), (12, 5))


class FlowTests(ServerTestCase):
    def test_a_client_that_does_not_read_cannot_grow_the_server(self) -> None:
        line, connection = self.line(send_buffer=4096)
        data = os.urandom(4 << 20)
        sent = line.offer(data)
        self.assertLess(sent, 1 << 20)
        self.assertLessEqual(connection.queued, HIGH_WATER + 65536 + len(b"Sending: "))
        received = bytearray()
        while sent < len(data):
            received += line.receive()
            sent += line.offer(data[sent:], give_up=1)
            self.assertLessEqual(connection.queued, HIGH_WATER + 65536 + 9)
        received += line.receive_all()
        self.assertTrue(received.replace(b"Sending: ", b"") == data)

    def test_short_lines_with_a_long_prefix_cannot_grow_the_server(self) -> None:
        prefix = b"p" * 1000
        line, connection = self.line(send_buffer=4096, framing="line", prefix=prefix)
        line.peer.send(b"\n" * 60_000)
        received = bytearray()
        most = quiet = 0
        while quiet < 3:
            line.turn()
            most = max(most, connection.queued)
            piece = line.receive()
            received += piece
            quiet = 0 if piece else quiet + 1
        self.assertLessEqual(most, HIGH_WATER + len(prefix) + 1)
        self.assertTrue(received == (prefix + b"\n") * 60_000)
        self.assertEqual(connection.messages, 60_000)

    def test_a_fin_behind_what_waits_ends_nothing_early(self) -> None:
        line, connection = self.line(send_buffer=4096, framing="line", prefix=b"p" * 1000)
        line.peer.send(b"\n" * 1000 + b"last")
        line.peer.shutdown(socket.SHUT_WR)
        line.turn(3)
        self.assertFalse(connection.closing)
        received = line.receive_all()
        self.assertTrue(received == (b"p" * 1000 + b"\n") * 1000 + b"p" * 1000 + b"last")
        self.assertIs(connection.outcome, Outcome.FINISHED)

    def test_a_fin_that_is_told_while_replies_wait_ends_nothing_early(self) -> None:
        """As by transports that read on for a while after they were paused."""
        line, connection = self.line(send_buffer=4096, framing="line", prefix=b"p" * 1000)
        line.send(b"\n" * 1000 + b"last")
        connection.readConnectionLost()
        self.assertFalse(connection.closing)
        received = line.receive_all()
        self.assertTrue(received == (b"p" * 1000 + b"\n") * 1000 + b"p" * 1000 + b"last")
        self.assertIs(connection.outcome, Outcome.FINISHED)

    def test_a_connection_that_is_full_can_be_drained(self) -> None:
        line, connection = self.line(send_buffer=4096)
        sent = line.offer(b"x" * (1 << 20))
        connection.close_with(Outcome.DRAINED)
        received = line.receive_all()
        self.assertTrue(line.at_end())
        self.assertEqual(received.count(b"x"), sent - line_unread(connection, sent))


def line_unread(connection: EchoProtocol, sent: int) -> int:
    """What of ``sent`` had not been answered when our end was decided."""
    replies = connection.bytes_out - 9 * connection.messages
    return sent - replies


class LimitTests(ServerTestCase):
    def test_at_a_message_too_long_the_replies_due_are_sent_first(self) -> None:
        for framing, good, bad in (
            ("line", b"1234567\n", b"123456789"),
            ("length", framed(b"12345678"), framed(b"123456789")),
        ):
            line, connection = self.line(framing=framing, max_message=8, prefix=b">")
            line.send(good * 2 + bad)
            line.turn()
            reply = framed(b">12345678") if framing == "length" else b">1234567\n"
            self.assertEqual(line.receive(), reply * 2)
            self.assertTrue(line.at_end())
            pending = connection._framer.pending
            line.send(b"read and thrown away" * 100)
            self.assertEqual(connection._framer.pending, pending)
            line.finish()
            self.assertIs(connection.outcome, Outcome.TOO_LONG)
            self.assertEqual(connection.messages, 2)

    def test_an_incomplete_frame_is_truncated_and_not_answered(self) -> None:
        received = self.exchange(framed(b"ab") + framed(b"cd")[:5], framing="length", prefix="")
        self.assertEqual(received, framed(b"ab"))
        self.assertIs(self.outcome, Outcome.TRUNCATED)

    def test_a_truncated_stream_does_not_stay_half_open(self) -> None:
        self.exchange(b"\0\0", framing="length", allow_half_open=True)
        self.assertIs(self.outcome, Outcome.TRUNCATED)


class ShortWayTests(ServerTestCase):
    """A plain echo is answered by a way of its own, which must change nothing."""

    def test_a_reply_that_one_connection_was_given_is_used(self) -> None:
        def greet(connection: EchoProtocol) -> None:
            connection.reply = lambda message: b"custom " + message

        line, _ = self.line(on_connect=greet)
        line.send(b"hello")
        self.assertEqual(line.receive(), b"custom hello")

    def test_what_is_read_though_paused_waits_its_turn(self) -> None:
        """Another connection may have paused it in the reactor's same turn."""
        line, connection = self.line(prefix=b"> ")
        connection.pause()
        for late in (b"one", b"two"):
            connection.dataReceived(late)
        line.turn()
        self.assertEqual(line.receive(), b"")
        connection.resume()
        line.send(b"three")
        self.assertEqual(line.receive(), b"> one> two> three")
        self.assertEqual((connection.messages, connection.replies), (3, 3))


class WriteTests(ServerTestCase):
    def test_what_the_application_writes_is_counted_and_in_order(self) -> None:
        line, connection = self.line()
        line.send(b"a")
        connection.write(b"b")
        line.send(b"c")
        self.assertEqual(line.receive(), b"Sending: abSending: c")
        self.assertEqual(connection.bytes_out, 21)

    def test_a_write_after_the_end_is_ignored(self) -> None:
        line, connection = self.line()
        connection.finish()
        connection.write(b"late")
        line.finish()
        connection.write(b"later")
        self.assertEqual((line.receive(), connection.bytes_out), (b"", 0))

    def test_a_write_is_activity(self) -> None:
        told = []

        class Telling(EchoProtocol):
            def idle(self, seconds: float) -> None:
                told.append(self.factory.timers.now())

        line, connection = self.line(Telling)
        line.wait(0.3)
        connection.write(b"x")
        line.wait(0.45)
        self.assertEqual(told, [])
        line.wait(0.2)
        self.assertEqual(len(told), 1)


class LogTests(ServerTestCase):
    def lines(self, level: str, reason: type[Exception] = ConnectionDone) -> list[str]:
        """What is logged of one connection."""
        factory = self.factory(log=level, framing="line")
        with capturedLogs() as events:
            connection = factory.buildProtocol(None)
            peer = IPv4Address("TCP", "192.0.2.1", 47904)
            connection.makeConnection(StringTransport(peerAddress=peer))
            connection.dataReceived(b"ab\ncde\n")
            factory.timers._clock.pump([0.1] * 8)
            connection.connectionLost(Failure(reason("gone")))
        return lines_of(events)

    def test_quiet_says_nothing_of_a_connection(self) -> None:
        self.assertEqual(self.lines("quiet"), [])
        self.assertEqual(self.lines("quiet", ConnectionLost), [])

    def test_connections_says_what_becomes_of_each(self) -> None:
        self.assertEqual(
            [re.sub(r"\d\.\d{3}", "S", text) for text in self.lines("connections")],
            [
                "Client connection: local = 10.0.0.1:12345 remote = 192.0.2.1:47904",
                "Socket Timed out: remote = 192.0.2.1:47904 idle seconds = S",
                "Client disconnected: remote = 192.0.2.1:47904 outcome = finished bytes in = 7"
                " bytes out = 25 seconds = S Remaining Connections: 0",
            ],
        )

    def test_a_reset_is_one_socket_error_before_the_end(self) -> None:
        lines = self.lines("connections", ConnectionLost)
        self.assertEqual(sum(text.startswith("Socket Error: ") for text in lines), 1)
        self.assertTrue(lines[-2].startswith("Socket Error: "))
        self.assertIn("outcome = reset", lines[-1])

    def test_messages_has_the_totals_so_far(self) -> None:
        totals = [
            re.search(r"port (\d+): .* received: (\d+) Bytes sent: (\d+)", text)
            for text in self.lines("messages")
            if text.startswith("Received data")
        ]
        self.assertEqual(
            [found.groups() for found in totals], [("47904", "7", "12"), ("47904", "7", "25")]
        )

    def test_a_unix_peer_has_no_port(self) -> None:
        with capturedLogs() as events:
            self.exchange(b"x", log="messages")
        self.assertIn("port -: ", " ".join(lines_of(events)))

    def test_nothing_is_computed_for_a_line_that_is_not_shown(self) -> None:
        class Refusing:
            """A report that must not be used."""

            connections = messages = False

        class NoAddress(StringTransport):
            """Says no more of its addresses than that they are there."""

            def getHost(self) -> object:
                return NoText()

            getPeer = getHost

        class NoText:
            def __str__(self) -> str:
                raise AssertionError("computed for nothing")

            __repr__ = __str__

        for options in ({}, {"idle_action": "close"}, {"idle_action": "reset"}):
            factory = self.factory(log="quiet", **options)
            factory.events = Refusing()
            connection = factory.buildProtocol(None)
            connection.makeConnection(NoAddress())
            connection.dataReceived(b"x")
            factory.timers._clock.pump([0.1] * 8)
            connection.connectionLost(Failure(ConnectionLost()))
            self.assertEqual(self.flushLoggedErrors(), [])
