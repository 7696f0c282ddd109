"""The client's side: a stream to write to and to receive from."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IProducer,
    IProtocol,
    IPushProducer,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.config.schema import ClientConfig, ClientSettings
from echosvc.connection.blocks import APPLICATION, PAUSED
from echosvc.connection.connection import Connection
from echosvc.connection.outcome import Outcome
from echosvc.connection.phase import CLOSED
from echosvc.connection.scheduler import DeadlineScheduler
from echosvc.connection.sender import HIGH_WATER
from echosvc.connection.timeouts import CloseTimeout

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11


_Result = TypeVar("_Result")


# A consumer whose write() returns more than IConsumer requires.
@implementer(IConsumer)
class EchoClient(Connection):
    """A connection to a server.

    Every Deferred that it returns fires, at the latest when the connection does.
    Cancelling one only stops the waiting: what was written stays written, what has
    arrived is there for the next :meth:`receive`.

    :ivar factory: the :class:`EchoClientFactory`.
    """

    factory: EchoClientFactory

    def __init__(self) -> None:
        self._write_paused = False  # the transport has enough to send
        self._producer: IPushProducer | None = None
        self._writers: list[Deferred[None]] = []
        self._receivers: deque[Deferred[bytes]] = deque()
        self._receive_buffer: deque[bytes] = deque()
        self._buffered = 0  # bytes in it
        self._closers: list[Deferred[Outcome]] = []
        self._reason: Failure | None = None

    # -- sending --------------------------------------------------------------

    def write(self, data: bytes) -> Deferred[None]:  # type: ignore[override]
        """Send ``data`` (Node's ``write``).

        :return: fires when more may be sent (Node's ``drain``): at once, or when what
            waits has left. Fails with ``BrokenPipeError`` where nothing can be sent any
            more, and with the connection's reason where it ends before.
        """
        if self.closing:
            return fail(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
        self._record_activity()
        self._send(data)
        if not self._write_paused:
            return succeed(None)
        writer: Deferred[None] = Deferred(self._writers.remove)
        self._writers.append(writer)
        return writer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let ``producer`` write, and pause it while enough waits.

        :param streaming: must be true: an ``IPushProducer``.
        :raises RuntimeError: there is one already.
        :raises ValueError: it is a pull producer.
        """
        if not streaming:
            raise ValueError("only push producers (streaming=True) are supported")
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is registered already")
        self._producer = cast(IPushProducer, producer)
        if self.closing:
            self._producer.stopProducing()
        elif self._write_paused:
            self._producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """Let no producer write any more."""
        self._producer = None

    # -- receiving ------------------------------------------------------------

    def receive(self) -> Deferred[bytes]:
        """Return the next piece that arrives; ``b""`` at the end of the stream.

        While 64 KiB have arrived that no call has taken, nothing more is read.

        :return: fails with the connection's reason where it broke.
        """
        if self._receive_buffer:
            piece = self._receive_buffer.popleft()
            self._buffered -= len(piece)
            if self.blocks & PAUSED and self._buffered < HIGH_WATER:
                self.resume()
            return succeed(piece)
        if self.eof_received or self.phase is CLOSED:
            return self._end_of_stream()
        receiver: Deferred[bytes] = Deferred(self._receivers.remove)
        self._receivers.append(receiver)
        return receiver

    # -- ending ---------------------------------------------------------------

    @property
    def half_closes(self) -> bool:
        """Whether :meth:`finish` ends one direction only; not so on Twisted's own TLS."""
        return self.sender.half_closes

    def cork(self) -> None:
        """Hold small writes back until the FIN, with which they then share a segment.

        Not for longer than 200 ms, and only on TCP.
        """
        self.sender.cork()

    def finish(self) -> None:
        """End our direction (Node's ``end()``): flush, then FIN.

        What the server still sends can be received, except on Twisted's own TLS: there
        the whole connection ends.
        """
        self.close_with(Outcome.FINISHED)

    def abort(self) -> None:
        """End now with a reset (Node's ``resetAndDestroy()``)."""
        self.abort_with(Outcome.ABORTED)

    def when_closed(self) -> Deferred[Outcome]:
        """Fire with the outcome once the connection is gone (Node's ``close``)."""
        if self.phase is CLOSED and self.outcome is not None:
            return succeed(self.outcome)
        closer: Deferred[Outcome] = Deferred(self._closers.remove)
        self._closers.append(closer)
        return closer

    @property
    def reason(self) -> Failure | None:
        """Why the connection is gone, in Twisted's words; ``None`` while it lives."""
        return self._reason

    def idle(self, seconds: float) -> None:
        """Nothing happened for ``seconds``, the idle time-out (Node's ``timeout``)."""

    # -- life -----------------------------------------------------------------

    def _transport_ready(self) -> None:
        self.sender.set_socket_options(self.factory.config.nagle, self.factory.config.keep_alive)
        self._register_producer()

    def pauseProducing(self) -> None:
        """Pause writing, not reading.

        An echo server stops reading while its replies wait. If both ends did so, both would wait
        for ever.
        """
        self._write_paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """Write again: the transport's queue is empty."""
        self._write_paused = False
        self._record_activity()
        if self.sender.is_disconnecting():
            self.transport.unregisterProducer()
        for writer in _drain_waiters(self._writers):
            writer.callback(None)
        if self._producer is not None and not self.closing:
            self._producer.resumeProducing()

    def writeConnectionLost(self) -> None:
        """Note that our FIN is sent, and fire what waits in :meth:`write`."""
        super().writeConnectionLost()
        for writer in _drain_waiters(self._writers):
            writer.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """Pass on what came, or keep it for the next :meth:`receive`."""
        self._record_activity()
        if self._close_timeout is not None:
            self._close_timeout.progress(self._timeouts.last_activity)
        self._bytes_in += len(data)
        if self._receivers:
            self._receivers.popleft().callback(data)
            return
        self._receive_buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= HIGH_WATER:
            self._pause_for(APPLICATION)

    def _peer_eof(self, just_now: bool = False) -> None:  # noqa: ARG002
        if not self.factory.config.allow_half_open:
            self.close_with(Outcome.FINISHED)
        self._finish_receivers()

    def _drain_input(self) -> None:
        """Our FIN goes out, but what comes is still wanted, at the application's pace."""

    def _check_closing(self, now: float, timeout: CloseTimeout) -> None:
        if self.blocks & PAUSED:
            timeout.progress(now)  # we do not read, so the server waits
        super()._check_closing(now, timeout)

    def _timed_out(self, seconds: float) -> None:
        self.idle(seconds)

    def _closed(self, outcome: Outcome, reason: Failure, opened: bool) -> None:  # noqa: ARG002
        if outcome is Outcome.FINISHED and self.sender.unclean_eof:
            outcome = self.outcome = Outcome.TRUNCATED
        self._reason = reason
        if self._producer is not None:
            self._producer.stopProducing()
        for writer in _drain_waiters(self._writers):
            writer.errback(reason)
        self._finish_receivers()
        for closer in _drain_waiters(self._closers):
            closer.callback(outcome)

    def _finish_receivers(self) -> None:
        for receiver in _drain_waiters(self._receivers):
            self._end_of_stream().chainDeferred(receiver)

    def _end_of_stream(self) -> Deferred[bytes]:
        if self.eof_received or self._reason is None or self._reason.check(ConnectionDone):
            return succeed(b"")
        return fail(self._reason)


def _drain_waiters(
    waiting: list[Deferred[_Result]] | deque[Deferred[_Result]],
) -> Iterator[Deferred[_Result]]:
    """Remove those that wait now, one by one: each may cancel another, or wait anew."""
    for each in tuple(waiting):
        if each in waiting:
            waiting.remove(each)
            yield each


class EchoClientFactory(ClientFactory):
    """Builds clients: ``endpoint.connect(EchoClientFactory())``.

    :param clock: what the deadlines run on; ``None`` = the global reactor.
    :param settings: the fields of :class:`~echosvc.config.schema.ClientConfig`.
    :raises ConfigError: a wrong value.
    :ivar protocol: the class of the connections; a subclass of :class:`EchoClient`.
    """

    noisy = False
    protocol: type[EchoClient] = EchoClient  # type: ignore[assignment]

    def __init__(
        self, *, clock: IReactorTime | None = None, **settings: Unpack[ClientSettings]
    ) -> None:
        self.config = ClientConfig(**settings)
        idle_timeout = self.config.idle_timeout
        self.timers: DeadlineScheduler[EchoClient] = DeadlineScheduler(
            clock, [idle_timeout, self.config.linger], idle_timeout
        )


def connect(
    endpoint: IStreamClientEndpoint,
    *,
    clock: IReactorTime | None = None,
    **settings: Unpack[ClientSettings],
) -> Deferred[EchoClient]:
    """Connect to a server (Node's ``net.connect``).

    :param endpoint: where, e.g. ``HostnameEndpoint(reactor, "localhost", 8107)``.
    :param settings: the fields of :class:`~echosvc.config.schema.ClientConfig`.
    :return: fires with the client; fails as the endpoint does. Cancelling it ends the
        attempt.
    """

    def connected(protocol: IProtocol) -> EchoClient:
        return cast(EchoClient, protocol)

    attempt = endpoint.connect(EchoClientFactory(clock=clock, **settings))
    return attempt.addCallback(connected)
