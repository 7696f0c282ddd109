"""Messages to replies, no more at a time than may wait to be sent."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from echosvc._log import log
from echosvc.connection.connection import Connection
from echosvc.connection.outcome import Outcome
from echosvc.connection.sending import LARGE
from echosvc.connection.timed import BY_APPLICATION, BY_REPLY
from echosvc.server.events import Report
from echosvc.wire.framing import ChunkFramer, Framer, MessageTooLong, MessageTruncated, make_framer

if TYPE_CHECKING:
    from echosvc.server.factory import EchoFactory

#: Ends that no client asked for: what was read is answered first.
_OUR_OWN = (Outcome.DRAINED, Outcome.TIMED_OUT, Outcome.EXPIRED, Outcome.CLOSED)

_NOTHING = ChunkFramer()  # is never fed: the framer where none is needed

#: What :meth:`Answering.reply` may return for an answer that is not there yet.
LaterReply = Deferred[Any] | Coroutine[Any, Any, Any]


class Answering(Connection):
    """A connection on which every message is answered.

    ReplyBuffer leave in the order of their messages. While a reply is not there yet, the messages
    behind it wait, and at most one more read is taken: then the client has to wait, too.

    :ivar messages: messages read so far.
    """

    factory: EchoFactory
    messages = 0

    _silent = 0  # messages without a reply
    _taken = 0  # messages that were answered the long way
    _taken_in = 0  # bytes that were read so
    _constant = b""  # what stands before a reply that went the short way
    _head: bytes | None = None  # what stands before every reply of a plain echo
    _quick: bytes | None = None  # the same, while nothing stands in the way
    _framer: Framer = _NOTHING
    _batch: list[bytes] | None = None  # replies that are being collected
    _ending: Outcome | None = None  # to end with once they are sent
    _last: Outcome | None = None  # to end with once everything read is answered
    _awaited: Deferred[None] | None = None  # the reply that is not there yet

    def connectionMade(self) -> None:
        """Begin."""
        self.messages = self._taken = self._taken_in = 0
        self._batch = self._quick = None
        super().connectionMade()

    @property
    def bytes_out(self) -> int:
        """Bytes accepted for sending, queued ones included.

        What went the short way is known from what came that way: each read and a prefix.
        """
        heads = (self.messages - self._taken) * len(self._constant)
        return self._sent + heads + self.bytes_in - self._taken_in

    @property
    def _report(self) -> Report:
        return self.factory.report

    def reply(self, message: bytes) -> bytes | LaterReply | None:
        """Return the answer to one message; ``None`` for no answer.

        A Deferred or a coroutine stands for one that comes later.
        """
        raise NotImplementedError

    @property
    def replies(self) -> int:
        """ReplyBuffer given so far, the one that is being made included."""
        return self.messages - self._silent

    def dataReceived(self, data: bytes) -> None:
        """Answer what was read; once we are closing, discard it."""
        head = self._quick
        if head is None:
            self._receive(data)
            return
        size = len(data)
        self.bytes_in += size
        self.messages += 1
        sender = self._sender
        sent = sender.send(head + data) if size < LARGE else sender.send_both(head, data)
        if not sent:
            self._wait_for_room()

    def send_rest(self, data: bytes) -> None:
        """The rest of a reply that the stream began to send."""
        self._sender.queue(data)
        self._wait_for_room()

    def _receive(self, data: bytes) -> None:
        """Answer what was read the long way; where it woke us, maybe the short one."""
        if self._resting:
            self._touch()
            self.dataReceived(data)
            return
        self._touch()
        self.bytes_in += len(data)
        self._taken_in += len(data)
        if self.outcome is not None:
            return
        if self._head is not None:  # it was read before the pause was known
            self._take_apart()
        self._register()
        self._framer.feed(data)
        if self._held:  # a reply is awaited; or Twisted's TLS hands over what it had read
            self.transport.pauseProducing()
        self._answer()

    def _take_apart(self) -> None:
        """From now on, have a framer cut the stream into messages."""
        config = self._config
        self._head = None
        self._shorten(None)
        self._framer = make_framer(config.framing, config.encoding, config.max_message)

    def _changed(self) -> None:
        hindered = self._held or self._resting or self.outcome is not None
        self._shorten(None if hindered else self._head)

    def _shorten(self, head: bytes | None) -> None:
        """Answer the short way, by the stream where it can; ``None``: the long way."""
        self._quick = head
        replies = None
        if head is not None:
            told = getattr(self.dataReceived, "__func__", None)
            if told is Answering.dataReceived:
                replies = self.factory.replies_behind(head)
        self._sender.answer_by_itself(self, replies)

    def _go_on(self) -> None:
        if self._batch is not None:  # within reply(): who collects the replies goes on
            return
        self._answer()
        if self.peer_finished:
            self._ended_by_peer()
        if self._last is not None and not self._blocked and self._awaited is None:
            self.end_with(self._last)

    def _answer(self) -> None:
        """Answer the messages that are there, until the transport has enough."""
        more = self._batch is None
        while more and not (self._blocked or self._held or self.closing):
            more = self._in_batch(self._collect)

    def _in_batch(self, collect: Callable[[list[bytes]], bool]) -> bool:
        """Send in one piece what ``collect`` gathers, then end if that is due.

        What reply() writes meanwhile keeps its place, and so does the end that it asks for.
        """
        batch: list[bytes] = []
        self._batch = batch
        try:
            more = collect(batch)
        except MessageTooLong:
            more = self._end_after(Outcome.TOO_LONG)
        except MessageTruncated:
            more = self._end_after(Outcome.TRUNCATED)
        except BaseException:  # asyncio's CancelledError, too, ends this connection alone
            log.failure("Server Error: the reply to a message failed")
            more = self._end_after(Outcome.FAILED)
        self._batch = None
        if batch and self.outcome is None:  # neither aborted nor lost meanwhile
            self._send(batch[0] if len(batch) == 1 else b"".join(batch), later=more)
        if self._ending is Outcome.FAILED:
            self.reset_with(Outcome.FAILED)
        elif self._ending is not None:
            super().end_with(self._ending)
        return more

    def _end_after(self, outcome: Outcome) -> bool:
        if self._ending is None or outcome is Outcome.FAILED:
            self._ending = outcome
        return False  # nothing more is to be collected

    def _collect(self, batch: list[bytes]) -> bool:
        """Take messages and add their replies, no more than may wait.

        :return: whether messages are left. Then the batch leaves in the reactor's next
            turn, whatever the kernel would take now: other clients come first.
        """
        room = self._sender.room()
        size = 0
        while (message := self._framer.take()) is not None:
            size += self._answer_one(message, batch, size)
            if self._ending is not None or self.closing or self._held:
                return False
            if size > room:
                return self._framer.pending > 0
        return False

    def _answer_one(self, message: bytes, batch: list[bytes], before: int = 0) -> int:
        """Add the reply to one message to a batch of size ``before``; give its size."""
        self.messages += 1
        self._taken += 1
        answer = None if self._config.discard else self.reply(message)
        if not (answer is None or isinstance(answer, bytes)):
            return self._await_reply(answer, message, batch, before)
        return self._add_reply(answer, message, batch, before)

    def _add_reply(self, answer: object, message: bytes, batch: list[bytes], before: int) -> int:
        """Add a reply that is there, and report it; return its size in bytes."""
        size = 0
        if answer is None:
            self._silent += 1
        elif isinstance(answer, bytes):
            batch.append(self._framer.wrap(answer))
            size = len(batch[-1])
        else:
            raise TypeError(f"reply() must give bytes or None, not {type(answer).__name__}")
        if self._report.messages:
            port = getattr(self.remote_address, "port", "-")
            self._report.received(port, message, self.bytes_in, self.bytes_out + before + size)
        return size

    def _await_reply(
        self, answer: LaterReply, message: bytes, batch: list[bytes], before: int
    ) -> int:
        """Add a reply that may come later; return its size, 0 where it is not there yet."""
        if iscoroutine(answer):
            answer = Deferred.fromCoroutine(answer)
        if not isinstance(answer, Deferred):
            return self._add_reply(answer, message, batch, before)  # which refuses it
        came: list[object] = []

        def arrived(result: object) -> None:
            if self._awaited is answer:
                self._reply_came(result, message)
            else:
                came.append(result)

        answer.addBoth(arrived)
        if came:
            return self._add_reply(_raised(came[0]), message, batch, before)
        self._awaited = answer
        self._held |= BY_REPLY
        self._look_soon()  # a read in between may stop the reading, which then hides a reset
        return 0

    def _reply_came(self, result: object, message: bytes) -> None:
        """Send a reply that was awaited, then go on with the messages behind it."""
        self._awaited = None
        if self.outcome is not None:
            return
        self._held &= ~BY_REPLY

        def add(batch: list[bytes]) -> bool:
            self._add_reply(_raised(result), message, batch, 0)
            return False

        self._touch()
        self._in_batch(add)
        if not self.closing:
            self._go_on()
            self._read_on()

    def _drop_awaited(self) -> None:
        """Cancel the reply that is awaited: nobody is there to take it."""
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.cancel()

    def _collect_rest(self, batch: list[bytes]) -> bool:
        """Answer what the end of the stream makes a message."""
        message = self._framer.end()
        if message is not None:
            self._answer_one(message, batch)
        return False

    def end_with(self, outcome: Outcome) -> None:
        """End politely; what was read, and what :meth:`reply` adds, goes out before."""
        if self._batch is not None:
            self._end_after(outcome)
            return
        if self.closing or self._waiting:
            super().end_with(outcome)
            return
        if outcome in _OUR_OWN:
            self._held &= ~BY_APPLICATION
            self._answer()
            if not (self._blocked or self._held):
                self._sender.deliver()
        more = outcome in _OUR_OWN and (self._framer.pending or self._sender.holding)
        if self._awaited is not None or (self._blocked and more and not self.closing):
            self._end_once_answered(outcome)
            return
        super().end_with(outcome)

    def _end_once_answered(self, outcome: Outcome) -> None:
        """Read no more; end when the client has taken enough to answer the rest."""
        if self._last is None:
            self._last = outcome
            self._close_slowly(outcome)


def _raised(result: object) -> object:
    """Return a result, or raise the exception that it is."""
    if isinstance(result, Failure):
        result.raiseException()
    return result
