"""Every public method of a connection, called from within every hook of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from echosvc import EchoFactory, EchoProtocol, Outcome
from tests.support.server import ServerTestCase

HOOKS = ("opened", "reply", "prefix", "peer_ended", "idle", "ended")

#: What the hook calls, and how the connection then ends; ``None``: as without the call.
CALLS: dict[str, tuple[Callable[[EchoProtocol], object], Outcome | None]] = {
    "write": (lambda each: each.write(b"+"), None),
    "pause and resume": (lambda each: (each.pause(), each.resume()), None),
    "resume": (lambda each: each.resume(), None),
    "resume twice": (lambda each: (each.resume(), each.resume()), None),
    "finish": (lambda each: each.finish(), Outcome.CLOSED),
    "finish twice": (lambda each: (each.finish(), each.finish()), Outcome.CLOSED),
    "finish and resume": (lambda each: (each.finish(), each.resume()), Outcome.CLOSED),
    "abort": (lambda each: each.abort(), Outcome.ABORTED),
    "abort and finish": (lambda each: (each.abort(), each.finish()), Outcome.ABORTED),
    "end all": (lambda each: each.factory.end_all(), Outcome.DRAINED),
    "abort all": (lambda each: each.factory.abort_all(), Outcome.ABORTED),
    "ask everything": (
        lambda each: (
            each.local, each.remote, each.queued, each.age, each.closing, each.bytes_out,
            each.messages, each.replies, each.factory.count, each.factory.bytes_out, repr(each),
        ),
        None,
    ),
}  # fmt: skip

#: Messages that stand alone, come together, and are cut by the end of the stream.
PIECES = (b"a\n", b"b\nc\nd\n", b"e")
REPLIES = b"> a\n> b\n> c\n> d\n> e"


class Calling(EchoProtocol):
    """Makes a call each time when one of its hooks is called."""

    hook = ""
    call: Callable[[EchoProtocol], object]
    told: list[Outcome]
    calls = 0

    def _called(self, hook: str) -> None:
        if hook == self.hook:
            self.calls += 1
            type(self).call(self)

    def reply(self, message: bytes) -> bytes | None:
        self._called("reply")
        return self.prefix + message

    @property
    def prefix(self) -> bytes:
        self._called("prefix")
        return b"> "

    def opened(self) -> None:
        self._called("opened")

    def peer_ended(self) -> None:
        self._called("peer_ended")

    def idle(self, seconds: float) -> None:
        self._called("idle")

    def ended(self, outcome: Outcome) -> None:
        self.told.append(outcome)
        self._called("ended")


def calling(hook: str, call: Callable[[EchoProtocol], object]) -> type[Calling]:
    return type("Calling", (Calling,), {"hook": hook, "call": staticmethod(call), "told": []})


class ReentranceTests(ServerTestCase):
    def converse(self, kind: type[Calling]) -> tuple[bytes, Calling]:
        """Send the pieces, idle, and finish, while the connection lives."""
        line, connection = self.line(kind, framing="line", idle_timeout=0.5)
        received = b""
        for piece in PIECES:
            if not connection.closing:
                line.send(piece)
                received += line.receive()
        line.wait(0.7)
        received += line.receive()
        if not line.transport.disconnected:
            line.finish()
        received += line.receive_all()
        line.wait(3)
        return received, connection

    def test_the_connection_goes_on_or_ends_as_it_is_told(self) -> None:
        for hook, (name, (call, outcome)) in itertools.product(HOOKS, CALLS.items()):
            where = f"{name} in {hook}"
            kind = calling(hook, call)
            received, connection = self.converse(kind)
            self.assertEqual(self.flushLoggedErrors(), [], where)
            self.assertGreater(connection.calls, 0, where)
            expected = Outcome.FINISHED if outcome is None or hook == "ended" else outcome
            self.assertEqual(kind.told, [expected], where)
            self.assertEqual(connection.factory.count, 0, where)
            if outcome is None or hook == "ended":
                self.assertEqual(received.replace(b"+", b""), REPLIES, where)
                pluses = connection.calls * (name == "write" and hook != "ended")
                self.assertEqual(received.count(b"+"), pluses, where)
            else:
                self.assertTrue(REPLIES.startswith(received), where)

    def test_an_end_that_waits_for_the_client_waits_for_all_replies(self) -> None:
        class Resuming(EchoProtocol):
            def reply(self, message: bytes) -> bytes | None:
                self.resume()
                return b">" * 1000 + message

        line, connection = self.line(Resuming, framing="line", send_buffer=4096, linger=30)
        count = 500
        line.offer(b"a\n" * count)
        connection.factory.end_all()
        self.assertIsNone(connection.outcome)  # the client has to read first
        received = line.receive_all()
        self.assertEqual(received.count(b"a\n"), connection.messages)
        self.assertEqual(connection.bytes_in, 2 * connection.messages)
        self.assertTrue(line.at_end())

    def test_messages_that_waited_are_answered_once_and_in_order(self) -> None:
        """The client's FIN is known, and so are messages, while the application pauses."""
        for hook, (name, (call, outcome)) in itertools.product(("reply", "prefix"), CALLS.items()):
            where = f"{name} in {hook}"
            kind = calling(hook, call)
            factory = EchoFactory(clock=Clock(), framing="line", log="quiet")
            factory.protocol = kind
            connection, transport = factory.buildProtocol(None), StringTransport()
            connection.makeConnection(transport)
            connection.pause()
            connection.dataReceived(b"".join(PIECES))
            connection.readConnectionLost()
            connection.resume()
            received = transport.value()
            if outcome is None:
                self.assertEqual(received.replace(b"+", b""), REPLIES, where)
            else:
                self.assertTrue(REPLIES.startswith(received), where)
            self.assertEqual(self.flushLoggedErrors(), [], where)
