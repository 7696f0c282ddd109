"""One connection of a load, from the time it is open until it has ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from echosvc.probe.load.channel import Channel, name_error
from echosvc.probe.traffic.exchange import ABANDONED, CLOSED, WRITE_SIZE, Exchange
from echosvc.probe.traffic.schedule import ClosedLoop, OpenLoop
from echosvc.probe.traffic.sent_message import SentMessage

#: Bytes of a greeting that are kept, at most.
MAX_GREETING = 65536


@dataclass(frozen=True)
class ConnectionEnd:
    """How a connection ended.

    :ivar how: ``closed`` and ``abandoned``, which are no errors, or the cause: ``fin``, ``reset``,
        ``timeout``, ``tls`` or the system's name of the error.
    :ivar when: by the clock of the run.
    :ivar number: of the connection.
    :ivar local: this side's address.
    :ivar peer: the other side's.
    :ivar last: the number of the last message that was answered; -1: none was.
    :ivar last_answer: when it was answered; the time of opening where none was.
    :ivar owed: how many messages were not answered.
    :ivar prefix: before its replies, from which one may see who answered.
    """

    how: str
    when: float
    number: int
    local: str
    peer: str
    last: int
    last_answer: float
    owed: int
    prefix: bytes

    @property
    def is_error(self) -> bool:
        """Whether the connection did not end as it should."""
        return self.how not in (CLOSED, ABANDONED)


class ConnectionEvents:
    """What a connection reports. All methods do nothing; a subclass does what it needs."""

    def answered(self, connection: LoadConnection, messages: list[SentMessage]) -> None:
        """Some messages were answered, one or more."""

    def ready(self, connection: LoadConnection) -> None:
        """It takes data again, and nothing is due now."""

    def ended(self, connection: LoadConnection, end: ConnectionEnd) -> None:
        """It has ended."""


class LoadConnection:
    """Sends what is due while the peer takes it, and passes what comes to its exchange.

    It is open when it is made. :meth:`start` begins to send.

    :param exchange: what is sent and verified.
    :param channel: what carries it.
    :param number: of the connection, unique in the run.
    :param events: what it reports to. ``answered`` is only called with ``report_answers``.
    :param now: the clock.
    :param may_greet: what comes before it begins to send may be a greeting.
    :ivar queued: the pacer's: it waits for its next intended time.
    :ivar ready_since: since when the peer takes data; the generator's own lag begins not earlier.
    :ivar early: what came before it began to send: a server that speaks first has greeted.
    :ivar opened: when it was open.
    :ivar local: this side's address.
    :ivar peer: the other side's.
    """

    def __init__(
        self,
        exchange: Exchange,
        channel: Channel,
        number: int,
        *,
        pace: object,
        events: ConnectionEvents,
        now: Callable[[], float],
        report_answers: bool = False,
        may_greet: bool = True,
    ) -> None:
        self.exchange, self.channel, self.number = exchange, channel, number
        self.local, self.peer = channel.local, channel.peer
        self._events, self._now = events, now
        self._report_answers = report_answers
        self._greeting, self._before_data = b"", may_greet
        self.early = b""
        self._sends_on_answer = isinstance(pace, ClosedLoop)
        self._depth = pace.depth if isinstance(pace, (ClosedLoop, OpenLoop)) else math.inf
        self._sending = self._draining = self._fin_sent = self._gone = False
        self.opened = self.ready_since = self._last_answer = now()
        self._last = -1
        self.queued = False
        channel.owner = self

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self._gone

    @property
    def can_send(self) -> bool:
        """Whether what becomes due now is sent at once."""
        return self._sending and self.channel.takes and self.exchange.awaited < self._depth

    @property
    def is_full(self) -> bool:
        """Whether it takes data, and as many messages are in flight as may be."""
        return self.channel.takes and self.exchange.awaited >= self._depth

    @property
    def next_time(self) -> float:
        """When the next message is due; infinity: after an answer, or never."""
        return self.exchange.next_time if self._sending else math.inf

    # -- sending --------------------------------------------------------------

    def start(self, greeting: bytes = b"") -> None:
        """Begin to send.

        :param greeting: what the server sends first; it is not part of the exchange. If it is
            empty, what came so far is taken for it.
        """
        if self._gone or self._draining:
            return
        early, self.early = self.early, b""
        self._sending, self._greeting = True, greeting or early
        self.ready_since = self._now()
        if early:
            self.received(early)
        self._before_data = self._before_data and bool(self._greeting)
        self._send_and_report()

    def send_due(self, now: float) -> bool:
        """Send what is due; return whether anything was."""
        due, channel, sent = self.exchange.due, self.channel, False
        while self._sending and channel.takes:
            data = due(now)
            if not data:
                break
            channel.send(data)
            sent = True
            if len(data) < WRITE_SIZE:  # that was all
                break
        return sent

    def _send_and_report(self) -> None:
        self.send_due(self._now())
        if self.can_send and not self.queued:
            self._events.ready(self)

    def writable(self) -> None:
        """Send what became due while the peer took nothing."""
        if self._sending:
            self.ready_since = self._now()
            self._send_and_report()

    # -- receiving ------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Verify what came, and send what is due after it."""
        if self._before_data:
            data = self._take_first(data)
            if not data:
                return
        now = self._now()
        messages = self.exchange.received(data, now)
        if messages and self._report_answers:
            self._note_answers(messages, now)
        if self._sends_on_answer and self._sending:
            self.send_due(now)
        elif self._draining:
            self._finish_if_answered()
        elif self._sending and messages and not self.queued:  # it was full
            self.ready_since = now
            self._send_and_report()

    def _take_first(self, data: bytes) -> bytes:
        """Take what comes before sending, or is a greeting; return what is neither."""
        if not self._sending and not self._draining:
            self.early = (self.early + data)[:MAX_GREETING]
            return b""
        data = self._strip_greeting(data)
        self._before_data = not data
        return data

    def _note_answers(self, messages: list[SentMessage], now: float) -> None:
        self._last, self._last_answer = messages[-1].number, now
        self._events.answered(self, messages)

    def _strip_greeting(self, data: bytes) -> bytes:
        """Return what came behind the greeting; what is no greeting is verified as it is."""
        size = min(len(data), len(self._greeting))
        expected, self._greeting = self._greeting[:size], self._greeting[size:]
        if data.startswith(expected):
            return data[size:]
        self._greeting = b""
        return data

    # -- the end --------------------------------------------------------------

    def drain(self) -> None:
        """Send nothing more; wait for what is owed, send FIN, and wait for the peer's."""
        if not self._draining and not self._gone:
            self._sending, self._draining = False, True
            self._finish_if_answered()

    def _finish_if_answered(self) -> None:
        if not self._fin_sent and not self.exchange.awaited and not self._gone:
            self._fin_sent = True
            self.channel.finish()

    def give_up(self, how: str = ABANDONED) -> None:
        """End now with a reset.

        Where nothing is awaited and FIN was sent, it counts as closed: the peer has everything.

        :param how: how it ended, as :meth:`~echosvc.probe.traffic.exchange.Exchange.ended` says.
        """
        if not self._gone:
            self.channel.abort()
            self._end(CLOSED if self._fin_sent and not self.exchange.awaited else how)

    def eof_received(self) -> None:
        """Close: the peer sends nothing more."""
        if not self._gone:
            self.channel.close()
            self._end(CLOSED if self._fin_sent else "fin")

    def lost(self, error: BaseException | None) -> None:
        """Note why the connection broke; after FIN and all answers, that does not matter."""
        if not self._gone:
            how = "fin" if error is None else name_error(error)
            self._end(CLOSED if self._fin_sent else how)

    def _end(self, how: str) -> None:
        now, owed = self._now(), self.exchange.owed
        self._gone, self._sending = True, False
        self.exchange.ended(how, now)
        end = ConnectionEnd(
            how, now, self.number, self.local, self.peer,
            self._last, self._last_answer, owed, self.exchange.prefix,
        )  # fmt: skip
        self._events.ended(self, end)
