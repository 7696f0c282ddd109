"""One connection of a load: what is to be sent, and what was answered. No I/O, no clock.

Theory of operation. What comes is compared with the replies that are due, a whole reply at a time;
that is all while everything is right. At the first wrong byte the search for stamps begins
(:mod:`~echosvc.probe.traffic.search`). It ends at the next intact message, or when as many bytes
came as were due. Then it is known what happened, and each message is counted once:

- The messages that were due before the intact one are skipped. Bytes that came in their place make
  them damaged. Otherwise they are missing: one that comes later is reordered, and the rest are lost
  when the connection ends.
- A message that was answered before is duplicated.
- Bytes before the next message that is due are a piece that was repeated, which counts as
  duplicated. If they are not, they damage the reply of that message.

What is counted depends on the bytes and on what was sent before they came, not on the reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from echosvc.probe.traffic.ledger import Ledger, never_paused
from echosvc.probe.traffic.messages import Messages
from echosvc.probe.traffic.replies import PrefixBinder, PrefixSplitter, ReplyFormat
from echosvc.probe.traffic.resync import Resynchronizer
from echosvc.probe.traffic.schedule import ClosedLoop, Pace
from echosvc.probe.traffic.sent_message import SentMessage
from echosvc.probe.traffic.tally import Tally

#: Bytes after which :meth:`Exchange.due` returns, though more is due.
WRITE_SIZE = 65536
#: The ends of a connection that are no errors: as it should end, and given up by this side.
CLOSED, ABANDONED = "closed", "abandoned"


class Exchange:
    """One connection, from its first message to its end.

    The server's greeting, if it has one, is not part of it.

    :param messages: of this connection.
    :param replies: what the server sends before its replies.
    :param pace: when messages are due. It may go on with the connection that replaces this one.
    :param tally: where everything is counted.
    :param deadline: seconds from the time a message is sent after which its answer is late.
    :param max_gap: seconds without an answer, while one is due, that are noted as a gap.
    :param first_byte: the time to the first byte is counted.
    :param paused: as :class:`~echosvc.probe.traffic.ledger.Ledger` takes it.
    """

    def __init__(
        self,
        messages: Messages,
        replies: ReplyFormat,
        pace: Pace,
        tally: Tally,
        deadline: float = math.inf,
        max_gap: float = math.inf,
        first_byte: bool = True,
        paused: Callable[[float, float], float] = never_paused,
    ) -> None:
        self._messages, self._pace, self._tally = messages, pace, tally
        closed_loop = isinstance(pace, ClosedLoop)
        self._ledger = Ledger(tally, messages.connection, deadline, max_gap, closed_loop, paused)
        self._resync = Resynchronizer(messages, replies, self._ledger)
        self._binder = None if replies.is_bound else PrefixBinder(replies, messages.key)
        self._use(replies)
        self._first_sent, self._counts_first_byte = math.inf, first_byte
        self._offset = 0  # bytes of the reply that is due which have come
        self._held = b""  # the beginning of a head that varies
        self._after_prefix = False
        self._strict = replies.anywhere  # until the first fault it is known where prefixes are due
        self._is_plain = self._find_plain()

    def _use(self, replies: ReplyFormat) -> None:
        """Use a format, also for what was sent before its fields were known."""
        self._replies, self._resync.replies = replies, replies
        self._splitter = PrefixSplitter(replies) if replies.anywhere else None
        self._has_heads = replies.has_heads
        self._lead = replies.prefix if replies.anywhere else b""
        for message in self._ledger.pending:
            message.reply = replies.reply(message.reply[-message.size :])

    @property
    def prefix(self) -> bytes:
        """The prefix of this connection, from which one may see who answered.

        Empty until the first reply, if it has fields.
        """
        return b"" if self._binder else self._replies.prefix

    @property
    def next_time(self) -> float:
        """When to call :meth:`due` next; infinity: after an answer, or never."""
        return self._pace.next_time

    @property
    def owed(self) -> int:
        """How many messages may still be answered."""
        return self._ledger.owed

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return self._ledger.sent

    @property
    def is_damaged(self) -> bool:
        """Whether a wrong byte came."""
        return self._resync.has_failed

    @property
    def awaited(self) -> int:
        """How many messages are due next: without those that were missing before an answer."""
        return len(self._ledger.pending)

    @property
    def silent_since(self) -> float:
        """Since when something is due and nothing was answered; infinity: nothing is due."""
        return self._ledger.silent_since

    # -- sending --------------------------------------------------------------

    def due(self, now: float) -> bytes:
        """Return what is to be sent now; it counts as sent.

        Call it only while the connection takes what it is given. What is due meanwhile is sent
        later, and the delay is part of its latency.
        """
        frames, pending, size = [], self._ledger.pending, 0
        while size < WRITE_SIZE:
            intended = self._pace.take(now, len(pending))
            if intended is None:
                break
            frame = self._send(intended, now)
            frames.append(frame)
            size += len(frame)
        if not frames:
            return b""
        self._tally.count_sent(len(frames), size, now)
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _send(self, intended: float, now: float) -> bytes:
        ledger, number = self._ledger, self._ledger.sent
        if not number and self._counts_first_byte:
            self._first_sent = now
        message = self._messages.make(number)
        reply = self._replies.reply(message) if self._has_heads else message
        marked = self._strict and not ledger.pending
        ledger.pending.append(SentMessage(number, reply, len(message), intended, now, marked))
        ledger.sent = number + 1
        if self._resync.active or self._resync.in_excess:
            self._resync.note_sent()
        return self._replies.frame(message) if self._has_heads else message

    # -- receiving ------------------------------------------------------------

    def received(self, data: bytes, now: float) -> list[SentMessage]:
        """Take what came; return the messages that it answered.

        :param data: one read, at least one byte.
        """
        tally, ledger = self._tally, self._ledger
        tally.bytes_received += len(data)
        ledger.now = now
        if self._first_sent < math.inf:
            tally.first_byte.record(now - self._first_sent)
            self._first_sent = math.inf
        if self._is_plain and ledger.pending:
            reply = ledger.pending[0].reply
            if len(data) == len(reply) + len(self._lead) and data == self._lead + reply:
                ledger.answer(ledger.pending.popleft())  # one whole reply, as most reads are
                return ledger.take_answers()
        if self._binder is not None:
            self._bind(self._binder.feed(data), self._binder.data)
        elif self._splitter is None:
            self._take(data)
        else:
            self._take_pieces(self._splitter.split(data))
        self._is_plain = self._find_plain()
        return ledger.take_answers()

    def _find_plain(self) -> bool:
        """Return whether a whole reply may come next: nothing is begun, held or wrong so far."""
        splitter = self._splitter
        held = self._held if splitter is None else splitter.held
        begun = self._offset or held or self._after_prefix or self._resync.active
        return not begun and self._binder is None and not self._replies.varies

    def _bind(self, replies: ReplyFormat | None, data: bytes) -> None:
        """Use a format whose fields are known, if they are, and take what came so far."""
        if replies is None:
            return
        self._binder = None
        self._use(replies)
        self._take_pieces(self._splitter.split(data) if self._splitter else [data])

    def _take_pieces(self, pieces: list[bytes]) -> None:
        """Take pieces of a stream; a prefix came before each but the first."""
        self._take(pieces[0])
        for piece in pieces[1:]:
            if self._strict and (self._after_prefix or not self._ledger.pending):
                self._take(self._replies.prefix)  # a prefix that is not due
            self._after_prefix = True
            self._take(piece)

    def _take(self, data: bytes) -> None:
        while data:
            if self._resync.active:
                data = self._resync.feed(data)
            elif self._replies.varies:
                data = self._match_one(data)
            else:
                data = self._match(data)

    def _match(self, data: bytes) -> bytes:
        """Compare what came with what is due; return what is to be searched."""
        position, end, ledger = 0, len(data), self._ledger
        pending = ledger.pending
        while position < end:
            if not pending or (self._strict and not self._may_begin()):
                return self._lose(data[position:])
            reply, offset = pending[0].reply, self._offset
            if not offset and data.startswith(reply, position):
                position += len(reply)
            else:
                piece = data[position : position + len(reply) - offset]
                if not reply.startswith(piece, offset):
                    return self._lose(data[position:])
                position += len(piece)
                self._offset = offset = offset + len(piece)
                if offset < len(reply):
                    break
                self._offset = 0
            self._after_prefix = False
            ledger.answer(pending.popleft())
        self._after_prefix = False
        return b""

    def _may_begin(self) -> bool:
        """Return whether a prefix came where one must begin the reply."""
        return self._offset > 0 or self._after_prefix or not self._ledger.pending[0].marked

    def _match_one(self, data: bytes) -> bytes:
        """Compare what came with the reply that is due, whose head varies."""
        data, self._held = self._held + data, b""
        if not self._ledger.pending:
            return self._lose(data)
        message = self._ledger.pending[0]
        if not self._offset:
            end = self._replies.find_head(data, 0, message.size)
            if end is None:
                return self._lose(data)
            if end < 0:
                self._held = data
                return b""
            self._resync.extra = end - self._replies.head_size(message.size)
            message.reply = data[:end] + message.reply[-message.size :]
        size = len(message.reply) - self._offset
        return self._match(data[:size]) + data[size:]

    def _lose(self, rest: bytes) -> bytes:
        """Begin to search for an intact message; return what is to be searched."""
        pending = self._ledger.pending
        begun = pending[0].reply[: self._offset] if self._offset else b""
        self._offset = 0
        unmarked = bool(pending) and self._strict and not begun and not self._may_begin()
        self._resync.begin(unmarked)
        self._strict = False
        return begun + rest

    # -- the end --------------------------------------------------------------

    def ended(self, how: str, now: float) -> None:
        """Note that the connection has ended: what is owed is lost.

        :param how: :data:`CLOSED` by both sides when nothing more was to be sent, or
            :data:`ABANDONED` by this side, which did not wait for what is owed. Anything else is
            the cause of an error: ``fin``, ``reset``, ``timeout`` …
        """
        self._ledger.now = now
        if self._binder is not None and self._binder.data:
            self._bind(self._binder.bind(), self._binder.data)
        held = self._held if self._splitter is None else self._splitter.held
        if held and not self._ledger.pending:
            self._ledger.count("unexpected_bytes", len(held))
        if self._resync.active:
            self._resync.end()
        self._ledger.close(abandon=how == ABANDONED)
        if how not in (CLOSED, ABANDONED):
            self._tally.count_error(how, now)
