"""Opens the connections of a soak: each is answered before it counts as open.

Theory of operation. Two short messages are sent, one after the other. What comes before the first
answer is the greeting and the prefix, what comes before the second one is the prefix. So a server
is recognised that has another prefix than the one before it, as after an upgrade.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred

from echosvc.endpoints.client import ClientTarget
from echosvc.probe.engine.connect_errors import describe_connect_error
from echosvc.probe.engine.connection import frame_message
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.prefix_detection import (
    SECOND_TOKEN,
    TOKEN,
    describe_no_answer,
    detect_prefix,
    missing_header,
    recognize_prefix,
    strip_header,
    without_counters,
)
from echosvc.probe.load.channel import Channel, Opener, name_error
from echosvc.probe.settings import CheckSettings
from echosvc.probe.soak.result import FIN, MISMATCH, RESET, SILENCE
from echosvc.probe.soak.settings import SoakSettings
from echosvc.probe.traffic.replies import ReplyFormat

#: Longest greeting and prefix that are waited for, bytes.
_MAX_BEFORE_TOKEN = 65536
_REASONS = {FIN: "FIN", RESET: "RST"}


class NotAnswered(Exception):
    """A connection was opened, and its first messages were not answered. Its text is the cause.

    :param cause: ``fin``, ``reset``, ``silence``, ``mismatch`` or another error's name.
    :ivar detail: more about the cause, in words.
    """

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(cause)
        self.detail = detail


@dataclass(frozen=True)
class Opening:
    """A connection that was opened and answered.

    :ivar replies: what its server sends before its replies.
    :ivar server: who answered, by the prefix; "": there is none.
    :ivar answered: when the first message was answered.
    """

    replies: ReplyFormat
    server: str
    answered: float


class SoakOpener(Opener):
    """Opens connections to one server.

    :param settings: what is asked for.
    :param now: the clock.
    :ivar newest: the last connection that was opened.
    """

    newest: Opening
    _has_opened = False

    def __init__(
        self, reactor: Any, target: ClientTarget, settings: SoakSettings, now: Callable[[], float]
    ) -> None:
        super().__init__(reactor, target, settings.timeout)
        self._clock, self._settings, self._now = reactor, settings, now
        self._asked = CheckSettings(prefix=settings.prefix, framing=settings.framing)

    async def open(self) -> Channel:
        """Open a connection, and wait until it is answered.

        :raises NotAnswered: it is not.
        :raises Exception: as the endpoint does.
        """
        channel = await self._open_channel()
        exchange = _FirstExchange(channel, self._settings.framing, self._now)
        asking = Deferred.fromCoroutine(exchange.run())
        try:
            first, second = await asking.addTimeout(self._settings.timeout, self._clock)
            self.newest = self._recognize(first, second, exchange.answered)
            self._has_opened = True
        except BaseException as error:
            channel.abort()
            if isinstance(error, defer.TimeoutError):
                raise self._explain(SILENCE, exchange.came) from None
            if isinstance(error, NotAnswered) and not error.detail:
                raise self._explain(str(error), exchange.came) from None
            raise
        return channel

    async def _open_channel(self) -> Channel:
        """Open a connection; say of TLS what is wrong with it, since there are many causes."""
        try:
            return await super().open()
        except Exception as error:
            if name_error(error) != "tls":
                raise
            words, why = describe_connect_error(error, self._target, self._timeout)
            raise NotAnswered("tls", f"{words}; likely: {why}" if why else words) from error

    def _explain(self, cause: str, came: bytes) -> NotAnswered:
        """Return why a first message was not answered, in words if they are not known already.

        :param came: what came in place of an answer.
        """
        if self._has_opened and not came:
            return NotAnswered(cause)
        reason, seconds = _REASONS.get(cause, cause), self._settings.timeout
        words, likely = describe_no_answer(reason, came, TOKEN, seconds, int(self._has_opened))
        return NotAnswered(cause, f"{words}; likely: {likely}")

    def _recognize(self, first: bytes, second: bytes, answered: float) -> Opening:
        """Return how a server answers, from what came before two replies."""
        try:
            missing = missing_header(self._asked.framing, second, SECOND_TOKEN)
            if missing is not None:
                raise missing
            stripped = strip_header(second, self._asked.framing)
            template, greeting = detect_prefix(self._asked, first, stripped)
            bound, prefix = recognize_prefix(self._asked, template, greeting, first)
        except Failed as failed:
            likely = f"; likely: {failed.cause}" if failed.cause else ""
            raise NotAnswered(MISMATCH, failed.finding + likely) from None
        name = without_counters(prefix.decode("utf-8", "surrogateescape")).strip()
        return Opening(ReplyFormat(self._asked.framing, bound), name, answered)


class _FirstExchange:
    """Two short messages on a new connection, and what comes before their answers.

    It is the owner of the channel until they are answered.

    :ivar answered: when the first one was.
    :ivar came: what came and answers nothing.
    """

    def __init__(self, channel: Channel, framing: str, now: Callable[[], float]) -> None:
        self._channel, self._framing, self._now = channel, framing, now
        self.came, self._due = b"", b""
        self._waiting: Deferred[bytes] | None = None
        self._ended: NotAnswered | None = None
        self.answered = 0.0
        channel.owner = self

    async def run(self) -> tuple[bytes, bytes]:
        """Return what came before the two answers.

        :raises NotAnswered: the connection has ended, or too much came.
        """
        first = await self._ask(TOKEN)
        self.answered = self._now()
        return first, await self._ask(SECOND_TOKEN)

    async def _ask(self, token: bytes) -> bytes:
        self._due = token + b"\n" * (self._framing == "line")
        self._channel.send(frame_message(self._framing, self._due))
        waiting: Deferred[bytes] = Deferred()
        self._waiting = waiting
        self._settle()
        return await waiting

    def _settle(self) -> None:
        """Let the question go on that waits, if it is answered, or never will be."""
        waiting = self._waiting
        if waiting is None or waiting.called:
            return
        if self.came.endswith(self._due):
            before, self.came = self.came[: -len(self._due)], b""
            waiting.callback(before)
        elif self._ended is not None:
            waiting.errback(self._ended)
        elif len(self.came) > _MAX_BEFORE_TOKEN:
            detail = f"{len(self.came)} bytes came, and no answer in them"
            waiting.errback(NotAnswered(MISMATCH, detail))

    def received(self, data: bytes) -> None:
        """Take what came."""
        self.came += data
        self._settle()

    def writable(self) -> None:
        """Do nothing: what is sent is short."""

    def eof_received(self) -> None:
        """Note the peer's FIN."""
        self._ended = NotAnswered(FIN)
        self._settle()

    def lost(self, error: BaseException | None) -> None:
        """Note the end of the connection."""
        self._ended = NotAnswered(FIN if error is None else name_error(error))
        self._settle()
