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
from typing import cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IPushProducer,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.deadlines import CloseClock, IdleClock
from echosvc.flow import Sender, Transport
from echosvc.report import Outcome, final_outcome, format_address
from echosvc.sweep import Sweep


@implementer(IHalfCloseableProtocol, IPushProducer)
class Connection(Protocol):
    """A stream with back-pressure and lossless ends.

    A plain ``Protocol`` loses what it has queued when data and FIN come together; one
    that provides ``IHalfCloseableProtocol`` is told of the FIN and may flush. It is a
    push producer of its own transport: told to pause, it stops reading.

    :ivar local_address: our side's address; ``remote_address``: the peer's.
    :ivar bytes_in: bytes read, those that still wait for a whole message included.
    :ivar bytes_out: bytes accepted for sending, queued ones included.
    :ivar peer_finished: the peer has sent its FIN.
    :ivar outcome: how it ended; ``None`` while it is open.
    """

    bytes_in = 0
    bytes_out = 0
    peer_finished = False
    outcome: Outcome | None = None
    due = math.inf

    _sweep: Sweep
    _linger = 0.0
    _idle_timeout = 0.0
    _handshake_timeout = 0.0

    _waiting = False  # for the handshake
    _gone = False
    _registered = False
    _blocked = False  # the transport has enough waiting
    _held = False  # the application wants no more
    _close_clock: CloseClock | None = None

    # -- what a subclass does -------------------------------------------------

    def _started(self) -> None:
        """Bytes can be exchanged; nothing was read yet."""

    def _go_on(self) -> None:
        """Neither the transport nor the application holds us up any more, maybe."""

    def _ended_by_peer(self) -> None:
        """The peer's FIN came, and everything before it was read."""

    def _timed_out(self, seconds: float) -> None:
        """Nothing happened for ``seconds``, the idle time-out."""

    def _over(self, outcome: Outcome, reason: Failure) -> None:
        """The connection is gone."""

    # -- facts ----------------------------------------------------------------

    @property
    def local(self) -> str:
        """Our side's address as ``HOST:PORT``."""
        return format_address(self.local_address)

    @property
    def remote(self) -> str:
        """The peer's address as ``HOST:PORT``; an IPv4 peer is always shown as IPv4."""
        return format_address(self.remote_address)

    @property
    def queued(self) -> int:
        """Bytes accepted for sending that the kernel has not taken yet."""
        return self._sender.queued()

    @property
    def closing(self) -> bool:
        """Whether our side has begun to end; nothing more can be sent."""
        return self.outcome is not None or self._gone

    @property
    def age(self) -> float:
        """Seconds since the connection was made."""
        return self._sweep.now() - self._opened_at

    # -- from the reactor -----------------------------------------------------

    def connectionMade(self) -> None:
        """Begin."""
        transport = cast(ITransport, self.transport)
        self._link = cast(Transport, transport)
        self._sender = Sender(self._link)
        self.local_address: IAddress = transport.getHost()
        self.remote_address: IAddress = transport.getPeer()
        self._opened_at = now = self._sweep.now()
        self._idle_clock = IdleClock(self._idle_timeout, now)
        self.due = self._idle_clock.next_look(now, self._sweep.interval)
        self._sweep.watch(self)
        if self._sender.half_closes:
            self._register()
        if self._sender.layer is None or self._sender.layer.ready:
            self._started()
        else:
            self._wait(now)

    def _wait(self, now: float) -> None:
        self._waiting = True
        self.due = now + self._handshake_timeout if self._handshake_timeout else math.inf

    def handshakeCompleted(self) -> None:
        """TLS can be spoken from now on."""
        if not self._waiting:
            return
        self._waiting = False
        now = self._idle_clock.active = self._sweep.now()
        self.due = self._idle_clock.next_look(now, self._sweep.interval)
        self._started()

    def readConnectionLost(self) -> None:
        """The peer's FIN came: Node's ``end`` event."""
        if self._sender.broke:
            self._sender.lose()
            return
        self.peer_finished = True
        self._idle_clock.active = self._sweep.now()
        if self.closing:
            self._link.loseConnection()
        else:
            self._ended_by_peer()

    def writeConnectionLost(self) -> None:
        """Our FIN is out, everything before it was taken by the kernel."""
        now = self._sweep.now()
        self.due = now + self._sweep.interval
        if self._close_clock is not None:
            self._close_clock.fin(now)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """Record how it ended."""
        if self._gone:
            return
        self._gone = True
        self._sweep.forget(self)
        # A peer that has closed both directions looks broken where we close after it.
        complete = self.peer_finished and not self._sender.queued()
        if self._waiting:
            self.outcome = self.outcome or Outcome.HANDSHAKE
        self.outcome = final_outcome(self.outcome, reason, complete)
        self._over(self.outcome, reason)

    def pauseProducing(self) -> None:
        """Stop reading: the transport's queue is above its high-water mark."""
        self._blocked = True
        self._link.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on: the transport's queue is empty."""
        self._blocked = False
        self._idle_clock.active = self._sweep.now()
        if self._sender.ending():
            self._link.unregisterProducer()  # or it would wait for us before it closes
        elif not self.closing:
            self._go_on()
            self._read_on()

    def stopProducing(self) -> None:
        """Nothing: the end is told by :meth:`connectionLost`."""

    # -- reading --------------------------------------------------------------

    def pause(self) -> None:
        """Read nothing, not even the peer's FIN, until :meth:`resume`. Idleness counts on."""
        if not self.closing:
            self._hold()

    def _hold(self) -> None:
        self._held = True
        self.due = 0.0  # from now on it is our look that finds a reset
        if self._sender.half_closes or self.bytes_in:  # or it stops Twisted's handshake
            self._link.pauseProducing()

    def resume(self) -> None:
        """Read again, unless replies wait to be sent."""
        self._held = False
        if not self.closing:
            self._go_on()
        self._read_on()

    def _read_to_end(self) -> None:
        """Our FIN is due: read on until the peer's, whatever held us up."""
        self._blocked = self._held = False
        self._link.resumeProducing()

    def _read_on(self) -> None:
        if not (self._blocked or self._held or self.peer_finished or self._gone):
            self._link.resumeProducing()

    def _register(self) -> None:
        """Ask for back-pressure. On Twisted's own TLS, only once the handshake is done:

        with bytes written before it, the pause would stop the handshake for ever.
        """
        if not self._registered:
            self._registered = True
            self._link.registerProducer(self, True)

    # -- sending --------------------------------------------------------------

    def _send(self, data: bytes, later: bool = False) -> None:
        """Send ``data`` and count it; ``later``: in the reactor's next turn."""
        self.bytes_out += len(data)
        if not self._sender.send(data, later) and self._idle_clock.queue(
            self.bytes_out, self._sender.waiting()
        ):
            self.due = 0.0  # look at the next opportunity whether it gets on

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
        # A transport whose producer is paused never closes: it resumes the producer,
        # which does nothing on a closing connection, and waits for it for ever.
        if self._registered:
            self._link.unregisterProducer()
        self._close_slowly(outcome)
        if not self.peer_finished:
            self._read_to_end()
        if self.peer_finished or not self._sender.half_closes:
            self._link.loseConnection()
        else:
            self._link.loseWriteConnection()

    def _close_slowly(self, outcome: Outcome) -> None:
        """From now on the end has a deadline."""
        now = self._sweep.now()
        self._close_clock = CloseClock(outcome, self._linger, now, self._sender.unsent())
        self.due = now + self._sweep.interval

    def abort_with(self, outcome: Outcome) -> None:
        """End now: what is queued is dropped, the peer sees a reset.

        A close that is under way keeps its own word.
        """
        if self._gone:
            return
        self.outcome = self.outcome or outcome
        self.due = math.inf
        self._link.abortConnection()

    # -- time -----------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Look at the deadlines; called by the sweep."""
        if self._close_clock is not None:
            self._tick_closing(now, self._close_clock)
        elif self.closing:
            self.due = math.inf  # aborted: the reactor's next turn tells us
        elif self._waiting:
            self.abort_with(Outcome.HANDSHAKE)
        elif self._sender.ending():
            self.end_with(Outcome.FINISHED)
        elif self._held and self._sender.broken():
            self.abort_with(Outcome.RESET)
        else:
            self._tick_open(now)

    def _tick_open(self, now: float) -> None:
        idle = self._idle_clock.look(now, self.bytes_out, self._sender.waiting())
        self.due = self._idle_clock.next_look(now, self._sweep.interval, closely=self._held)
        if idle:
            self._timed_out(idle)

    def _tick_closing(self, now: float, clock: CloseClock) -> None:
        """Give up once the peer has neither taken anything nor finished for too long."""
        deadline = clock.deadline(now, self._sender.unsent())
        self.due = min(deadline, now + self._sweep.interval)
        if now >= deadline:
            if clock.stalled:
                self.outcome = Outcome.STALLED
            self.abort_with(clock.outcome)
