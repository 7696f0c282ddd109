"""Two short messages on a new connection: what comes before their replies says who answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from echosvc._text import quote
from echosvc.net.errors import describe_error, with_report
from echosvc.net.socket_options import read_tcp_info, take_error
from echosvc.probe.engine.connection import frame_message
from echosvc.probe.engine.findings import Failed, Unanswered
from echosvc.probe.engine.prefix_detection import (
    SECOND_TOKEN,
    TOKEN,
    AnsweredOnce,
    describe_no_answer,
    describe_one_answer,
)
from echosvc.probe.engine.silence import explain_by_kernel
from echosvc.probe.engine.tcp_info import parse_tcp_info
from echosvc.probe.load.channel import Channel, name_error
from echosvc.probe.load.server_form import first_message

#: Longest greeting and prefix that are waited for, bytes.
_MAX_BEFORE_TOKEN = 65536
_Failed = TypeVar("_Failed", bound=Failed)


class FirstExchange:
    """Two short messages on a new connection, one after the other.

    It is the owner of the channel until they are answered.

    :param reactor: for the time-out.
    :param framing: the server's.
    :param timeout: seconds that both may take together.
    :param secure: TLS is spoken already.
    :param now: the clock.
    :ivar asked: when the first one was sent.
    :ivar answered: when it was answered.
    """

    def __init__(
        self,
        reactor: Any,
        channel: Channel,
        framing: str,
        timeout: float,
        secure: bool,
        now: Callable[[], float],
    ) -> None:
        self._reactor, self._channel, self._framing = reactor, channel, framing
        self._timeout, self._secure, self._now = timeout, secure, now
        self._came, self._due, self._end = b"", b"", ""
        self._first: bytes | None = None
        self._waiting: Deferred[bytes] = Deferred()
        self.asked = self.answered = 0.0
        channel.owner = self

    async def run(self) -> tuple[bytes, bytes]:
        """Return what came before the two replies.

        :raises Failed: the connection has ended, nothing came in time, or too much.
        """
        timer = self._reactor.callLater(self._timeout, self._note_end, "silence")
        try:
            self.asked = self._now()
            self._first = await self._ask(TOKEN)
            self.answered = self._now()
            return self._first, await self._ask(SECOND_TOKEN)
        finally:
            if timer.active():
                timer.cancel()

    async def _ask(self, token: bytes) -> bytes:
        self._due = first_message(self._framing, token)
        self._channel.send(frame_message(self._framing, self._due))
        self._waiting = Deferred()
        self._settle()
        return await self._waiting

    def _settle(self) -> None:
        """Let the message go on that waits, if it is answered, or never will be."""
        if self._waiting.called:
            return
        if self._came.endswith(self._due):
            before, self._came = self._came[: -len(self._due)], b""
            self._waiting.callback(before)
        elif self._end:
            self._waiting.errback(self._explain())
        elif len(self._came) > _MAX_BEFORE_TOKEN:
            words = f"{len(self._came)} bytes came, and no answer to {quote(self._due)} in them"
            self._waiting.errback(Failed(words))

    def _note_end(self, reason: str) -> None:
        self._end = self._end or reason
        self._settle()

    def _explain(self) -> Failed:
        """Return why a message was not answered."""
        reason, came, seconds = self._end, self._came, self._timeout
        if self._first is not None:
            first = self._first + first_message(self._framing, TOKEN)
            words = describe_one_answer(reason, first, came, seconds)
            return self._explained(AnsweredOnce(*words, end=reason))
        words = describe_no_answer(reason, came, self._due, seconds, 0, self._secure)
        return self._explained(Unanswered(*words, reason, came, 0.0))

    def _explained(self, failed: _Failed) -> _Failed:
        """Return a failure with what the kernel knows."""
        handle = self._channel.socket
        if handle is None:
            return failed
        info = parse_tcp_info(read_tcp_info(handle))
        return explain_by_kernel(failed, info, with_report(take_error(handle)))

    # -- the owner of the channel -----------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Take what came."""
        self._came += data
        self._settle()

    def writable(self) -> None:
        """Do nothing: what is sent is short."""

    def eof_received(self) -> None:
        """Note the peer's FIN."""
        self._note_end("FIN")

    def lost(self, error: BaseException | None) -> None:
        """Note the end of the connection."""
        if error is None:
            self._note_end("FIN")
        else:
            self._note_end("RST" if name_error(error) == "reset" else describe_error(error))
