"""Replies that come later: Deferreds and coroutines, in order, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from echosvc import EchoFactory, EchoProtocol, Outcome
from echosvc.connection.sender import HIGH_WATER
from echosvc.server.protocol import LaterReply
from tests.support.examples import examples
from tests.support.server import Broken, ServerTestCase
from tests.support.transports import Line


class Later(EchoProtocol):
    """Answers when the test says so."""

    def connectionMade(self) -> None:
        self.asked: list[tuple[bytes, Deferred[bytes | None]]] = []
        self.cancelled: list[bytes] = []
        super().connectionMade()

    def reply(self, message: bytes) -> LaterReply:
        answer: Deferred[bytes | None] = Deferred(lambda _: self.cancelled.append(message))
        self.asked.append((message, answer))
        return answer

    def answer(self, text: bytes | None = b"") -> None:
        """Fire the oldest Deferred."""
        message, answer = self.asked.pop(0)
        answer.callback(self.prefix + message if text == b"" else text)


class LaterTestCase(ServerTestCase):
    def later(self, **options: object) -> tuple[Line, Later]:
        options = {"framing": "line", "prefix": "> ", **options}
        line, connection = self.line(Later, **options)
        return line, connection  # type: ignore[return-value]


class OrderTests(LaterTestCase):
    def test_the_next_message_waits_for_the_reply_before_it(self) -> None:
        line, connection = self.later()
        line.send(b"a\nb\nc\n")
        for message in (b"a\n", b"b\n", b"c\n"):
            self.assertEqual([asked for asked, _ in connection.asked], [message])
            self.assertEqual(line.receive(), b"")
            connection.answer()
            line.turn()
            self.assertEqual(line.receive(), b"> " + message)

    def test_a_coroutine_is_as_good_as_a_deferred(self) -> None:
        gate: Deferred[None] = Deferred()

        class Waiting(EchoProtocol):
            async def reply(self, message: bytes) -> bytes:  # type: ignore[override]
                if message == b"b\n":
                    await gate
                return self.prefix + message

        line, _ = self.line(Waiting, framing="line", prefix="{message} ")
        line.send(b"a\nb\nc\n")
        self.assertEqual(line.receive(), b"1 a\n")
        gate.callback(None)
        line.turn()
        self.assertEqual(line.receive(), b"2 b\n3 c\n")

    def test_replies_that_are_there_at_once_need_no_stack(self) -> None:
        class Ready(EchoProtocol):
            def reply(self, message: bytes) -> LaterReply:
                return succeed(message)

        count = 20_000
        data = b"x\n" * count
        self.assertEqual(self.exchange(data, protocol=Ready, framing="line"), data)

    def test_none_is_no_answer_and_takes_no_number(self) -> None:
        line, connection = self.later(prefix="{message} ")
        line.send(b"a\nb\n")
        connection.answer(None)
        connection.answer()
        line.turn()
        self.assertEqual(line.receive(), b"1 b\n")
        self.assertEqual((connection.messages, connection.replies), (2, 1))

    def test_what_is_written_meanwhile_leaves_at_once(self) -> None:
        line, connection = self.later()
        line.send(b"a\n")
        connection.write(b"wait ")
        line.turn()
        self.assertEqual(line.receive(), b"wait ")
        connection.answer()
        line.turn()
        self.assertEqual(line.receive(), b"> a\n")

    def test_a_framed_reply_gets_its_length(self) -> None:
        line, connection = self.later(framing="length")
        line.send(b"\0\0\0\1a")
        connection.answer(b"bc")
        line.turn()
        self.assertEqual(line.receive(), b"\0\0\0\2bc")

    @examples(50)
    @given(st.lists(st.sampled_from(["now", "later", "deferred"]), max_size=30), st.data())
    def test_any_mixture_keeps_the_order(self, kinds: list[str], data: st.DataObject) -> None:
        waiting: list[Callable[[], None]] = []

        class Mixed(EchoProtocol):
            def reply(self, message: bytes) -> Any:
                kind = kinds[int(message)]
                if kind == "now":
                    return message
                if kind == "deferred":
                    return succeed(message)
                answer: Deferred[bytes] = Deferred()
                waiting.append(lambda: answer.callback(message))
                return answer

        factory = EchoFactory(clock=Clock(), framing="line", log="quiet")
        factory.protocol = Mixed
        connection, transport = factory.buildProtocol(None), StringTransport()
        connection.makeConnection(transport)
        whole = b"".join(b"%d\n" % number for number in range(len(kinds)))
        while whole or waiting:
            if whole and (not waiting or data.draw(st.booleans())):
                size = data.draw(st.integers(1, len(whole)))
                connection.dataReceived(whole[:size])
                whole = whole[size:]
            else:
                waiting.pop(0)()
        expected = b"".join(b"%d\n" % number for number in range(len(kinds)))
        self.assertEqual(transport.value(), expected)


class BackPressureTests(LaterTestCase):
    def test_while_a_reply_is_awaited_little_more_is_read(self) -> None:
        line, connection = self.later(framing="chunk")
        line.send(b"first")
        taken = line.offer(b"x" * 10_000_000)
        self.assertLess(connection.bytes_in, 2 * HIGH_WATER)
        self.assertLess(taken, 1_000_000)

    def test_it_is_read_on_when_the_reply_is_there(self) -> None:
        line, connection = self.later()
        line.send(b"a\n")
        line.send(b"b\n")
        line.offer(b"c\n")
        connection.answer()
        line.turn()
        connection.answer()
        line.turn(2)
        connection.answer()
        line.turn()
        self.assertEqual(line.receive(), b"> a\n> b\n> c\n")

    def test_a_pause_of_the_application_outlasts_the_reply(self) -> None:
        line, connection = self.later()
        line.send(b"a\nb\n")
        connection.pause()
        connection.answer()
        line.turn()
        self.assertEqual((line.receive(), connection.asked), (b"> a\n", []))
        connection.resume()
        self.assertEqual([message for message, _ in connection.asked], [b"b\n"])


class EndTests(LaterTestCase):
    def test_a_client_that_finishes_still_gets_its_reply(self) -> None:
        for data, reply in ((b"a\n", b"> a\n"), (b"a\nrest", b"> a\n> rest")):
            line, connection = self.later()
            line.send(data)
            line.finish()
            line.wait(50)
            self.assertIsNone(connection.outcome)
            while connection.asked:
                connection.answer()
                line.turn()
            self.assertEqual(line.receive_all(), reply)
            self.assertTrue(line.at_end())
            self.assertIs(connection.outcome, Outcome.FINISHED)

    def test_waiting_for_a_reply_is_not_idleness(self) -> None:
        line, connection = self.later(idle_timeout=0.5, idle_action="reset")
        line.send(b"a\n")
        line.wait(10)
        self.assertIsNone(connection.outcome)
        connection.answer()
        line.wait(0.4)
        self.assertIsNone(connection.outcome)
        line.wait(0.3)
        self.assertIs(connection.outcome, Outcome.TIMED_OUT)

    def test_a_reply_that_fails_ends_the_connection_after_the_ones_before(self) -> None:
        for result in (Broken("on purpose"), "text"):
            line, connection = self.later()
            line.send(b"a\nb\nc\n")
            connection.answer()
            _, answer = connection.asked.pop(0)
            if isinstance(result, Exception):
                answer.errback(result)
            else:
                answer.callback(result)  # type: ignore[arg-type]
            self.assertEqual(line.receive(), b"> a\n")
            line.wait(0.1)
            self.assertIs(connection.outcome, Outcome.FAILED)
            self.assertTrue(line.transport.disconnected)
            self.assertEqual(len(self.flushLoggedErrors(Broken, TypeError)), 1)

    def test_a_reply_that_fails_at_once_is_the_same(self) -> None:
        async def cancelled() -> bytes:
            raise asyncio.CancelledError

        for answer in (lambda: fail(Broken()), cancelled):

            class Failing(EchoProtocol):
                def reply(self, message: bytes, answer: Any = answer) -> LaterReply:
                    return answer()

            line, connection = self.line(Failing)
            line.send(b"a")
            line.wait(0.1)
            self.assertIs(connection.outcome, Outcome.FAILED)
            self.assertEqual(len(self.flushLoggedErrors(Broken, asyncio.CancelledError)), 1)

    def test_a_connection_that_is_lost_cancels_the_reply(self) -> None:
        line, connection = self.later()
        line.send(b"a\n")
        connection.abort()
        line.turn()
        self.assertEqual(connection.cancelled, [b"a\n"])
        self.assertIs(connection.outcome, Outcome.ABORTED)
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])

    def test_an_end_of_ours_waits_for_the_replies_that_are_due(self) -> None:
        for end, outcome in (
            (lambda each: each.finish(), Outcome.CLOSED),
            (lambda each: each.factory.end_all(), Outcome.DRAINED),
        ):
            line, connection = self.later()
            line.send(b"a\nb\n")
            end(connection)
            line.wait(0.3)
            while connection.asked:
                connection.answer()
                line.turn()
            self.assertEqual(line.receive(), b"> a\n> b\n")
            line.turn(2)
            self.assertTrue(line.at_end())
            line.finish()
            self.assertIs(connection.outcome, outcome)

    def test_and_not_for_ever(self) -> None:
        line, connection = self.later(linger=2)
        line.send(b"a\n")
        connection.factory.end_all()
        line.wait(2.2)
        self.assertIs(connection.outcome, Outcome.FAILED)
        self.assertEqual(connection.cancelled, [b"a\n"])

    def test_a_finished_client_waits_for_its_reply_as_long_as_for_a_stalled_one(self) -> None:
        for stall_timeout, limit in ((5, 5), (0, 60)):
            line, connection = self.later(
                idle_timeout=0.5, idle_action="reset", stall_timeout=stall_timeout
            )
            line.send(b"a\n")
            line.wait(100)
            self.assertIsNone(connection.outcome)
            line.finish()
            line.wait(limit - 0.5)
            self.assertIsNone(connection.outcome)
            line.wait(1.5)
            self.assertIs(connection.outcome, Outcome.FAILED)
            self.assertEqual(connection.cancelled, [b"a\n"])

    def test_so_does_one_that_the_application_finishes(self) -> None:
        line, connection = self.later(stall_timeout=5, linger=1)
        line.send(b"a\n")
        connection.finish()
        line.wait(4.5)
        self.assertIsNone(connection.outcome)
        line.wait(1.5)
        self.assertIs(connection.outcome, Outcome.FAILED)

    def test_one_that_stays_half_open_waits_for_ever(self) -> None:
        line, connection = self.later(allow_half_open=True, stall_timeout=5)
        line.send(b"a\n")
        line.finish()
        line.wait(1000)
        self.assertIsNone(connection.outcome)
        connection.answer()
        line.turn()
        self.assertEqual(line.receive(), b"> a\n")

    def test_what_a_coroutine_writes_meanwhile_reaches_a_finished_client(self) -> None:
        line, connection = self.later(stall_timeout=5)
        line.send(b"a\n")
        line.finish()
        for _ in range(3):
            line.wait(4)
            connection.write(b".")
        connection.answer()
        line.turn()
        self.assertEqual(line.receive(), b"...> a\n")
        self.assertIs(connection.outcome, Outcome.FINISHED)

    def test_a_coroutine_may_end_its_own_connection(self) -> None:
        gate: Deferred[None] = Deferred()

        class Quitting(EchoProtocol):
            async def reply(self, message: bytes) -> bytes:  # type: ignore[override]
                await gate
                self.finish()
                return b"bye"

        line, connection = self.line(Quitting)
        line.send(b"quit")
        gate.callback(None)
        line.turn(2)
        self.assertEqual(line.receive(), b"bye")
        self.assertTrue(line.at_end())
        line.finish()
        self.assertIs(connection.outcome, Outcome.CLOSED)
