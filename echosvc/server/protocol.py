"""The server's side of one connection: what is read is answered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure

from echosvc._log import log
from echosvc.connection.flow import HIGH_WATER
from echosvc.connection.outcome import Outcome
from echosvc.net.addresses import format_address
from echosvc.net.errors import TLSError
from echosvc.server.answering import Answering, LaterReply

if TYPE_CHECKING:
    from echosvc.server.factory import EchoFactory


class EchoProtocol(Answering):
    """One client's connection: every message is answered with prefix + message.

    Everything read before our own FIN is answered, in order, before the connection
    ends, however the client ends it. While replies wait, nothing more is read: never
    more than 64 KiB, one message and one prefix are queued.

    Override :meth:`reply` to answer something else, :meth:`opened`, :meth:`peer_ended`,
    :meth:`idle` or :meth:`ended` to hear of the rest. An exception in one of them, of
    whatever class, is logged and ends this connection, once the client has taken what was
    sent: by a reset where a reply that was due is missing.

    :ivar number: ordinal of the connection in its factory, from 1.
    :ivar messages: messages read so far.
    """

    factory: EchoFactory
    number = 0
    _half_open_until = math.inf
    _end_told = False  # the application knows of the peer's FIN

    # -- for subclasses and applications --------------------------------------

    def reply(self, message: bytes) -> bytes | LaterReply | None:
        """Return the answer to one message; ``None`` for no answer.

        A Deferred or a coroutine stands for an answer that comes later. The messages behind
        it wait for it, so that replies keep their order, and reading stops. It is cancelled
        where the connection is lost before.

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

    @classmethod
    def echoes(cls) -> bool:
        """Whether the answer to a message is the prefix and the message."""
        return cls.reply is EchoProtocol.reply and cls.prefix is EchoProtocol.prefix

    @property
    def prefix(self) -> bytes:
        """What stands before the reply number :attr:`replies`."""
        constant = self._prefix.constant
        return self._prefix.render(self.replies) if constant is None else constant

    def write(self, data: bytes) -> None:
        """Send ``data`` as it is, after all that was sent before.

        Ignored once the connection is :attr:`closing`.
        """
        if self._batch is not None:
            self._batch.append(data)
        elif not (self.closing or self._last):
            self._touch()
            self._send(data)

    def finish(self) -> None:
        """End politely (Node's ``end()``): flush, FIN, wait for the peer's, bounded."""
        self.end_with(Outcome.CLOSED)

    def abort(self) -> None:
        """End now with a reset (Node's ``resetAndDestroy()``)."""
        self.abort_with(Outcome.ABORTED)

    def connectionMade(self) -> None:
        """Be counted, then begin."""
        self._end_told = False
        self.number = self.factory.enter(self)
        super().connectionMade()

    def _started(self) -> None:
        factory, sender = self.factory, self._sender
        config = factory.config
        if not sender.tuned:
            sender.tune(config.nagle, config.keep_alive, config.stall_timeout)
        if config.encoding == "utf-8":
            sender.limit_reads(HIGH_WATER // 3)  # U+FFFD is three bytes for one
        self._prefix = prefix = factory.bound(factory.prefix, self._facts)
        if factory.echoes(type(self)) and sender.half_closes:
            self._head = prefix.constant
            self._constant = prefix.constant or b""
        if self._head is None:
            self._take_apart()
        if factory.report.connections:
            local = format_address(self._host())
            factory.report.connected(local, self.remote, self.tls_version, self.tls_peer)
        if config.pause_on_connect:
            self.pause()
        if factory.greeting is not None:
            self._send(factory.bound(factory.greeting, self._facts).render(0))
        try:
            self.opened()
        except BaseException:
            self._failed()  # what the client has sent already will not be answered
        self._choose_way()

    def _facts(self) -> dict[str, str]:
        """Return what a template may say of this connection."""
        facts = {"local": format_address(self._host()), "peer": self.remote}
        facts |= {"tls_version": self.tls_version, "tls_peer": self.tls_peer}
        return facts | {"connection": str(self.number)}

    def _choose_way(self) -> None:
        """Answer the short way, unless the application has given this connection its own one."""
        own = getattr(self.reply, "__func__", None) is not EchoProtocol.reply
        if own and self._head is not None:
            self._take_apart()
        self._changed()

    def _ended_by_peer(self, at_fin: bool = False) -> None:
        """Answer the rest, then end; unless our side is to stay open."""
        if self._blocked or self._held or self._end_told or self.outcome is not None:
            return  # with messages left: we come back when they may be answered
        if self._batch is not None:  # within reply(): the same
            return
        self._end_told = True
        if self._head is None:  # a plain echo holds nothing
            self._in_batch(self._collect_rest)
        if self._awaited is not None:  # the reply to the last message
            self._end_told = False
            return
        try:
            self.peer_ended()
        except BaseException:
            self._failed(answered=True)
        if self.factory.config.allow_half_open:
            self._stay_half_open()
        elif at_fin:
            self._end_at_fin(self._word_of_peer())
        else:
            self.end_with(self._word_of_peer())

    def _word_of_peer(self) -> Outcome:
        return Outcome.TRUNCATED if self._sender.cut else Outcome.FINISHED

    def _failed(self, answered: bool = False) -> None:
        """The application's code has raised something: that ends this connection only.

        Each hook has its own ``try``: a function that calls them is 0.25 of a connection's 35 µs.

        :param answered: everything that was read.
        """
        log.failure("Server Error: the application failed")
        if answered:
            self.end_with(Outcome.FAILED)
        else:
            self.reset_with(Outcome.FAILED)

    def _stay_half_open(self) -> None:
        limit = self.factory.config.half_open_timeout
        if limit is not None and not self.closing:
            self._half_open_until = self._now() + limit
            self._look_at(min(self.due, self._half_open_until))

    def _tick_open(self, now: float) -> None:
        if now >= self._half_open_until:
            self.end_with(self._word_of_peer())
            return
        super()._tick_open(now)
        if not self.closing:
            self.due = min(self.due, self._half_open_until)

    def _timed_out(self, seconds: float) -> None:
        if self._report.connections:
            self._report.timed_out(self.remote, seconds)
        action = self.factory.config.idle_action
        if action == "close":
            self.end_with(Outcome.TIMED_OUT)
        elif action == "reset":
            self.abort_with(Outcome.TIMED_OUT)
        try:
            self.idle(seconds)
        except BaseException:
            self._failed(answered=not (self._held or self._blocked))

    def _end_untold(self) -> Outcome:
        """The word where only the end was told, not the peer's FIN: Twisted's own TLS."""
        return Outcome.STALLED if self._framer.pending else Outcome.FINISHED

    def _over(self, outcome: Outcome, reason: Failure) -> None:
        if outcome is Outcome.FINISHED and not self.peer_finished:
            outcome = self.outcome = self._end_untold()
        self.factory.leave(self)
        if self._awaited is not None:
            self._drop_awaited()
        if self.factory.report.connections:
            if outcome is Outcome.RESET or (self._waiting and reason.check(TLSError)):
                self._report.socket_error(self.remote, reason.getErrorMessage())
            elif outcome is Outcome.HANDSHAKE and reason.check(ConnectionAborted):
                limit = f"TLS: no handshake within {self._config.handshake_timeout:g} s"
                self._report.socket_error(self.remote, limit)
            remaining = self.factory.count
            self._report.disconnected(
                self.remote, outcome, self.bytes_in, self.bytes_out, self.age, remaining
            )
        if not self._waiting:
            try:
                self.ended(outcome)
            except BaseException:
                log.failure("Server Error: the application failed")
        self.factory.tell_idle()
