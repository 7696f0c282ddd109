"""What one client gets: every message answered, in order, however it ends."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from echosvc import EchoFactory, EchoProtocol, Outcome
from echosvc.connection.sender import HIGH_WATER
from tests.unit.connection.test_sending import Line


class Broken(Exception):
    """Raised by an application."""


def framed(payload: bytes) -> bytes:
    return struct.pack("!I", len(payload)) + payload


def lines_of(events: list[dict[str, object]]) -> list[str]:
    return [formatEvent(event) for event in events if event["log_namespace"] == "echosvc"]


class ServerTestCase(SynchronousTestCase):
    def factory(
        self, protocol: type[EchoProtocol] = EchoProtocol, **options: object
    ) -> EchoFactory:
        factory = EchoFactory(clock=Clock(), **options)
        factory.protocol = protocol
        return factory

    def line(
        self,
        protocol: type[EchoProtocol] = EchoProtocol,
        factory: EchoFactory | None = None,
        send_buffer: int = 0,
        **options: object,
    ) -> tuple[Line, EchoProtocol]:
        """A client of a server, and the server's side of it."""
        factory = factory or self.factory(protocol, **options)
        connection = factory.buildProtocol(None)
        line = Line(connection, factory.timers._clock, send_buffer)
        self.addCleanup(line.close)
        return line, connection

    def exchange(self, *pieces: bytes, **options: object) -> bytes:
        """What comes back in all when the client sends these and finishes."""
        line, connection = self.line(**options)
        for piece in pieces:
            line.send(piece)
        line.peer.shutdown(socket.SHUT_WR)
        received = line.receive_all()
        self.assertTrue(line.at_end())
        self.assertIsNotNone(connection.outcome)
        self.outcome = connection.outcome
        return received


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

    @settings(deadline=None, max_examples=50)
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


class OverrideTests(ServerTestCase):
    def test_a_subclass_answers_something_else(self) -> None:
        class Shouting(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                return None if message == b"quiet\n" else self.prefix + message.upper()

        found = self.exchange(
            b"a\nquiet\nb\n", protocol=Shouting, framing="line", prefix="{message} "
        )
        self.assertRegex(found, rb"\A1 A\n[23] B\n\Z")

    def test_an_empty_reply_is_one(self) -> None:
        class Empty(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                return b""

        self.assertEqual(
            self.exchange(framed(b"abc"), protocol=Empty, framing="length"), framed(b"")
        )

    def test_a_fault_ends_the_connection_once_earlier_replies_are_taken(self) -> None:
        class Faulty(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                if message == b"bad\n":
                    raise error
                return message

        for error in (Broken, asyncio.CancelledError, SystemExit, KeyboardInterrupt):
            for ending in (b"", b"\nnever answered\n"):
                line, connection = self.line(Faulty, framing="line")
                line.send(b"a\nb\nbad\n" + ending)
                line.wait(0.9)
                self.assertFalse(line.transport.disconnected)
                self.assertEqual(line.receive(), b"a\nb\n")
                line.wait(0.1)
                self.assertTrue(line.transport.disconnected)
                self.assertIs(connection.outcome, Outcome.FAILED)
                self.assertEqual(len(self.flushLoggedErrors(error)), 1)

    def test_a_client_that_does_not_take_them_is_not_waited_for(self) -> None:
        class Faulty(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                raise Broken

        line, connection = self.line(Faulty, greeting="hello", linger=3)
        line.send(b"x")
        line.wait(2.9)
        self.assertFalse(line.transport.disconnected)
        line.wait(0.2)
        self.assertTrue(line.transport.disconnected)
        self.assertIs(connection.outcome, Outcome.FAILED)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_a_fault_in_the_last_message_ends_it_the_same(self) -> None:
        class Faulty(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                raise Broken

        self.assertEqual(self.exchange(b"no lf", protocol=Faulty, framing="line"), b"")
        self.assertIs(self.outcome, Outcome.FAILED)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_a_reply_may_finish_the_connection(self) -> None:
        class Quitting(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                if message == b"quit\n":
                    self.finish()
                return b"> " + message

        line, connection = self.line(Quitting, framing="line")
        line.send(b"a\nquit\nnever answered\n")
        line.turn()
        self.assertEqual(line.receive(), b"> a\n> quit\n")
        self.assertTrue(line.at_end())
        line.finish()
        self.assertIs(connection.outcome, Outcome.CLOSED)

    def test_a_reply_may_finish_a_connection_that_cannot_half_close(self) -> None:
        """After the end of a TLS connection nothing more can be written."""

        class Closing(StringTransport):
            def write(self, data: bytes) -> None:
                if not self.disconnecting:
                    super().write(data)

        class Quitting(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                self.finish()
                return b"bye"

        connection = self.factory(Quitting).buildProtocol(None)
        transport = Closing()
        connection.makeConnection(transport)
        connection.dataReceived(b"quit")
        self.assertEqual(transport.value(), b"bye")
        self.assertTrue(transport.disconnecting)

    def test_a_reply_may_abort_the_connection(self) -> None:
        class Aborting(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                self.abort()
                return message

        factory = self.factory(Aborting)
        connection = factory.buildProtocol(None)
        connection.makeConnection(StringTransport(lenient=True))
        connection.dataReceived(b"x")
        with capturedLogs() as events:
            factory.timers._clock.pump([0.1] * 10)
        self.assertEqual(lines_of(events), [])  # an aborted connection is not idle
        self.assertEqual(self.flushLoggedErrors(), [])
        connection.connectionLost(Failure(ConnectionAborted()))
        self.assertIs(connection.outcome, Outcome.ABORTED)

    def test_what_a_reply_writes_itself_stays_in_order(self) -> None:
        class Writing(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                if message == b"b\n":
                    self.write(message)
                    return None
                return message

        self.assertEqual(
            self.exchange(b"a\nb\nc\n", protocol=Writing, framing="line"), b"a\nb\nc\n"
        )

    def test_a_reply_that_is_no_bytes_ends_the_connection_as_failed(self) -> None:
        class Mistyped(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                return "text" if message == b"b\n" else message

        line, connection = self.line(Mistyped, framing="line")
        line.send(b"a\nb\n")
        self.assertEqual(line.receive(), b"a\n")
        line.finish()
        self.assertIs(connection.outcome, Outcome.FAILED)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)


class HookTests(ServerTestCase):
    def told(self, **options: object) -> tuple[Line, list[object]]:
        told: list[object] = []

        class Telling(EchoProtocol):
            def opened(self) -> None:
                super().opened()
                told.append("opened")

            def peer_ended(self) -> None:
                told.append("peer ended")

            def idle(self, seconds: float) -> None:
                told.append("idle")

            def ended(self, outcome: Outcome) -> None:
                told.append(outcome)

        line, _ = self.line(Telling, **options)
        return line, told

    def test_each_hook_is_called_in_its_time(self) -> None:
        line, told = self.told(idle_timeout=0.5, greeting="hi")
        self.assertEqual(told, ["opened"])
        line.wait(0.6)
        line.send(b"x")
        line.finish()
        line.turn()
        self.assertEqual(told, ["opened", "idle", "peer ended", Outcome.FINISHED])

    def test_the_greeting_comes_before_what_opened_writes(self) -> None:
        class Writing(EchoProtocol):
            def opened(self) -> None:
                self.write(b"2")

        self.assertEqual(self.exchange(protocol=Writing, greeting="1"), b"12")

    def test_peer_ended_comes_after_the_last_reply_and_may_write(self) -> None:
        class Writing(EchoProtocol):
            def peer_ended(self) -> None:
                self.write(b"bye")

        found = self.exchange(b"no lf", protocol=Writing, framing="line", prefix="> ")
        self.assertEqual(found, b"> no lfbye")

    def test_a_fault_in_a_hook_ends_that_connection_alone(self) -> None:
        hooks = ("opened", "peer_ended", "idle", "ended")
        for name, error in itertools.product(hooks, (Broken, asyncio.CancelledError)):

            def fault(*_: object, error: type[BaseException] = error) -> None:
                raise error

            faulty = type("Faulty", (EchoProtocol,), {name: fault})
            factory = self.factory(faulty, idle_timeout=0.5)
            line, connection = self.line(factory=factory)
            factory.protocol = EchoProtocol
            other, _ = self.line(factory=factory)
            line.wait(0.6)
            line.finish()
            line.wait(3)
            line.turn(3)
            expected = Outcome.FINISHED if name == "ended" else Outcome.FAILED
            self.assertIs(connection.outcome, expected, name)
            self.assertEqual(len(self.flushLoggedErrors(error)), 1, name)
            other.send(b"x")
            self.assertEqual(other.receive(), b"Sending: x")
            self.assertEqual(factory.count, 1)

    def test_a_fault_in_on_connect_ends_that_connection_alone(self) -> None:
        def fault(_: EchoProtocol) -> None:
            raise Broken

        line, connection = self.line(on_connect=fault, greeting="hi")
        line.turn()
        self.assertEqual(line.receive(), b"hi")
        line.wait(0.1)
        self.assertIs(connection.outcome, Outcome.FAILED)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)


class IdleActionTests(ServerTestCase):
    def test_log_only_reports_once_a_period(self) -> None:
        with capturedLogs() as events:
            line, _ = self.line()
            line.wait(1.8)
        timed_out = [text for text in lines_of(events) if text.startswith("Socket Timed out")]
        self.assertEqual(len(timed_out), 1)
        line.send(b"x")
        self.assertEqual(line.receive(), b"Sending: x")

    def test_close_ends_politely_and_reads_on(self) -> None:
        line, connection = self.line(idle_action="close")
        line.wait(0.6)
        self.assertTrue(line.at_end())
        line.send(b"late")
        self.assertEqual(connection.messages, 0)
        self.assertEqual(connection.bytes_in, 4)
        line.finish()
        self.assertIs(connection.outcome, Outcome.TIMED_OUT)
        self.assertFalse(line.transport.connected)

    def test_close_gives_a_silent_client_the_linger(self) -> None:
        line, connection = self.line(idle_action="close", linger=1.0)
        line.wait(1.45)
        self.assertEqual(connection.factory.count, 1)
        line.wait(0.6)
        self.assertEqual(connection.factory.count, 0)

    def test_close_works_while_a_client_does_not_read(self) -> None:
        line, connection = self.line(idle_action="close", send_buffer=4096)
        line.offer(b"x" * (1 << 20))
        line.wait(10)
        self.assertEqual(connection.factory.count, 0)
        self.assertIs(connection.outcome, Outcome.TIMED_OUT)

    def test_reset_ends_at_once(self) -> None:
        line, connection = self.line(idle_action="reset")
        line.wait(0.6)
        self.assertFalse(line.transport.connected)
        self.assertIs(connection.outcome, Outcome.TIMED_OUT)


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


class OwnEndTests(ServerTestCase):
    def test_the_rest_of_a_read_is_answered_before_our_own_end(self) -> None:
        """Its lines wait while the client takes no replies."""
        for idle_action in ("log", "close"):
            line, connection = self.line(
                framing="line", idle_action=idle_action, linger=20.0, send_buffer=4096
            )
            line.send(b"x\n" * 20_000)
            line.turn(3)
            read = connection.bytes_in // 2
            self.assertLess(connection.messages, read)  # some do wait
            if idle_action == "log":
                connection.factory.end_all()
            else:
                line.wait(1.1)
            self.assertEqual(line.receive_all(), b"Sending: x\n" * read)
            outcome = Outcome.DRAINED if idle_action == "log" else Outcome.TIMED_OUT
            self.assertIs(connection.outcome, outcome)

    def test_no_more_is_queued_for_it_than_at_other_times(self) -> None:
        line, connection = self.line(
            prefix=b"y" * 10_000, framing="line", send_buffer=4096, idle_timeout=0
        )
        line.send(b"\n" * 3000)
        line.turn(3)
        read = connection.bytes_in
        self.assertLess(connection.messages, read)
        connection.factory.end_all()
        peak, got = 0, 0
        while not line.at_end():
            peak = max(peak, connection.queued)
            got += len(line.receive())
            line.turn()
        self.assertEqual(got, read * 10_001)
        self.assertLessEqual(peak, HIGH_WATER + 10_001)
        self.assertIs(connection.outcome, Outcome.DRAINED)

    def test_a_client_that_takes_nothing_is_given_up_after_the_linger(self) -> None:
        line, connection = self.line(
            prefix=b"y" * 10_000, framing="line", send_buffer=4096, idle_timeout=0, linger=3.0
        )
        line.send(b"\n" * 3000)
        line.turn(3)
        connection.factory.end_all()
        line.wait(2.9)
        self.assertIsNone(connection.outcome)
        line.wait(1.2)
        self.assertIs(connection.outcome, Outcome.DRAINED)
        self.assertFalse(line.transport.connected)

    def test_a_pause_of_the_application_does_not_outlast_it(self) -> None:
        line, connection = self.line(framing="line")
        line.send(b"one\n")
        connection.pause()
        connection._framer.feed(b"two\n")  # as read in one piece with the first
        connection.factory.end_all()
        line.turn()
        self.assertEqual(line.receive(), b"Sending: one\nSending: two\n")


class UntoldEndTests(ServerTestCase):
    def test_what_an_end_without_a_fin_leaves_has_its_word(self) -> None:
        """Twisted's own TLS tells of the end only when it is too late to answer."""
        for framing, data, outcome in (
            ("chunk", b"x", Outcome.FINISHED),
            ("line", b"x\n", Outcome.FINISHED),
            ("line", b"x\ny", Outcome.STALLED),
            ("length", b"\0\0\0\1x", Outcome.FINISHED),
            ("length", b"\0\0\0\2x", Outcome.STALLED),
        ):
            connection = self.factory(framing=framing).buildProtocol(None)
            connection.makeConnection(StringTransport())
            connection.dataReceived(data)
            connection.connectionLost(Failure(ConnectionDone()))
            self.assertIs(connection.outcome, outcome, (framing, data))


class HalfOpenTests(ServerTestCase):
    def test_our_side_stays_open_for_the_application(self) -> None:
        line, connection = self.line(allow_half_open=True)
        line.send(b"hi")
        line.finish()
        self.assertEqual(line.receive(), b"Sending: hi")
        line.wait(100)
        self.assertFalse(line.at_end())
        connection.write(b"bye")
        connection.finish()
        line.turn()
        self.assertEqual(line.receive(), b"bye")
        self.assertTrue(line.at_end())
        self.assertIs(connection.outcome, Outcome.CLOSED)

    def test_it_ends_after_the_half_open_time_out(self) -> None:
        for options in ({}, {"idle_timeout": 0}, {"idle_timeout": 60}):
            line, connection = self.line(allow_half_open=True, half_open_timeout=2.0, **options)
            line.wait(1)
            line.finish()
            line.wait(1.9)
            self.assertFalse(line.at_end())
            line.wait(0.5)
            self.assertTrue(line.at_end())
            self.assertIs(connection.outcome, Outcome.FINISHED)

    def test_a_short_half_open_time_out_is_little_late(self) -> None:
        line, _ = self.line(
            allow_half_open=True, half_open_timeout=0.3, idle_timeout=0, linger=30.0
        )
        line.finish()
        line.wait(0.3 + max(0.05, 0.3 / 5))
        self.assertTrue(line.at_end())

    def test_the_peers_end_is_told_once_whatever_is_written_after_it(self) -> None:
        told = []

        class Answering(EchoProtocol):
            def peer_ended(self) -> None:
                told.append(self)
                if len(told) < 5:  # or it would never end
                    self.write(b"x" * 400_000)

        line, connection = self.line(Answering, allow_half_open=True, send_buffer=4096)
        line.finish()
        self.assertEqual(len(line.receive_all()), 400_000)
        connection.pause()
        connection.resume()
        self.assertEqual(len(told), 1)

    def test_writing_on_does_not_prolong_the_half_open_time_out(self) -> None:
        line, connection = self.line(allow_half_open=True, half_open_timeout=2.0)
        line.finish()
        for _ in range(10):
            line.wait(0.5)
            connection.write(b"still here")
            connection.pause()
            connection.resume()
        line.receive()
        self.assertTrue(line.at_end())


class PauseTests(ServerTestCase):
    def test_nothing_is_read_of_a_connection_that_starts_paused(self) -> None:
        line, connection = self.line(pause_on_connect=True)
        line.send(b"early")
        line.wait(0.9)
        self.assertEqual((line.receive(), connection.bytes_in), (b"", 0))
        connection.resume()
        line.turn()
        self.assertEqual(line.receive(), b"Sending: early")

    def test_its_idle_time_out_is_reported_meanwhile(self) -> None:
        with capturedLogs() as events:
            line, _ = self.line(pause_on_connect=True)
            line.wait(0.9)
        self.assertEqual(sum("Timed out" in text for text in lines_of(events)), 1)

    def test_what_tls_hands_over_while_paused_waits(self) -> None:
        connection = self.factory(pause_on_connect=True).buildProtocol(None)
        transport = StringTransport()
        connection.makeConnection(transport)
        self.assertEqual(transport.producerState, "producing")  # for the handshake
        connection.dataReceived(b"early")
        self.assertEqual((transport.value(), transport.producerState), (b"", "paused"))
        connection.resume()
        self.assertEqual(transport.value(), b"Sending: early")
        self.assertEqual(transport.producerState, "producing")

    def test_tls_started_on_a_paused_connection_stops_no_deadline(self) -> None:
        """Twisted's ``getHandle`` gives OpenSSL's connection then, not the socket."""
        line, connection = self.line(idle_timeout=0.5, idle_action="close")
        line.transport.getHandle = object
        connection.pause()
        line.wait(1.0)
        self.assertIs(connection.outcome, Outcome.TIMED_OUT)

    def test_a_reset_while_paused_is_seen_soon_whatever_was_due_before(self) -> None:
        """Also where the pause comes right before the end of an idle time-out."""
        line, connection = self.line(idle_timeout=4.0)
        line.wait(3.93)
        line.send(b"x")
        connection.pause()
        line.peer.close()  # with the reply unread
        line.wait(0.5)
        self.assertIs(connection.outcome, Outcome.RESET)

    def test_a_paused_connection_can_be_finished_and_aborted(self) -> None:
        for end, outcome in (("finish", Outcome.CLOSED), ("abort", Outcome.ABORTED)):
            line, connection = self.line(pause_on_connect=True)
            getattr(connection, end)()
            line.turn(2)
            line.peer.close()
            line.turn(2)
            self.assertIs(connection.outcome, outcome)
            self.assertEqual(connection.factory.count, 0)


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
