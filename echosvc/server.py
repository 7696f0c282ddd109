"""The server's side of one connection: what is read is answered."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from echosvc.connection import Connection
from echosvc.flow import HIGH_WATER
from echosvc.framing import MessageTooLong, MessageTruncated, make_framer
from echosvc.report import Outcome, log

if TYPE_CHECKING:
    from echosvc.factory import EchoFactory

#: Ends that no client asked for: what was read is answered first.
_OUR_OWN = (Outcome.DRAINED, Outcome.TIMED_OUT, Outcome.CLOSED)


class EchoProtocol(Connection):
    """One client's connection: every message is answered with prefix + message.

    Everything read before our own FIN is answered, in order, before the connection
    ends, however the client ends it. While replies wait, nothing more is read: never
    more than 64 KiB, one message and one prefix are queued.

    Override :meth:`reply` to answer something else, :meth:`opened`, :meth:`peer_ended`,
    :meth:`idle` or :meth:`ended` to hear of the rest. An exception in one of them is
    logged and ends the connection, after what was due.

    :ivar number: ordinal of the connection in its factory, from 1.
    :ivar messages: messages read so far.
    :ivar replies: replies given so far, the one that is being made included.
    """

    factory: EchoFactory
    number = 0
    messages = 0
    replies = 0

    _half_open_until = math.inf
    _end_told = False  # the application knows of the peer's FIN
    _batch: list[bytes] | None = None  # replies that are being collected
    _ending: Outcome | None = None  # to end with once they are sent
    _last: Outcome | None = None  # to end with once everything read is answered

    # -- for subclasses and applications --------------------------------------

    def reply(self, message: bytes) -> bytes | None:
        """Give the answer to one message; ``None`` for no answer.

        Framing is not the answer's concern: with ``length`` it gets its own header.
        """
        return self.prefix + message

    def opened(self) -> None:
        """The connection is there, the greeting sent (Node's ``connection``)."""
        if self.factory.on_connect is not None:
            self.factory.on_connect(self)

    def idle(self, seconds: float) -> None:
        """Nothing happened for ``seconds`` (Node's ``timeout``); the idle action is done."""

    def ended(self, outcome: Outcome) -> None:
        """The connection is gone (Node's ``close``). Not called where :meth:`opened` was not."""

    def peer_ended(self) -> None:
        """The client has finished (Node's ``end``): everything it sent was answered.

        With ``allow_half_open`` our side stays open for more; without, it ends next.
        """

    @property
    def prefix(self) -> bytes:
        """What stands before the reply number :attr:`replies`."""
        constant = self._constant
        return self._prefix.render(self.replies) if constant is None else constant

    def write(self, data: bytes) -> None:
        """Send ``data`` as it is, after all that was sent before.

        Ignored once the connection is :attr:`closing`.
        """
        if self._batch is not None:
            self._batch.append(data)
        elif not self.closing:
            self._idle_clock.active = self._sweep.now()
            self._send(data)

    def finish(self) -> None:
        """End politely (Node's ``end()``): flush, FIN, wait for the peer's, bounded."""
        self.end_with(Outcome.CLOSED)

    def abort(self) -> None:
        """End now with a reset (Node's ``resetAndDestroy()``)."""
        self.abort_with(Outcome.ABORTED)

    def connectionMade(self) -> None:
        """Take the factory's settings, then begin."""
        config = self.factory.config
        self._sweep, self._report = self.factory.sweep, self.factory.report
        self._linger, self._idle_timeout = config.linger, config.idle_timeout
        self._handshake_timeout = config.handshake_timeout
        self._discard = config.discard
        self._framer = make_framer(config.framing, config.encoding, config.max_message)
        self.number = self.factory.enter(self)
        super().connectionMade()

    def end_with(self, outcome: Outcome) -> None:
        """End politely; what was read, and what :meth:`reply` adds, goes out before."""
        if self._batch is not None:
            self._end_after(outcome)
            return
        if outcome in _OUR_OWN and not (self.closing or self._waiting):
            self._held = False
            self._answer()
            if self._blocked and self._framer.pending and not self.closing:
                self._end_once_answered(outcome)
                return
        super().end_with(outcome)

    def _end_once_answered(self, outcome: Outcome) -> None:
        """Read no more; end when the client has taken enough to answer the rest."""
        if self._last is None:
            self._last = outcome
            self._close_slowly(outcome)

    def _started(self) -> None:
        config = self.factory.config
        self._sender.tune(config.nagle, config.keep_alive)
        if config.encoding == "utf-8":
            self._sender.limit_reads(HIGH_WATER // 3)  # U+FFFD is three bytes for one
        self._prefix = self.factory.bound(self.factory.prefix, self)
        self._constant = self._prefix.constant
        if self._report.connections:
            self._report.connected(self.local, self.remote)
        if config.pause_on_connect:
            self.pause()
        if self.factory.greeting is not None:
            self._send(self.factory.bound(self.factory.greeting, self).render(0))
        self._guarded(self.opened)

    def dataReceived(self, data: bytes) -> None:
        """Answer what was read; once we are closing, discard it."""
        self._idle_clock.active = self._sweep.now()
        self.bytes_in += len(data)
        if self.closing:
            return
        self._register()
        self._framer.feed(data)
        if self._held:  # Twisted's own TLS hands over what it had read already
            self._link.pauseProducing()
        self._answer()

    def _go_on(self) -> None:
        self._answer()
        if self.peer_finished:
            self._ended_by_peer()
        if self._last is not None and not self._blocked:
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
        except Exception:
            log.failure("Server Error: the reply to a message failed")
            more = self._end_after(Outcome.FAILED)
        self._batch = None
        if batch and not self._gone:
            self._send(batch[0] if len(batch) == 1 else b"".join(batch), later=more)
        if self._ending is not None:
            super().end_with(self._ending)
        return more

    def _end_after(self, outcome: Outcome) -> bool:
        self._ending = self._ending or outcome
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
        self.replies += 1  # so that prefix has the number of this one
        answer = None if self._discard else self.reply(message)
        size = 0
        if answer is None:
            self.replies -= 1
        elif isinstance(answer, bytes):
            batch.append(self._framer.wrap(answer))
            size = len(batch[-1])
        else:
            raise TypeError(f"reply() must give bytes or None, not {type(answer).__name__}")
        if self._report.messages:
            port = getattr(self.remote_address, "port", "-")
            self._report.received(port, message, self.bytes_in, self.bytes_out + before + size)
        return size

    def _ended_by_peer(self) -> None:
        """Answer the rest, then end; unless our side is to stay open."""
        if self._blocked or self._held or self.closing or self._end_told:
            return  # with messages left: we come back when they may be answered
        self._end_told = True
        self._in_batch(self._collect_rest)
        self._guarded(self.peer_ended)
        if self.factory.config.allow_half_open:
            self._stay_half_open()
        elif self._sender.cut:
            self.end_with(Outcome.TRUNCATED)
        else:
            self.end_with(Outcome.FINISHED)

    def _collect_rest(self, batch: list[bytes]) -> bool:
        """Answer what the end of the stream makes a message."""
        message = self._framer.end()
        if message is not None:
            self._answer_one(message, batch)
        return False

    def _guarded(self, hook: Callable[[], None]) -> None:
        """Run the application's code; its fault ends this connection only."""
        try:
            hook()
        except Exception:
            log.failure("Server Error: the application failed")
            self.end_with(Outcome.FAILED)

    def _stay_half_open(self) -> None:
        limit = self.factory.config.half_open_timeout
        if limit is not None and not self.closing:
            self._half_open_until = self._sweep.now() + limit
            self.due = 0.0

    def _tick_open(self, now: float) -> None:
        if now >= self._half_open_until:
            self.end_with(Outcome.FINISHED)
            return
        super()._tick_open(now)
        self.due = min(self.due, self._half_open_until)

    def _timed_out(self, seconds: float) -> None:
        if self._report.connections:
            self._report.timed_out(self.remote, seconds)
        action = self.factory.config.idle_action
        if action == "close":
            self.end_with(Outcome.TIMED_OUT)
        elif action == "reset":
            self.abort_with(Outcome.TIMED_OUT)
        self._guarded(lambda: self.idle(seconds))

    def _end_untold(self) -> Outcome:
        """The word where only the end was told, not the peer's FIN: Twisted's own TLS."""
        return Outcome.STALLED if self._framer.pending else Outcome.FINISHED

    def _over(self, outcome: Outcome, reason: Failure) -> None:
        if outcome is Outcome.FINISHED and not self.peer_finished:
            outcome = self.outcome = self._end_untold()
        remaining = self.factory.leave(self)
        if self._report.connections:
            if outcome is Outcome.RESET or (self._waiting and not reason.check(ConnectionDone)):
                self._report.socket_error(self.remote, reason.getErrorMessage())
            self._report.disconnected(
                self.remote, outcome, self.bytes_in, self.bytes_out, self.age, remaining
            )
        if not self._waiting:
            self._guarded(lambda: self.ended(outcome))
        self.factory.tell_idle()
