"""One connection's life, the same for both sides: reading, pausing, ending.

States: *waiting* for a TLS handshake where there is one, open, *closing* (flushing
what is queued, then our FIN, then lingering for the peer's), gone. Waiting and
closing have deadlines, so every connection ends. There is one way to end politely,
:meth:`Connection.end_with`, and one to end at once, :meth:`Connection.abort_with`;
both take the word that is then recorded, once.

Several Twisted defaults lose data or hang here; each is named where it is avoided.
"""

from __future__ import annotations

import math

from twisted.internet.error import ConnectionAborted, ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.connection.outcome import Outcome
from echosvc.connection.sending import make_sender
from echosvc.connection.timed import BY_APPLICATION, Timed
from echosvc.connection.timeouts import IdleClock
from echosvc.connection.transport import completed
from echosvc.net.errors import TLSError


@implementer(IHalfCloseableProtocol, IPushProducer)
class Connection(Timed):
    """A stream with back-pressure and lossless ends.

    A plain ``Protocol`` loses what it has queued when data and FIN come together; one
    that provides ``IHalfCloseableProtocol`` is told of the FIN and may flush. It is a
    push producer of its own transport: told to pause, it stops reading.
    """

    _registered = False

    # -- what a subclass does -------------------------------------------------

    def _started(self) -> None:
        """Bytes can be exchanged; nothing was read yet."""

    def _go_on(self) -> None:
        """Neither the transport nor the application holds us up any more, maybe."""

    def _ended_by_peer(self, at_fin: bool = False) -> None:
        """The peer's FIN came (``at_fin``: just now), everything before it was read."""

    def _over(self, outcome: Outcome, reason: Failure) -> None:
        """The connection is gone."""

    def connectionMade(self) -> None:
        """Begin."""
        # All that changes, from the start: CPython shares attributes' names among
        # instances only while the first thirty are made. Later they cost 800 bytes each.
        self.bytes_in = self._sent = self.bytes_seen = 0
        self.peer_finished = self._gone = self._blocked = self._resting = False
        self._held = 0
        self.outcome = self._close_clock = None
        self._sender = sender = make_sender(self.transport)
        factory = self.factory
        sweep, config = factory.sweep, factory.config
        self._opened_at = now = sweep.now()
        self._idle_clock = IdleClock(config.idle_timeout, now)
        self.due = math.inf
        if config.idle_timeout:
            self.due = now + config.idle_timeout
        if config.max_lifetime:
            self.due = min(self.due, now + config.max_lifetime)
        sweep.watch(self)
        if sender.half_closes:
            self._register()
        else:
            self.transport = completed(self.transport)
            if not sender.handshakes:
                self._register()
        if sender.ready:
            self._started()
        else:
            self._wait(now)

    def _wait(self, now: float) -> None:
        self._waiting = True
        limit = self._config.handshake_timeout
        self._look_at(now + limit if limit else math.inf)

    def handshakeCompleted(self) -> None:
        """TLS can be spoken from now on."""
        if not self._waiting:
            return
        self._waiting = False
        self._touch()
        next_look = self._idle_clock.next_look(self._idle_clock.active, self._interval)
        self._look_at(min(self._expires, next_look))
        self._started()

    def readConnectionLost(self) -> None:
        """The peer's FIN came: Node's ``end`` event."""
        if self._sender.broke:
            self._sender.lose()
            return
        self.peer_finished = True
        if self.outcome is None:
            self._ended_by_peer(at_fin=True)
            if self.outcome is None:
                self._touch()
        elif self._resets_at_end:
            return  # nothing but the reset is to be seen
        elif not self._sender.close():
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our FIN is out, everything before it was taken by the kernel."""
        now = self._now()
        self._look_at(now + self._interval)
        if self._close_clock is not None:
            self._close_clock.fin(now)

    def connectionLost(self, reason: Failure | None = Failure(ConnectionDone())) -> None:  # noqa: B008
        """Record how it ended."""
        if self._gone:
            return
        self._gone = True
        self.factory.sweep.forget(self)
        # A peer that has closed both directions looks broken where we close after it.
        complete = self.peer_finished and not self._sender.queued()
        if self._waiting:
            self.outcome = self.outcome or Outcome.HANDSHAKE
        self.outcome = final_outcome(self.outcome, reason, complete)
        self._over(self.outcome, reason or Failure(ConnectionDone()))

    def pauseProducing(self) -> None:
        """Stop reading: the transport's queue is above its high-water mark."""
        self._blocked = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on: the transport's queue is empty."""
        self._blocked = False
        self._touch()
        if self._sender.ending():
            self.transport.unregisterProducer()  # or it would wait for us before it closes
        elif not self.closing:
            self._go_on()
            self._read_on()

    def stopProducing(self) -> None:
        """Nothing: the end is told by :meth:`connectionLost`."""

    # -- reading --------------------------------------------------------------

    def pause(self) -> None:
        """Read nothing, not even the peer's FIN, until :meth:`resume`. Idleness counts on."""
        if not self.closing:
            self._hold(BY_APPLICATION)

    def _hold(self, why: int) -> None:
        self._held |= why
        self._changed()
        self._look_soon()  # from now on it is our look that finds a reset
        if self._sender.half_closes or self.bytes_in:  # or it stops Twisted's handshake
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Read again, unless replies wait to be sent."""
        self._held &= ~BY_APPLICATION
        self._changed()
        if not self.closing:
            self._go_on()
        self._read_on()

    def _read_to_end(self) -> None:
        """Our FIN is due: read on until the peer's, whatever held us up."""
        self._blocked, self._held = False, 0
        self.transport.resumeProducing()

    def _read_on(self) -> None:
        if not (self._blocked or self._held or self.peer_finished or self._gone):
            self.transport.resumeProducing()

    def _register(self) -> None:
        """Ask for back-pressure. On Twisted's own TLS, only once the handshake is done:

        with bytes written before it, the pause would stop the handshake for ever.
        """
        if not self._registered:
            self._registered = True
            self.transport.registerProducer(self, True)

    # -- sending --------------------------------------------------------------

    def _send(self, data: bytes, later: bool = False) -> None:
        """Send ``data`` and count it; ``later``: in the reactor's next turn."""
        self._sent += len(data)
        if not self._sender.send(data, later):
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        """Take note that bytes wait: from now on their progress is looked at."""
        if self._idle_clock.queue(self.bytes_out, self._sender.waiting()):
            self._look_soon()

    # -- ending ---------------------------------------------------------------

    def end_with(self, outcome: Outcome) -> None:
        """End politely: flush, FIN, then wait for the peer's FIN, bounded in time.

        What the peer sends meanwhile is read: closing a socket with unread bytes
        resets it, and that destroys what is still on its way to the peer (RFC 2525,
        2.17).
        """
        if self.closing:
            return
        if self._waiting:
            self.abort_with(outcome)  # nothing is due
            return
        self.outcome = outcome
        self._changed()
        # A transport whose producer is paused never closes: it resumes the producer,
        # which does nothing on a closing connection, and waits for it for ever.
        if self._registered:
            self.transport.unregisterProducer()
        self._close_slowly(outcome)
        if not self.peer_finished:
            self._read_to_end()
        if self.peer_finished or not self._sender.half_closes:
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def reset_with(self, outcome: Outcome) -> None:
        """End by a reset, once the peer has taken what was sent, bounded in time.

        For where more was due than was sent: a FIN would tell the peer that it has everything.
        """
        if self.closing:
            return
        self.outcome = outcome
        self._changed()
        if self._registered:
            self.transport.unregisterProducer()
        self._close_slowly(outcome, resets=True)
        if self._waiting or not self._sender.unsent():
            self.abort_with(outcome)
        elif not self.peer_finished:
            self._read_to_end()

    @property
    def _resets_at_end(self) -> bool:
        return self._close_clock is not None and self._close_clock.resets

    def _end_at_fin(self, outcome: Outcome) -> None:
        """End where the peer has finished just now: at once, if nothing waits."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        if not self._sender.close():
            self.outcome = None
            self.end_with(outcome)

    def abort_with(self, outcome: Outcome) -> None:
        """End now: what is queued is dropped, the peer sees a reset.

        Where a polite end was under way, its outcome holds if the peer had taken everything, our
        FIN too; else it did not come about. A second abort changes nothing.
        """
        if self._gone or (self.closing and self._close_clock is None):
            return
        clock, self._close_clock = self._close_clock, None
        if clock is None or not clock.fin_sent or self._sender.unsent():
            self.outcome = outcome
        self._changed()
        self.due = math.inf
        if not self._sender.abort():
            self.connectionLost(Failure(ConnectionAborted()))


def final_outcome(outcome: Outcome | None, reason: Failure | None, complete: bool) -> Outcome:
    """The word for a connection that is gone, from its own and the reactor's reason.

    :param reason: ``None``: the transport has given none, which is a clean end.
    :param complete: both sides had finished, and nothing waited to be sent.
    """
    why = None if reason is None else reason.value
    if why is None or isinstance(why, ConnectionDone):
        return outcome or Outcome.FINISHED
    if complete and outcome is Outcome.FINISHED:
        return outcome
    if isinstance(why, ConnectionAborted):
        return outcome or Outcome.ABORTED
    if _is_application_error(why):
        return Outcome.FAILED
    # Broken while it ended well: what was queued may be lost.
    broken = outcome in (None, Outcome.FINISHED, Outcome.CLOSED)
    return Outcome.RESET if outcome is None or broken else outcome


def _is_application_error(why: BaseException) -> bool:
    """Whether a connection was lost by an exception that is none of the network's or TLS's.

    A reactor ends a connection so whose protocol has raised it.
    """
    from_network = isinstance(why, (ConnectionClosed, OSError, TLSError))
    return not from_network and type(why).__module__ != "OpenSSL.SSL"
