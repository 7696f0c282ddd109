"""The two connections of a relay that belong together, and what is done to them.

A :class:`RelayPair` passes what comes to the schedule of its faults, and does what that asks for. A
connection is read while the queue of its direction is not full. What is due leaves while the
receiver's transport takes it.

An end by a fault is what it is called. A close sends FIN alone first. The socket is closed when the
peer has the FIN and all before it; until then what still comes is read and dropped. The kernel
answers the close of a socket with unread bytes by a reset. A reset, too, waits until the peer has
the bytes before it: it would drop them. Both wait for a time only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPushProducer,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.connection.sender import Sender, make_sender
from echosvc.faults.engine import ConnectionFaults, Direction
from echosvc.faults.observer import RelayObserver
from echosvc.faults.stage import CARRIES, Action, Item
from echosvc.net.errors import describe_error
from echosvc.net.proxy_endpoint import PROXIED

#: Seconds that the peer may take to confirm the bytes before an end, and between two looks.
DELIVERY, DELIVERY_INTERVAL = 1.0, 0.002
#: Seconds after that for what a peer does not take.
LAST_WAIT = 30.0
#: Seconds between two looks whether a connection was reset that is not read.
PROBE_INTERVAL = 0.25


@implementer(IHalfCloseableProtocol, IPushProducer)
class RelaySide(Protocol):
    """One of the two connections of a pair.

    :ivar direction: what it sends us.
    :ivar is_made: there is a transport.
    :ivar is_ready: bytes can be exchanged.
    :ivar is_lost: the connection has ended.
    :ivar eof_received: its FIN has come.
    :ivar fin_sent: our FIN was sent, or is behind what the transport holds.
    :ivar is_blocked: the transport takes nothing more now.
    """

    sender: Sender

    def __init__(self, pair: RelayPair, direction: Direction) -> None:
        self._pair, self.direction = pair, direction
        self.is_made = self.is_ready = self.is_lost = self.eof_received = self.fin_sent = False
        self.is_blocked = self._is_paused = self._is_closing = self._is_aborting = False
        self._fin_flushed = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self.is_made and not self.is_lost

    # -- events ---------------------------------------------------------------

    def connectionMade(self) -> None:
        """Prepare the transport, and read nothing for now."""
        transport: Any = self.transport
        self.is_made = True
        self.sender = make_sender(transport)
        self.sender.set_socket_options(nagle=False, keep_alive=0)
        self.sender.limit_reads(self._pair.faults.read_size)
        transport.registerProducer(self, True)
        self.pause()
        if self.sender.ready:
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        """Begin: where there is TLS, its handshake is complete."""
        if self.is_open:
            self.is_ready = True
            self._pair.connected(self)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on."""
        self._pair.received(self, data)

    def readConnectionLost(self) -> None:
        """Pass a FIN on."""
        self.eof_received = True
        self._pair.ended(self)

    def writeConnectionLost(self) -> None:
        """Note that our own FIN was sent."""
        self._fin_flushed = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end."""
        self.is_lost = True
        self._pair.lost(self, clean=bool(reason.check(ConnectionDone)))

    def forget_transport(self) -> None:
        """Break the circle of references, which would keep descriptors until it is collected."""
        self.transport = None
        self.__dict__.pop("sender", None)

    # -- reading --------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Whether there is a connection that is not read."""
        return self._is_paused and self.is_open and not self.eof_received

    def probe(self) -> None:
        """End a connection that was reset while it is not read."""
        if self.is_paused and self.sender.has_socket_error():
            self.sender.fail_connection()

    def pause(self) -> None:
        """Read nothing."""
        if not self._is_paused and not self.eof_received and self.is_open:
            self._is_paused = True
            transport: Any = self.transport
            transport.pauseProducing()

    def resume(self) -> None:
        """Read."""
        if self._is_paused and not self.eof_received and self.is_open:
            self._is_paused = False
            transport: Any = self.transport
            transport.resumeProducing()

    # -- back-pressure of the transport ---------------------------------------

    def pauseProducing(self) -> None:
        """Send nothing more for now."""
        self.is_blocked = True

    def resumeProducing(self) -> None:
        """Send again."""
        self.is_blocked = False
        self._pair.pump()

    def stopProducing(self) -> None:
        """Do nothing: ``connectionLost`` handles the end."""

    # -- sending --------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes, unless it is too late."""
        if self.is_open and not self.fin_sent:
            self.sender.send(data)

    def finish(self) -> None:
        """Send FIN; close, once the peer's has come too."""
        if not self.is_open or self.fin_sent:
            return
        self.fin_sent = True
        transport: Any = self.transport
        transport.unregisterProducer()
        if self.eof_received or not self.sender.half_closes:
            self._is_closing = True
            transport.loseConnection()
        else:
            transport.loseWriteConnection()

    @property
    def is_delivered(self) -> bool:
        """Whether the peer has confirmed everything, our FIN included."""
        waits_for_fin = self.fin_sent and self.sender.half_closes and not self._fin_flushed
        return not waits_for_fin and not self.sender.unsent()

    def close(self) -> None:
        """Close both directions: flush what the transport holds, then FIN."""
        if self.is_open and not (self._is_closing or self._is_aborting):
            self._is_closing = True
            transport: Any = self.transport
            transport.unregisterProducer()
            transport.loseConnection()

    def abort(self) -> None:
        """Reset, unless the transport closes in its next turn anyway."""
        if self.is_open and not (self._is_aborting or (self._is_closing and self._fin_flushed)):
            self._is_aborting = True
            self.sender.abort()


class RelayPair:
    """The connection of a client, and the one to its server.

    :param reactor: the clock.
    :param target: where the server is.
    :param faults: what is done to them.
    :param observer: notified of what happens.
    :param ended: called once both have ended.
    :ivar client: the client's connection.
    :ivar server: the connection to the server.
    """

    def __init__(
        self,
        reactor: Any,
        target: IStreamClientEndpoint,
        faults: ConnectionFaults,
        observer: RelayObserver,
        ended: Callable[[RelayPair], None],
    ) -> None:
        self._reactor, self._target, self._ended = reactor, target, ended
        self.faults, self._observer = faults, observer
        self.client, self.server = RelaySide(self, faults.up), RelaySide(self, faults.down)
        self._timer: Any = None
        self._end_timers: list[Any] = []
        self._is_over = self._is_silent = False
        self._connecting: Deferred[Any] | None = None

    def connected(self, side: RelaySide) -> None:
        """Connect to the server, or do to the client what is done in place of that."""
        if side is self.server:
            self._connecting = None
            if self._is_over:  # the client has gone meanwhile
                side.abort()
        elif self.faults.instead:
            self._do(_INSTEAD[self.faults.instead])
        else:
            self._connect()
        self.pump()

    def _connect(self) -> None:
        client: Any = self.client.transport
        token = PROXIED.set((client.getPeer(), client.getHost()))
        try:
            connecting = self._target.connect(_ServerFactory(self.server))
        finally:
            PROXIED.reset(token)
        if not self.server.is_ready:
            self._connecting = connecting
        connecting.addErrback(self._connect_failed)

    def _connect_failed(self, reason: Failure) -> None:
        """Reset the client: as from a server that refuses."""
        self._connecting = None
        if not reason.check(CancelledError, ConnectingCancelledError):
            error = cast(BaseException, reason.value)
            self._observer.failed(self.faults.number, describe_error(error))
            self._reset()

    # -- what comes -----------------------------------------------------------

    def received(self, side: RelaySide, data: bytes) -> None:
        """Take bytes that came."""
        self._observer.received(self.faults.number, side.direction.name, data)
        if not self._is_over:
            self.faults.received(side.direction, data, self._now())
            self.pump()

    def ended(self, side: RelaySide) -> None:
        """Take the FIN of one side; behind our own it is the end."""
        self._observer.finished(self.faults.number, side.direction.name)
        if not self._is_over:
            self.faults.ended(side.direction, self._now())
            self.pump()
        if self._is_silent and self._both_ended():
            self._close()
        elif side.fin_sent:
            side.close()

    def lost(self, side: RelaySide, clean: bool) -> None:
        """Take the end of one connection: by itself, or by a reset."""
        other = self.server if side is self.client else self.client
        if not self._is_over:
            if not clean:
                self._observer.broke(self.faults.number, side.direction.name)
                self.faults.broke(side.direction, self._now())
            self.pump()
        if side is self.client and self._connecting is not None:
            self._is_over = True
            self._connecting.cancel()
        if not other.is_open:
            self._finish()
        elif self._is_silent and self._both_ended():
            other.close()

    # -- what leaves ----------------------------------------------------------

    def pump(self) -> None:
        """Do what is due, and arrange what is next."""
        now = self._now()
        for side in (self.client, self.server):
            side.probe()
        if not self._is_over and (action := self.faults.take_timer(now)) is not None:
            self._do(action)
        for sender, receiver in self._ways():
            while not self._is_over and self._takes(receiver):
                item = sender.direction.take(now)
                if item is None:
                    break
                self._leave(receiver, item)
        self._close_forsaken()
        self._control_reading()
        self._schedule(now)

    def _close_forsaken(self) -> None:
        """Close a connection that has ended its stream, and whose other side is gone."""
        for sender, receiver in self._ways():
            if sender.is_lost and receiver.eof_received and not sender.direction.queued:
                receiver.close()

    def _ways(self) -> tuple[tuple[RelaySide, RelaySide], tuple[RelaySide, RelaySide]]:
        return (self.client, self.server), (self.server, self.client)

    def _takes(self, receiver: RelaySide) -> bool:
        """Return whether something may leave: what is for one that has ended is dropped."""
        return receiver.is_lost or (receiver.is_ready and not receiver.is_blocked)

    def _leave(self, receiver: RelaySide, item: Item) -> None:
        if item.action in CARRIES:
            receiver.send(item.data)
        elif item.action is Action.FIN:
            receiver.finish()
        elif item.action is Action.BREAK:
            self._reset()
        else:
            self._do(item.action)

    def _control_reading(self) -> None:
        """Read what can be passed on; where all is over, read to drop it."""
        for sender, receiver in self._ways():
            waits = not receiver.is_ready or sender.direction.is_full
            if waits and not self._is_over:
                sender.pause()
            else:
                sender.resume()

    def _schedule(self, now: float) -> None:
        """Arrange the next turn: at what is due next of what is not blocked."""
        due = math.inf if self._is_over else self.faults.timer_due
        for sender, receiver in self._ways():
            if not self._is_over and self._takes(receiver):
                due = min(due, sender.direction.due)
            if sender.is_paused:
                due = min(due, now + PROBE_INTERVAL)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if due < math.inf:
            self._timer = self._reactor.callLater(max(0.0, due - now), self.pump)

    def _now(self) -> float:
        return float(self._reactor.seconds())

    # -- ends -----------------------------------------------------------------

    def _do(self, action: Action) -> None:
        """Do to both connections what a fault asks for."""
        if action is Action.CLOSE:
            self._close()
        elif action is Action.RESET:
            self._reset()
        else:
            self._stop()
            self._is_silent = True

    def _stop(self) -> None:
        """Pass nothing on any more."""
        self._is_over = True
        self.faults.up.clear()
        self.faults.down.clear()
        if self._connecting is not None:
            self._connecting.cancel()

    def _close(self) -> None:
        """Send FIN to both; close each once it has that."""
        self._stop()
        for side in (self.client, self.server):
            side.finish()
            self._when_delivered(side, side.close)
        self._later(DELIVERY + LAST_WAIT, self.abort)

    def _later(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        """Make a call, unless both have ended by then."""
        timers = [each for each in self._end_timers if each.active()]
        self._end_timers = [*timers, self._reactor.callLater(seconds, call, *arguments)]

    def _both_ended(self) -> bool:
        """Return whether no peer is left that would notice an end."""
        sides = (self.client, self.server)
        return all(not each.is_open or each.eof_received for each in sides)

    def _reset(self) -> None:
        """Reset both, each as soon as the bytes before it are delivered."""
        self._stop()
        for side in (self.client, self.server):
            self._when_delivered(side, side.abort)

    def _when_delivered(self, side: RelaySide, end: Callable[[], None]) -> None:
        self._wait_for_delivery(side, end, self._now() + DELIVERY)

    def _wait_for_delivery(self, side: RelaySide, end: Callable[[], None], deadline: float) -> None:
        if not side.is_open:
            return
        if side.is_delivered or self._now() >= deadline:
            end()
        else:
            self._later(DELIVERY_INTERVAL, self._wait_for_delivery, side, end, deadline)

    def abort(self) -> None:
        """Reset both at once."""
        self._stop()
        for side in (self.client, self.server):
            side.abort()

    def _finish(self) -> None:
        """Note that both have ended."""
        self._is_over = True
        for side in (self.client, self.server):
            side.forget_transport()
        for timer in (self._timer, *self._end_timers):
            if timer is not None and timer.active():
                timer.cancel()
        self._ended(self)


class _ServerFactory(Factory):
    """Makes the connection to a server."""

    noisy = False

    def __init__(self, side: RelaySide) -> None:
        self._side = side

    def buildProtocol(self, addr: object) -> RelaySide:  # noqa: ARG002
        """Return the pair's connection to the server."""
        return self._side


_INSTEAD = {"close": Action.CLOSE, "reset": Action.RESET, "silence": Action.SILENCE}
