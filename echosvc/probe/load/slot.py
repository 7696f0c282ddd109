"""One long-lived place of a load: it opens a connection, drives it, and opens the next one.

Theory of operation. A slot has one connection at a time, and a pace that outlives it. So what
becomes due while none is open is sent on the next one, and the delay is part of its latency::

    open() ---> opening ---> open ---> it ends ---> opening ...
                   |                      |
                   +-- failed: wait ------+-- after an error: wait

The wait doubles with each failure up to a limit, and begins anew once a message was answered or a
connection has lived for as long as the limit. After ``lifetime`` the slot replaces its connection
without loss: it stops to send, waits for what is owed, sends FIN, and opens the next one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from echosvc.net.errors import is_program_error
from echosvc.probe.load.channel import name_error
from echosvc.probe.load.connection import ConnectionEnd, ConnectionEvents, LoadConnection
from echosvc.probe.load.opener import Opener, Opening
from echosvc.probe.load.pacer import Pacer
from echosvc.probe.load.server_form import Greetings, ServerForm
from echosvc.probe.traffic.exchange import ABANDONED, Exchange
from echosvc.probe.traffic.schedule import Pace
from echosvc.probe.traffic.sent_message import SentMessage
from echosvc.probe.traffic.tally import Tally

#: Seconds until the next attempt after a failure: the first wait, and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0


class SlotEvents:
    """What a slot reports. All methods do nothing; a subclass does what it needs.

    ``answered`` is only called where :attr:`wants_answers` is true.
    """

    wants_answers = False

    def opened(self, slot: Slot, connection: LoadConnection, opening: Opening) -> None:
        """A connection is open. No message of its exchange was sent on it."""

    def failed(self, slot: Slot, cause: str, error: BaseException) -> None:
        """A connection could not be opened, or its server not be recognised.

        :param cause: as :func:`~echosvc.probe.load.channel.name_error` says it.
        """

    def answered(self, slot: Slot, connection: LoadConnection, messages: list[SentMessage]) -> None:
        """Some messages were answered, one or more."""

    def ended(self, slot: Slot, end: ConnectionEnd) -> None:
        """A connection has ended, as it should or not."""


class Slots:
    """What the slots of one run share.

    :ivar reactor: for waits.
    :ivar opener: opens connections.
    :ivar tally: where connections and errors are counted.
    :ivar pacer: sends what is due.
    :ivar make_exchange: makes the exchange of a new connection, from its number, the pace and how
        its server answers.
    :ivar numbers: of the connections, each once in the run.
    :ivar now: the clock.
    :ivar greeting: what the server sends first, where it was not found out at the opening.
    :ivar greeting_wait: seconds in which the greeting of a new connection comes, where each has
        another one; 0: all have the same, or none.
    :ivar lifetime: seconds after which a connection is replaced; 0: never.
    :ivar grace: seconds that such a connection may take to end.
    :ivar reserve: returns how many seconds the next attempt must wait, and counts it as made.
    :ivar next_wait: returns how many seconds a slot waits after an error; ``None``: the wait
        doubles each time.
    """

    def __init__(
        self,
        reactor: Any,
        opener: Opener,
        tally: Tally,
        pacer: Pacer,
        make_exchange: Callable[[int, Pace, ServerForm], Exchange],
        numbers: Iterator[int],
        now: Callable[[], float],
        *,
        lifetime: float = 0.0,
        grace: float = 5.0,
        reserve: Callable[[], float] = float,
        next_wait: Callable[[Slot], float] | None = None,
    ) -> None:
        self.reactor, self.opener, self.tally, self.pacer = reactor, opener, tally, pacer
        self.make_exchange, self.numbers, self.now = make_exchange, numbers, now
        self.lifetime, self.grace = lifetime, grace
        self.reserve, self.next_wait = reserve, next_wait
        self.greeting, self.greeting_wait = b"", 0.0
        self._greetings = Greetings()

    def count_opened(self, opening: Opening) -> None:
        """Count a connection that was opened, and what came on it first and is no greeting."""
        self.tally.count_connection(opening.seconds, opening.first_byte)
        now = self.now()
        for size, connections in self._greetings.note(opening.form).items():
            self.tally.count("unexpected_bytes", size * connections, now)
            for _ in range(connections):
                self.tally.count_error("mismatch", now)


class Slot(ConnectionEvents):
    """One place, which has one connection at a time.

    :param shared: what it shares with the others.
    :param pace: when messages are due. It may be set until :meth:`begin`.
    :param events: what it reports to.
    :param first_lifetime: of its first connection, seconds, so that not all end at once; 0: as of
        the others.
    :ivar connection: the one that is open; ``None``: there is none.
    :ivar is_stopped: it opens no connection any more.
    :ivar last_error: why the last attempt failed; "": it did not.
    """

    def __init__(
        self, shared: Slots, pace: Pace, events: SlotEvents, first_lifetime: float = 0.0
    ) -> None:
        self.shared, self.pace, self._events = shared, pace, events
        self._lifetime = first_lifetime or shared.lifetime
        self.connection: LoadConnection | None = None
        self.is_stopped = self._begun = False
        self.last_error = ""
        self._wait, self._timer, self._life = FIRST_WAIT, None, None
        self._attempt: Deferred[Opening] | None = None

    # -- opening --------------------------------------------------------------

    def open(self) -> None:
        """Open a connection, as soon as the rate of connections allows it."""
        self._open_in(0.0)

    def begin(self) -> None:
        """Begin to send, on this connection and on those that replace it."""
        self._begun = True
        if self.connection is not None:
            self.connection.start(self.shared.greeting)

    def _open_in(self, seconds: float) -> None:
        if not self.is_stopped and self._timer is None:
            seconds = max(seconds, self.shared.reserve())
            self._timer = self.shared.reactor.callLater(seconds, self._open_now)

    def _open_now(self) -> None:
        self._timer = None
        self._attempt = Deferred.fromCoroutine(self.shared.opener.open())
        self._attempt.addCallbacks(self._opened, self._failed)
        self._attempt.addErrback(_raise_later, self.shared.reactor)

    def _opened(self, opening: Opening) -> None:
        self._attempt, shared = None, self.shared
        self.last_error = ""
        if self.is_stopped:
            opening.channel.abort()
            return
        shared.count_opened(opening)
        self.connection = connection = self._connect(opening)
        if self._lifetime:
            self._life = shared.reactor.callLater(self._lifetime, self._replace, connection)
        self._lifetime = shared.lifetime
        self._events.opened(self, connection, opening)
        if self._begun and shared.greeting_wait:
            shared.reactor.callLater(shared.greeting_wait, connection.start)
        elif self._begun:
            connection.start(shared.greeting)

    def _connect(self, opening: Opening) -> LoadConnection:
        """Return the connection that was opened."""
        shared = self.shared
        number = next(shared.numbers)
        return LoadConnection(
            shared.make_exchange(number, self.pace, opening.form), opening.channel, number,
            pace=self.pace, events=self, now=shared.now,
            report_answers=self._events.wants_answers, may_greet=opening.first_byte is None,
        )  # fmt: skip

    def _failed(self, failure: Failure) -> None:
        self._attempt = None
        error = cast(BaseException, failure.value)
        if self.is_stopped:  # it was cancelled
            return
        if is_program_error(error):
            failure.raiseException()
        self.last_error = cause = name_error(error)
        self.shared.tally.count_error(cause, self.shared.now())
        self._events.failed(self, cause, error)
        self._open_again()

    def _open_again(self) -> None:
        """Open the next one after a wait."""
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
        chosen = self.shared.next_wait
        self._open_in(wait if chosen is None else chosen(self))

    def _replace(self, connection: LoadConnection) -> None:
        """End a connection without loss, in a limited time; the next one is opened at its end."""
        self._life = self.shared.reactor.callLater(self.shared.grace, connection.give_up, "timeout")
        connection.drain()

    # -- what its connection reports ------------------------------------------

    def answered(self, connection: LoadConnection, messages: list[SentMessage]) -> None:
        """Pass it on."""
        self._events.answered(self, connection, messages)

    def ready(self, connection: LoadConnection) -> None:
        """Send at the next intended time."""
        self.shared.pacer.add(connection)

    def ended(self, connection: LoadConnection, end: ConnectionEnd) -> None:
        """Report it, and open the next one."""
        self.connection = None
        life, self._life = self._life, None
        if life is not None and life.active():
            life.cancel()
        if end.when - connection.opened >= LONGEST_WAIT:
            self._wait = FIRST_WAIT
        self._events.ended(self, end)
        if end.is_error:
            self._open_again()
        else:
            self._open_in(0.0)

    # -- the end --------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether it has ended, and its connection, too."""
        return self.is_stopped and self.connection is None

    @property
    def awaited(self) -> int:
        """How many messages are to be answered next."""
        return 0 if self.connection is None else self.connection.exchange.awaited

    @property
    def silent_since(self) -> float:
        """Since when something is due and nothing was answered; infinity: nothing is due."""
        return math.inf if self.connection is None else self.connection.exchange.silent_since

    def drain(self) -> None:
        """Open no more, wait for what is owed, and close."""
        self._stop()
        if self.connection is not None:
            self.connection.drain()

    def give_up(self, how: str = ABANDONED) -> None:
        """Open no more, and end the connection now.

        :param how: how it ended, unless nothing is owed and FIN was sent.
        """
        self._stop()
        if self.connection is not None:
            self.connection.give_up(how)

    def _stop(self) -> None:
        self.is_stopped = True
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        attempt = self._attempt
        if attempt is not None:
            attempt.cancel()


def _raise_later(failure: Failure, reactor: Any) -> None:
    """Let an error of this program be the reactor's, which reports it."""
    reactor.callLater(0, failure.raiseException)
