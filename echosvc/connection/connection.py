"""One connection's life, the same for server and client: reading, pausing, ending.

Its :class:`~echosvc.connection.phase.Phase` follows the table of :mod:`echosvc.connection.phase`;
bits of ``blocks`` keep it from reading. Every phase but OPEN has a deadline, HANDSHAKE where
``handshake_timeout`` is set. So every connection ends: politely by :meth:`Connection.close_with`,
at once by :meth:`Connection.abort_with`. Each takes the outcome, final once the phase is CLOSED.

Several defaults of Twisted lose data or hang here; each is named where it is avoided.
"""

from __future__ import annotations

import math
from typing import Any, cast

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.connection.blocks import APPLICATION, BACK_PRESSURE, EOF, IDLE, PAUSED, REPLY, describe
from echosvc.connection.final_outcome import final_outcome
from echosvc.connection.outcome import Outcome
from echosvc.connection.phase import CLOSED, CLOSING, HANDSHAKE, OPEN
from echosvc.connection.sender import Sender, Transport, make_sender, with_flow_control
from echosvc.connection.timeouts import CLOSE_STALL_TIMEOUT, CloseTimeout, OpenTimeouts
from echosvc.net.addresses import address_of, format_address


@implementer(IHalfCloseableProtocol, IPushProducer)
class Connection(Protocol):
    """A stream with back-pressure and lossless ends.

    A plain ``Protocol`` loses what it has queued when data and FIN come together; one
    that provides ``IHalfCloseableProtocol`` may flush. It is a push producer of its own
    transport, and what the :class:`~echosvc.connection.scheduler.DeadlineScheduler` checks.

    :ivar phase: where it is in its life.
    :ivar blocks: what keeps it from reading: bits of :mod:`echosvc.connection.blocks`.
    :ivar outcome: how it ends; ``None`` until an end has begun. Final in the phase CLOSED.
    :ivar fast_bytes: bytes read on the fast path, which reports no activity.
    """

    phase = CLOSED
    blocks = 0
    outcome: Outcome | None = None
    due = math.inf
    fast_bytes = fast_bytes_seen = 0

    factory: Any  # with config and timers
    transport: Transport  # type: ignore[assignment]
    _bytes_in = _bytes_sent = 0  # without those of the fast path
    _producer_registered = False
    _local_address: IAddress | None = None
    _opened_at: float
    sender: Sender  # everything leaves by it
    _timeouts: OpenTimeouts
    _close_timeout: CloseTimeout | None = None

    # -- what a subclass does -------------------------------------------------

    def _transport_ready(self) -> None:
        """Bytes can be exchanged; nothing was read yet."""

    def _resumed(self) -> None:
        """One of transport and application no longer blocks; the other may still."""

    def _peer_eof(self, just_now: bool = False) -> None:
        """The peer's FIN came, everything before it was read; ``just_now``: this very moment."""

    def _closed(self, outcome: Outcome, reason: Failure, opened: bool) -> None:
        """The connection is gone; ``opened``: :meth:`_transport_ready` was called."""

    def _timed_out(self, seconds: float) -> None:
        """Nothing happened for ``seconds``, the idle time-out."""

    def _update_fast_path(self) -> None:
        """:attr:`phase` or :attr:`blocks` have changed."""

    # -- what can be known of it ----------------------------------------------

    def __repr__(self) -> str:
        name, state = type(self).__name__, self.phase.value + describe(self.blocks)
        return f"<{name} of {self.remote}: {state}>"

    @property
    def bytes_in(self) -> int:
        """Bytes read, those that still wait for a whole message included."""
        return self._bytes_in + self.fast_bytes

    @property
    def bytes_out(self) -> int:
        """Bytes accepted for sending, queued ones included."""
        return self._bytes_sent

    @property
    def eof_received(self) -> bool:
        """Whether the peer has sent its FIN."""
        return self.blocks & EOF > 0

    @property
    def closing(self) -> bool:
        """Whether our side has begun to end; nothing more can be sent."""
        return self.outcome is not None

    @property
    def queued(self) -> int:
        """Bytes accepted for sending that the kernel has not taken yet."""
        return self.sender.queued()

    @property
    def age(self) -> float:
        """Seconds since the connection was made."""
        return self._now() - self._opened_at

    @property
    def local_address(self) -> IAddress | None:
        """Our side's address; once the connection is gone, only if asked before."""
        if self._local_address is None and self.phase is not CLOSED:
            self._local_address = address_of(self.transport, "getHost")
        return self._local_address

    @property
    def remote_address(self) -> IAddress | None:
        """The peer's address; ``None`` where the transport has none, such as a process."""
        return address_of(self.transport, "getPeer")

    @property
    def local(self) -> str:
        """Our side's address as ``HOST:PORT``; ``-`` where there is none."""
        return format_address(self.local_address)

    @property
    def remote(self) -> str:
        """The peer's address as ``HOST:PORT``; an IPv4 peer is always shown as IPv4."""
        return format_address(self.remote_address)

    @property
    def tls_version(self) -> str:
        """``TLSv1.3`` or so; ``-`` where there is no TLS of ours."""
        return str(getattr(self.transport, "tls_version", "-"))

    @property
    def tls_peer(self) -> str:
        """The common name in the peer's certificate, as it is; ``-`` where there is none."""
        return str(getattr(self.transport, "tls_peer", "-"))

    # -- beginning ------------------------------------------------------------

    def connectionMade(self) -> None:
        """Start the timers, and enter HANDSHAKE or OPEN."""
        # All that changes, from the start: CPython shares thirty names of attributes among the
        # instances. One more, or one that comes later, costs a connection 1,300 bytes.
        self.fast_bytes = self.fast_bytes_seen = self._bytes_in = self._bytes_sent = 0
        self.blocks = 0
        self.outcome = self._close_timeout = None
        self._producer_registered = False
        self.sender = sender = make_sender(self.transport)
        timers, config = self.factory.timers, self.factory.config
        self._opened_at = now = timers.now()
        self._timeouts = OpenTimeouts(config.idle_timeout, now, config.max_lifetime)
        self.due = min(now + (config.idle_timeout or math.inf), self._timeouts.expires_at)
        timers.schedule(self)
        if sender.half_closes:
            self._register_producer()
        else:
            self.transport = with_flow_control(self.transport)
            if not sender.handshakes:
                self._register_producer()
        if sender.ready:
            self.phase = OPEN
            self._transport_ready()
        else:
            self.phase = HANDSHAKE
            self._schedule_check(now + (config.handshake_timeout or math.inf))

    def handshakeCompleted(self) -> None:
        """Enter OPEN: TLS can be spoken from now on."""
        if self.phase is not HANDSHAKE or self.closing:
            return
        self.phase = OPEN
        self._record_activity()
        self._schedule_check(self._timeouts.next_check(self._now(), self.factory.timers.interval))
        self._transport_ready()

    def _register_producer(self) -> None:
        # On Twisted's own TLS only once the handshake is done: with bytes written before it,
        # the pause would stop the handshake for ever.
        if not self._producer_registered:
            self._producer_registered = True
            self.transport.registerProducer(self, True)

    # -- reading --------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Stop reading: the transport's queue is above its high-water mark."""
        self.blocks |= BACK_PRESSURE
        self._update_fast_path()
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on: the transport's queue is empty."""
        self.blocks &= ~BACK_PRESSURE
        self._record_activity()
        if self.sender.is_disconnecting():
            self.transport.unregisterProducer()  # or it would wait for us before it closes
        elif not self.closing:
            self._update_fast_path()
            self._resumed()
            self._maybe_resume_reading()

    def stopProducing(self) -> None:
        """Do nothing: :meth:`connectionLost` follows."""

    def pause(self) -> None:
        """Read nothing, not even a FIN, until :meth:`resume`. The idle time-out keeps running."""
        if not self.closing:
            self._pause_for(APPLICATION)

    def _pause_for(self, reason: int) -> None:
        self.blocks |= reason
        self._update_fast_path()
        self._check_soon()  # from now on it is our check that finds a reset
        if self.sender.half_closes or self.bytes_in:  # before, Twisted's TLS stops its handshake
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Read again, unless replies wait to be sent."""
        self.blocks &= ~APPLICATION
        self._update_fast_path()
        if not self.closing:
            self._resumed()
        self._maybe_resume_reading()

    def _drain_input(self) -> None:
        """Our FIN is due: read on until the peer's, whatever blocked."""
        self.blocks &= ~PAUSED
        self.transport.resumeProducing()

    def _maybe_resume_reading(self) -> None:
        if not self.blocks & (PAUSED | EOF) and self.phase is not CLOSED:
            self.transport.resumeProducing()

    # -- sending --------------------------------------------------------------

    def _send(self, data: bytes, defer: bool = False) -> None:
        """Send ``data`` and count it; ``defer``: in the reactor's next turn."""
        self._bytes_sent += len(data)
        if not self.sender.send(data, defer):
            self._watch_write_progress()

    def _watch_write_progress(self) -> None:
        """Note that bytes wait: from now on their progress is checked."""
        if self._timeouts.note_queued(self.bytes_out, self.sender.waiting()):
            self._check_soon()

    # -- ending ---------------------------------------------------------------

    def close_with(self, outcome: Outcome, resets: bool = False) -> None:
        """End politely: flush, FIN, then wait for the peer's FIN, bounded in time.

        What the peer sends meanwhile is read: closing a socket with unread bytes
        resets it, and that destroys what is still on its way to the peer (RFC 2525, 2.17).

        :param resets: end by a reset, once the peer has taken what was sent. This is for a
            connection on which more was due: a FIN would mean that the peer has everything.
        """
        if self.phase is HANDSHAKE:
            self.abort_with(outcome)  # nothing is due
        if self.closing:
            return
        self._record_outcome(outcome)
        # A transport whose producer is paused never closes: it resumes the producer,
        # which does nothing on a closing connection, and waits for it for ever.
        if self._producer_registered:
            self.transport.unregisterProducer()
        self._start_close_timeout(outcome, resets)
        if resets and not self.sender.unsent():
            self.abort_with(outcome)
            return
        if not self.eof_received:
            self._drain_input()
        if not resets:
            self._send_fin()

    def _send_fin(self) -> None:
        """Close our direction once the queue is empty; both, where the peer has closed its own."""
        if self.eof_received or not self.sender.half_closes:
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def _record_outcome(self, outcome: Outcome) -> None:
        self.outcome = outcome
        if self.phase is OPEN:
            self.phase = CLOSING
        self._update_fast_path()

    def _close_on_eof(self, outcome: Outcome) -> None:
        """End where the reactor is reporting the peer's FIN: at once, if nothing waits."""
        if self.outcome is None and self.sender.can_close():
            self.outcome = outcome
            self.sender.close()
        else:
            self.close_with(outcome)

    def abort_with(self, outcome: Outcome) -> None:
        """End now: what is queued is dropped, the peer sees a reset.

        If a polite end was under way and the peer had acknowledged everything and our FIN, its
        outcome is kept. Otherwise ``outcome`` replaces it. A second abort changes nothing.
        """
        if self.phase is CLOSED or (self.closing and self._close_timeout is None):
            return
        timeout, self._close_timeout = self._close_timeout, None
        if timeout is None or not timeout.fin_sent or self.sender.unsent():
            self._record_outcome(outcome)
        self.due = math.inf
        if not self.sender.abort():
            self.connectionLost(Failure(ConnectionAborted()))

    def readConnectionLost(self) -> None:
        """Handle the peer's FIN: Node's ``end`` event."""
        if self.sender.write_failed:
            self.sender.fail_connection()
            return
        self.blocks |= EOF
        if self.outcome is None:
            self._peer_eof(just_now=True)
            if self.outcome is None:
                self._record_activity()
        elif self._close_timeout is not None and self._close_timeout.resets:
            return  # the peer is to see nothing but the reset
        elif self.sender.can_close():
            self.sender.close()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Note that our FIN is sent: the kernel has taken everything before it."""
        now = self._now()
        self._schedule_check(now + self.factory.timers.interval)
        if self._close_timeout is not None:
            self._close_timeout.note_fin(now)

    def connectionLost(self, reason: Failure | None = Failure(ConnectionDone())) -> None:  # noqa: B008
        """Enter CLOSED, and decide the final outcome."""
        if self.phase is CLOSED:
            return
        opened = self.phase is not HANDSHAKE
        self.phase = CLOSED
        self.factory.timers.cancel(self)
        # After the peer has closed both directions, our close fails although all data arrived.
        complete = self.eof_received and not self.sender.queued()
        if not opened:
            self.outcome = self.outcome or Outcome.HANDSHAKE
        self.outcome = final_outcome(self.outcome, reason, complete)
        self._closed(self.outcome, reason or Failure(ConnectionDone()), opened)

    # -- activity and deadlines -----------------------------------------------

    def _now(self) -> float:
        return cast(float, self.factory.timers.now())

    def _schedule_check(self, due: float) -> None:
        """Check the deadlines at ``due``."""
        self.due = due
        self.blocks &= ~IDLE
        if self.phase is not CLOSED:
            self.factory.timers.schedule(self)
            self._update_fast_path()

    def _check_soon(self) -> None:
        """Check them within an interval: progress must be seen."""
        self._schedule_check(min(self.due, self._now() + self.factory.timers.interval))

    def _record_activity(self) -> None:
        """Note activity. What only counts :attr:`fast_bytes` need not call this."""
        timeouts = self._timeouts
        reported, now = timeouts.idle and timeouts.reported, self._now()
        timeouts.last_activity = now
        if reported:
            next_check = timeouts.next_check(now, self.factory.timers.interval)
            self._schedule_check(min(self.due, next_check))

    def activity_seen(self, now: float) -> None:
        """:attr:`fast_bytes` has changed since the last check."""
        paused = self.blocks & (APPLICATION | REPLY) > 0
        self.due = self._timeouts.activity_seen(now, self.due, self.factory.timers.interval, paused)

    def unscheduled(self) -> None:
        """Nothing is due: with an idle time-out, the next activity schedules a check."""
        if self._timeouts.idle:
            self.blocks |= IDLE
        self._update_fast_path()

    def check_deadlines(self, now: float) -> None:
        """Do what is due, and set :attr:`due` anew; called by the scheduler."""
        if self._close_timeout is not None:
            self._check_closing(now, self._close_timeout)
        elif self.closing:
            self.due = math.inf  # aborted: the reactor's next turn reports the end
        elif self.phase is HANDSHAKE:
            self.abort_with(Outcome.HANDSHAKE)
        elif self.sender.is_disconnecting():
            self.close_with(Outcome.FINISHED)
        elif self.blocks & (APPLICATION | REPLY) and self.sender.has_socket_error():
            self.abort_with(Outcome.RESET)
        else:
            self._check_open(now)

    def _check_open(self, now: float) -> None:
        timeouts, stall = self._timeouts, self.factory.config.stall_timeout
        awaiting = self.blocks & REPLY
        finished = self.eof_received and not self.factory.config.allow_half_open
        if awaiting and not finished:
            timeouts.last_activity = now  # our reply is late, not the client
        # A transport without figures reports at least that bytes wait.
        waiting = self.sender.waiting() or self.blocks & BACK_PRESSURE
        idle_seconds = timeouts.check(now, self.bytes_out, waiting)
        paused = self.blocks & (APPLICATION | REPLY) > 0
        self.due = timeouts.next_check(now, self.factory.timers.interval, paused)
        if now >= timeouts.expires_at:
            self.close_with(timeouts.expiry)
        elif stall and timeouts.stalled(now) >= stall:
            self.abort_with(Outcome.STALLED)
        elif awaiting:
            if finished and now - timeouts.last_activity >= (stall or CLOSE_STALL_TIMEOUT):
                self.abort_with(Outcome.FAILED)
        elif idle_seconds:
            self._timed_out(idle_seconds)

    def _check_closing(self, now: float, timeout: CloseTimeout) -> None:
        """Abort once the peer has neither taken anything nor finished for too long."""
        outcome = timeout.check(now, self._unsent(), self.blocks & REPLY > 0)
        self.due = min(timeout.deadline, now + self.factory.timers.interval)
        if outcome is not None:
            self.abort_with(outcome)

    def _start_close_timeout(self, outcome: Outcome, resets: bool = False) -> None:
        now, config = self._now(), self.factory.config
        stall = config.stall_timeout or CLOSE_STALL_TIMEOUT
        unsent = self._unsent()
        self._close_timeout = CloseTimeout(outcome, config.linger, now, unsent, stall, resets)
        self._schedule_check(now + self.factory.timers.interval)

    def _unsent(self) -> int:
        """Return the bytes that the peer has not taken; a reply that is awaited counts as one."""
        return self.sender.unsent() + (self.blocks & REPLY > 0)
