"""What a subclass may override, and when its hooks are called."""

from __future__ import annotations

import asyncio
import itertools

from twisted.internet.error import ConnectionAborted
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from echosvc import EchoProtocol, Outcome
from tests.support.server import Broken, ServerTestCase, framed, lines_of
from tests.support.transports import Line


class OverrideTests(ServerTestCase):
    def test_a_subclass_answers_something_else(self) -> None:
        class Shouting(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                return None if message == b"quiet\n" else self.prefix + message.upper()

        found = self.exchange(
            b"a\nquiet\nb\n", protocol=Shouting, framing="line", prefix="{message} "
        )
        self.assertRegex(found, rb"\A1 A\n[23] B\n\Z")

    def test_each_read_is_passed_once_to_an_override_of_data_received(self) -> None:
        reads: list[bytes] = []

        class Counting(EchoProtocol):
            def dataReceived(self, data: bytes) -> None:
                reads.append(data)
                super().dataReceived(data)

        for framing in ("chunk", "line"):
            reads.clear()
            line, _ = self.line(Counting, framing=framing, idle_timeout=0.5)
            line.wait(2.0)  # reported idle: the next read schedules a check again
            line.send(b"a\n")
            line.send(b"b\n")
            self.assertEqual(reads, [b"a\n", b"b\n"])
            self.assertEqual(line.receive(), b"Sending: a\nSending: b\n")

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
