"""The server's side of one connection: every message is answered.

There are two paths. On the *fast path* each read is a message, and its reply is a constant
prefix and the read: the stream answers by itself where it can, else :meth:`dataReceived` does in
a few lines. Everything else takes the *framed path*: through a framer, which cuts the stream into
messages, and through a batch, which collects their replies until the transport has enough to send.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.failure import Failure

from echosvc._log import log
from echosvc.connection.blocks import APPLICATION, BACK_PRESSURE, PAUSED, REPLY
from echosvc.connection.connection import Connection
from echosvc.connection.outcome import Outcome
from echosvc.connection.phase import HANDSHAKE, OPEN
from echosvc.connection.sender import HIGH_WATER, SENDMSG_THRESHOLD
from echosvc.server.batch import ReplyBatch
from echosvc.server.later_reply import LaterReply, PendingReply, is_later
from echosvc.server.state import ServerState
from echosvc.wire.framing import ChunkFramer, Framer, make_framer
from echosvc.wire.template import Template

#: Ends that no client asked for: what was read is answered first.
_SERVER_INITIATED = (Outcome.DRAINED, Outcome.TIMED_OUT, Outcome.EXPIRED, Outcome.CLOSED)

_NO_FRAMER = ChunkFramer()  # is never fed: the framer of a connection that needs none


class EchoProtocol(Connection):
    """One client's connection: every message is answered with prefix + message.

    Everything read before our own FIN is answered, in order, before the connection
    ends, however the client ends it. Reading stops above the high-water mark (60 KiB queued;
    21 KiB with ``utf-8``). What is held for a client is bounded: docs/security.md says by what.

    Override :meth:`reply` to answer something else, :meth:`opened`, :meth:`peer_ended`,
    :meth:`idle` or :meth:`ended` to be notified of these events. An exception in one of them, of
    whatever class, is logged and ends this connection, once the client has taken what was
    sent: by a reset where a reply that was due is missing.

    :ivar number: ordinal of the connection in its factory, from 1.
    """

    factory: ServerState
    number = 0

    fast_messages = _framed_messages = 0
    _unanswered = 0  # messages without a reply
    _prefix: bytes | Template = b""  # bytes, where it is the same for every reply
    _plain_prefix: bytes | None = None  # the same, if the fast path is possible
    _fast_prefix: bytes | None = None  # the same, while the fast path is on
    _framer: Framer = _NO_FRAMER
    _batch: ReplyBatch | None = None  # while replies are being collected
    _deferred_close: Outcome | None = None  # to close with once everything read is answered
    _pending_reply: PendingReply | None = None
    _eof_reported = False  # the application knows of the peer's FIN

    # -- for subclasses and applications --------------------------------------

    def reply(self, message: bytes) -> bytes | LaterReply | None:
        """Return the answer to one message; ``None`` for no answer.

        A Deferred or a coroutine is an answer that comes later. The messages behind it wait, so
        that replies keep their order, and reading stops. It is cancelled if the connection is lost.

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
        prefix = self._prefix
        return prefix if isinstance(prefix, bytes) else prefix.render(self.replies)

    @property
    def messages(self) -> int:
        """Messages read so far."""
        return self.fast_messages + self._framed_messages

    @property
    def replies(self) -> int:
        """Replies given so far, the one that is being made included."""
        return self.messages - self._unanswered

    @property
    def bytes_out(self) -> int:
        """Bytes accepted for sending, queued ones included."""
        constant = self._prefix if isinstance(self._prefix, bytes) else b""
        return self._bytes_sent + self.fast_bytes + self.fast_messages * len(constant)

    def write(self, data: bytes) -> None:
        """Send ``data`` as it is, after all that was sent before.

        Ignored once the connection is :attr:`closing`.
        """
        if self._batch is not None:
            self._batch.append(data)
        elif not (self.closing or self._deferred_close):
            self._record_activity()
            self._send(data)

    def finish(self) -> None:
        """End politely (Node's ``end()``): flush, FIN, wait for the peer's, bounded."""
        self.close_with(Outcome.CLOSED)

    def abort(self) -> None:
        """End now with a reset (Node's ``resetAndDestroy()``)."""
        self.abort_with(Outcome.ABORTED)

    # -- beginning ------------------------------------------------------------

    def connectionMade(self) -> None:
        """Be counted, then begin."""
        self.fast_messages = self._framed_messages = 0
        self._batch = self._plain_prefix = self._fast_prefix = None
        self._eof_reported = False
        self.number = self.factory.connection_opened(self)
        super().connectionMade()

    def _transport_ready(self) -> None:
        state, sender = self.factory, self.sender
        config = state.config
        if not sender.options_inherited:
            sender.set_socket_options(config.nagle, config.keep_alive, config.stall_timeout)
        if config.encoding == "utf-8":
            sender.limit_reads(HIGH_WATER // 3)  # U+FFFD is three bytes for one
        self._prefix = state.bind_prefix(self, self.number)
        if type(self).ended is not EchoProtocol.ended:
            _ = self.local_address  # kept: when ended() is called, the socket is closed
        if state.events.connections:
            state.log_opened(self)
        if config.pause_on_connect:
            self.pause()
        if state.greeting is not None:
            self._send(state.greeting_for(self, self.number))
        try:
            self.opened()
        except BaseException:
            self._application_error()  # what the client has sent already will not be answered
        self._select_path()

    # -- the fast path --------------------------------------------------------

    def _select_path(self) -> None:
        """Choose the path, after :meth:`opened`: it may have given this connection a reply()."""
        if self._framer is not _NO_FRAMER:
            return
        plain = self.factory.is_plain_echo and self.sender.half_closes
        if plain and isinstance(self._prefix, bytes) and not self._is_overridden():
            self._plain_prefix = self._prefix
            self._update_fast_path()
        else:
            self._use_framer()

    def _is_overridden(self) -> bool:
        """Return whether a subclass, or this instance alone, answers in its own way."""
        return (
            getattr(self.reply, "__func__", None) is not EchoProtocol.reply
            or getattr(self.dataReceived, "__func__", None) is not EchoProtocol.dataReceived
            or type(self).prefix is not EchoProtocol.prefix
        )

    def _update_fast_path(self) -> None:
        """Switch the fast path on or off: this is the one place that decides it."""
        on = self.phase is OPEN and not self.blocks
        prefix = self._plain_prefix if on else None
        if prefix is not self._fast_prefix:
            self._fast_prefix = prefix
            replies = None if prefix is None else self.factory.reply_buffer(prefix)
            self.sender.set_fast_reply(self, replies)

    def dataReceived(self, data: bytes) -> None:
        """Answer what was read; once we are closing, discard it."""
        prefix = self._fast_prefix
        if prefix is None:
            self._receive(data)
            return
        size = len(data)
        self.fast_bytes += size
        self.fast_messages += 1
        sender, large = self.sender, size >= SENDMSG_THRESHOLD
        sent = sender.send_both(prefix, data) if large else sender.send(prefix + data)
        if not sent:
            self._watch_write_progress()

    def send_remainder(self, data: bytes) -> None:
        """Send the rest of a reply that the stream began to send."""
        self.sender.queue(data)
        self._watch_write_progress()

    # -- the framed path ------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        """Answer what was read, through the framer."""
        self._record_activity()
        if self._fast_prefix is not None:  # only IDLE had switched the fast path off
            EchoProtocol.dataReceived(self, data)  # an override has called us already
            return
        self._bytes_in += len(data)
        if self.outcome is not None:
            return
        if self._framer is _NO_FRAMER:  # it was read before a pause was known
            self._use_framer()
        self._register_producer()
        self._framer.feed(data)
        if self.blocks & (APPLICATION | REPLY):  # else Twisted's TLS delivers the rest
            self.transport.pauseProducing()
        self._answer()

    def _use_framer(self) -> None:
        """From now on, have a framer cut the stream into messages."""
        config = self.factory.config
        self._plain_prefix = None
        self._update_fast_path()
        self._framer = make_framer(config.message_framing, config.encoding, config.max_message)

    def _resumed(self) -> None:
        if self._batch is not None:  # within reply(): the batch goes on by itself
            return
        self._answer()
        if self.eof_received:
            self._peer_eof()
        waits = self.blocks & BACK_PRESSURE or self._pending_reply is not None
        if self._deferred_close is not None and not waits:
            self.close_with(self._deferred_close)

    def _answer(self) -> None:
        """Answer the messages that are there, until the transport has enough."""
        more = self._batch is None
        while more and not (self.blocks & PAUSED or self.closing):
            more = self._in_batch(self._fill_batch)

    def _in_batch(self, add_replies: Callable[[ReplyBatch], bool]) -> bool:
        """Send in one piece what is added to a batch, then close if that is due.

        :return: whether messages are left.
        """
        batch = self._batch = ReplyBatch()
        more = batch.fill(add_replies)
        self._batch = None
        if batch and self.outcome is None:  # neither aborted nor lost meanwhile
            self._send(batch.joined(), defer=more)
        if batch.outcome is not None:
            super().close_with(batch.outcome, resets=batch.outcome is Outcome.FAILED)
        return more

    def _fill_batch(self, batch: ReplyBatch) -> bool:
        """Take messages and add their replies, no more than may be queued.

        :return: whether messages are left. Then the batch leaves in the reactor's next
            turn, whatever the kernel would take now: other clients come first.
        """
        budget = self.sender.write_budget()
        while (message := self._framer.take()) is not None:
            self._append_reply(message, batch)
            if batch.outcome or self.closing or self.blocks & (APPLICATION | REPLY):
                return False
            if batch.reply_bytes > budget:
                return self._framer.pending > 0
        return False

    def _flush_framer(self, batch: ReplyBatch) -> bool:
        """Answer what the end of the stream makes a message."""
        message = self._framer.end()
        if message is not None:
            self._append_reply(message, batch)
        return False

    def _append_reply(self, message: bytes, batch: ReplyBatch) -> None:
        """Add the reply to one message, or wait for it."""
        self._framed_messages += 1
        reply: object = None if self.factory.config.discard else self.reply(message)
        if type(reply) is not bytes and is_later(reply):
            pending = PendingReply(reply, message)
            if not pending.done:
                self._await_reply(pending)
                return
            reply = pending.result()
        self._add_reply(reply, message, batch)

    def _add_reply(self, reply: object, message: bytes, batch: ReplyBatch) -> None:
        """Add a reply that is there, and log it."""
        if reply is None:
            self._unanswered += 1
        elif isinstance(reply, bytes):
            framed = self._framer.wrap(reply)
            batch.append(framed)
            batch.reply_bytes += len(framed)
        else:
            raise TypeError(f"reply() must return bytes or None, not {type(reply).__name__}")
        if self.factory.events.messages:
            port = getattr(self.remote_address, "port", "-")
            bytes_out = self.bytes_out + batch.reply_bytes
            self.factory.events.received(port, message, self.bytes_in, bytes_out)

    def _await_reply(self, pending: PendingReply) -> None:
        """Stop until a reply is there."""
        self._pending_reply = pending
        pending.when_done(self._reply_arrived)
        self.blocks |= REPLY
        self._check_soon()  # a read in between may stop the reading, which then hides a reset

    def _reply_arrived(self, pending: PendingReply) -> None:
        """Send a reply that was awaited, then go on with the messages behind it."""
        self._pending_reply = None
        if self.outcome is not None:
            return
        self.blocks &= ~REPLY

        def add(batch: ReplyBatch) -> bool:
            self._add_reply(pending.result(), pending.message, batch)
            return False

        self._record_activity()
        self._in_batch(add)
        if not self.closing:
            self._resumed()
            self._maybe_resume_reading()

    # -- the client's end -----------------------------------------------------

    def _peer_eof(self, just_now: bool = False) -> None:
        """Answer the rest, then end; unless our side is to stay open."""
        if self.blocks & PAUSED or self._eof_reported or self.outcome is not None:
            return  # with messages left: called again when they may be answered
        if self._batch is not None:  # within reply(): the same
            return
        self._eof_reported = True
        if self._framer is not _NO_FRAMER:
            self._in_batch(self._flush_framer)
        if self._pending_reply is not None:  # the reply to the last message
            self._eof_reported = False
            return
        try:
            self.peer_ended()
        except BaseException:
            self._application_error(answered=True)
        if self.factory.config.allow_half_open:
            self._stay_half_open()
        elif just_now:
            self._close_on_eof(self._eof_outcome())
        else:
            self.close_with(self._eof_outcome())

    def _eof_outcome(self) -> Outcome:
        return Outcome.TRUNCATED if self.sender.unclean_eof else Outcome.FINISHED

    def _outcome_without_eof(self) -> Outcome:
        """The outcome where the end was reported, but no FIN: with Twisted's own TLS."""
        return Outcome.STALLED if self._framer.pending else Outcome.FINISHED

    def _stay_half_open(self) -> None:
        limit = self.factory.config.half_open_timeout
        if limit is not None and not self.closing:
            self._timeouts.limit_life(self._now() + limit, self._eof_outcome())
            self._schedule_check(min(self.due, self._timeouts.expires_at))

    # -- our own end ----------------------------------------------------------

    def close_with(self, outcome: Outcome, resets: bool = False) -> None:
        """End politely; what was read, and what :meth:`reply` adds, goes out before."""
        if self._batch is not None and not resets:
            self._batch.end_after(outcome)
        elif self.closing or resets or self.phase is HANDSHAKE:
            super().close_with(outcome, resets)
        elif self._must_answer_first(outcome):
            self._close_once_answered(outcome)
        else:
            super().close_with(outcome)

    def _must_answer_first(self, outcome: Outcome) -> bool:
        """Answer what can be answered; return whether something has to wait."""
        if outcome in _SERVER_INITIATED:
            self.blocks &= ~APPLICATION
            self._update_fast_path()
            self._answer()
            if not self.blocks & PAUSED:
                self.sender.flush_received()
        if self._pending_reply is not None:
            return True
        left = self._framer.pending or self.sender.has_undelivered
        blocked = self.blocks & BACK_PRESSURE > 0 and not self.closing
        return blocked and outcome in _SERVER_INITIATED and bool(left)

    def _close_once_answered(self, outcome: Outcome) -> None:
        """Read no more; close when the client has taken enough to answer the rest."""
        if self._deferred_close is None:
            self._deferred_close = outcome
            self._start_close_timeout(outcome)

    # -- reports --------------------------------------------------------------

    def _application_error(self, answered: bool = False) -> None:
        """End this connection: a hook has raised. ``answered``: nothing that was read is left.

        Each hook has its own ``try``: a helper would add 0.25 µs to the 35 µs per connection.
        """
        log.failure("Server Error: the application failed")
        self.close_with(Outcome.FAILED, resets=not answered)

    def _timed_out(self, seconds: float) -> None:
        if self.factory.events.connections:
            self.factory.events.timed_out(self.remote, seconds)
        action = self.factory.config.idle_action
        if action == "close":
            self.close_with(Outcome.TIMED_OUT)
        elif action == "reset":
            self.abort_with(Outcome.TIMED_OUT)
        try:
            self.idle(seconds)
        except BaseException:
            self._application_error(answered=not self.blocks & PAUSED)

    def _closed(self, outcome: Outcome, reason: Failure, opened: bool) -> None:
        if outcome is Outcome.FINISHED and not self.eof_received:
            outcome = self.outcome = self._outcome_without_eof()
        self.factory.connection_closed(self)
        if self._pending_reply is not None:
            self._pending_reply.cancel()
            self._pending_reply = None
        if self.factory.events.connections:
            self.factory.log_closed(self, outcome, reason, opened)
        if opened:
            try:
                self.ended(outcome)
            except BaseException:
                log.failure("Server Error: the application failed")
        self.factory.notify_idle()
